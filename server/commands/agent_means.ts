// How an agent of runtime http or command is reached, and with which headers a model is asked, rendered when a task is claimed, or
// why it cannot be.
// Called by claim.ts after agent.run was allowed. The means leave only with the assignment.

import { type AgentMeansValue, agentSecretsOf, renderAgent } from "../grant/render_agent.ts";
import type { FailureValue } from "../graph/types.ts";
import type { ClaimedTask } from "../storage/task_queries.ts";
import type { CompiledBundle } from "./compiled_bundle.ts";
import type { CommandContext } from "./context.ts";
import { secretForbidden } from "./secret_refusal.ts";

/** Means, and the secret values that they hold. */
export interface AgentMeans {
  readonly means: AgentMeansValue;
  readonly secrets: readonly string[];
}

/** The means, or a failure; neither for an agent that needs none. Who is reached is told its trace by `traceparent`; empty: it is in none. */
export function agentMeansOf(
  { secrets }: CommandContext,
  bundle: CompiledBundle,
  task: ClaimedTask,
  traceparent: string,
): { readonly agentMeans?: AgentMeans; readonly failure?: FailureValue } {
  const agent = bundle.agents.get(task.agent)?.agent;
  if (agent === undefined) return {};
  const { http, command, model } = agent.spec;
  if (http === undefined && command === undefined && model?.headers === undefined) return {};
  const { namespace, name, spec } = agent;
  const failure = (failureClass: string, why: string) => {
    return { failure: { class: failureClass, message: `agent ${name}: ${why}` } };
  };
  // Also of secrets that are read only where there are any: whether there are is not told.
  const refused = agentSecretsOf(spec).filter((secret) => !secrets.allows(namespace, secret));
  if (refused.length > 0) return failure("SecretForbidden", secretForbidden(refused, namespace));
  const read = (secret: string, key: string) => {
    const given = secrets.give(namespace, { name: secret, key });
    return given.ok ? given.secret.reveal() : undefined;
  };
  const { id, run_id, origin_task_id, attempt } = task;
  const reaching = { taskId: id, runId: run_id, originTaskId: origin_task_id, attempt, traceparent };
  const rendered = renderAgent(spec, read, reaching);
  if (!rendered.ok) return failure(rendered.class, rendered.message);
  return { agentMeans: { means: rendered.means, secrets: rendered.secrets } };
}
