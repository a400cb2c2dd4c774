// Builders of policies and input documents for the policy tests.
// Called by test/policy/*.test.ts and by tests of commands that need a decision.
// Never shared as values: every call makes a new document.

import type { PolicySpec } from "../../server/manifests/specs.ts";
import type { LivePolicy, PolicyInput } from "../../server/policy/types.ts";

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
    system: { name: "release-system", namespace: "platform" },
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
