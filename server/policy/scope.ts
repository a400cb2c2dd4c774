// What the conditions of one decision share: the input document, its CEL variables, and what library policies said.
// Called by evaluate.ts and explain.ts, once a decision. Pure.

import type { Json, JsonObject } from "../../kit/json.ts";
import type { Activation } from "../../language/condition.ts";
import { celVariables } from "../manifests/policy_document.ts";
import type { PolicyInput, Scope } from "./types.ts";

/** The scope of one decision. */
export function scopeOf(input: PolicyInput): Scope {
  let bound: Activation | undefined;
  return {
    input,
    variables() {
      bound ??= celVariables(documentOf(input), input.nowMs);
      return bound;
    },
    libraries: new Map(),
  };
}

/** The document as conditions read it: only the fields of the closed schema, and who acts for whom. */
export function documentOf(input: PolicyInput): JsonObject {
  const { requester, workflow, run, agent, tool, args, context } = input;
  const chain = [
    { kind: "requester", name: requester.id },
    { kind: "workflow", name: workflow.name, namespace: workflow.namespace },
    ...(agent === undefined ? [] : [{ kind: "agent", name: agent.name, namespace: agent.namespace }]),
  ];
  return {
    ...{ requester, workflow, run, context, chain },
    ...(agent && { agent }),
    ...(tool && { tool }),
    ...(args !== undefined && { args }),
  } as unknown as Record<string, Json>;
}
