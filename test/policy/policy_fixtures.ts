// Builders of policies and input documents for the policy tests.
// Called by test/policy/*.test.ts and by tests of commands that need a decision.
// Never shared as values: every call makes a new document.

import type { ConditionSpec, PolicySpec } from "../../server/manifests/specs.ts";
import { compileCondition } from "../../server/policy/condition.ts";
import { scopeOf } from "../../server/policy/scope.ts";
import type { LivePolicy, PolicyInput, Truth } from "../../server/policy/types.ts";

/** Value of a condition on a document. */
export function truthOf(spec: ConditionSpec, input: PolicyInput = toolInput()): Truth {
  const context = { policy: "platform/p", library: () => undefined };
  return compileCondition(spec, context, ["spec", "allow"]).evaluate(scopeOf(input), true);
}

/** A policy attached to Tool deploy, at tool.call, that needs group engineering; every part may be replaced. */
export function policy(name: string, spec: Partial<PolicySpec> = {}, namespace = "platform"): LivePolicy {
  return {
    namespace,
    name,
    generation: 1,
    digest: `sha256:${name}`,
    spec: {
      description: "",
      mode: "enforce",
      attachTo: [{ kind: "Tool", name: "deploy" }],
      checkpoints: ["tool.call"],
      limits: [],
      message: `${name} says no`,
      ...spec,
    },
  };
}

/** ana of engineering, in workflow release of namespace platform, agent releaser calling tool deploy. */
export function toolInput(changes: Partial<PolicyInput> = {}): PolicyInput {
  return {
    checkpoint: "tool.call",
    requester: { id: "ana", kind: "user", groups: ["engineering", "oncall"], claims: { customer_id: "123" } },
    workflow: { name: "release", namespace: "platform", labels: { tier: "prod" } },
    system: { name: "release-system", namespace: "platform", labels: { area: "delivery" } },
    run: { id: "run_1" },
    agent: { name: "releaser", namespace: "platform", labels: { team: "release" } },
    tool: {
      name: "deploy",
      namespace: "platform",
      type: "http",
      effect: "write",
      labels: { risk: "high" },
      guarded: false,
    },
    args: { target: "prod" },
    context: { tags: { "customer-id": "123" }, labels: { tier: "prod" }, metadata: { ticket: "C-1" } },
    nowMs: 1_700_000_000_000,
    ...changes,
  };
}
