// The key that an agent's model names, read when a task of that agent is claimed, or why the task cannot have it.
// Called by claim.ts after agent.run was allowed. Never falls back to another key: a task without its key fails.

import { secretsMissing } from "../grant/render.ts";
import type { FailureValue } from "../graph/types.ts";
import type { Secret } from "../secrets/secret.ts";
import type { CompiledBundle } from "./compiled_bundle.ts";
import type { CommandContext } from "./context.ts";
import { secretForbidden } from "./secret_refusal.ts";

/** The key, or a failure; neither if the agent names no key. */
export function modelKeyOf(
  { secrets }: CommandContext,
  bundle: CompiledBundle,
  agentName: string,
): { readonly modelKey?: Secret; readonly failure?: FailureValue } {
  const agent = bundle.agents.get(agentName)?.agent;
  const name = agent?.spec.model?.secretRef;
  if (agent === undefined || name === undefined) return {};
  const given = secrets.give(agent.namespace, name);
  if (given.ok) return { modelKey: given.secret };
  const forbidden = given.why === "forbidden";
  const why = forbidden ? secretForbidden([name], agent.namespace) : secretsMissing([name]);
  return {
    failure: {
      class: forbidden ? "SecretForbidden" : "SecretMissing",
      message: `model of agent ${agent.name}: ${why}`,
    },
  };
}
