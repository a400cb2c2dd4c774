// A decision that was explained, as the fake control plane answers with: a denied call of a tool, with a tree, a limit and a record.
// Used by fake_control_plane.ts and by the tests of PolicyService.

import type { DecisionView } from "../../server/commands/decision_views.ts";
import type { ExplainedNode } from "../../server/policy/explain.ts";

const time = new Date("2026-01-02T03:04:05.678Z");

const NODE: ExplainedNode = {
  ...{ how: "leaf", value: "false", policy: "default/p", path: "spec.allow.cel", at: ["spec", "allow", "cel"] },
  ...{ written: "args.amount < 5", reads: [{ path: "args.amount", found: 7 }, { path: "args.note" }], why: "" },
  ...{ nodes: [], toldBefore: false, sure: false },
};
export const DECISION: DecisionView = {
  ...{ checkpoint: "tool.call", workflow: "default/hello", agent: "a", toolName: "t", taskId: "task_1" },
  args: { amount: 7 },
  problem: "",
  withheld: false,
  explanation: {
    decision: {
      ...{ checkpoint: "tool.call", allowed: false, reason: "not_permitted", decidedBy: "default/p", message: "no" },
      ...{ verdicts: [], inputDigest: "sha256:0", policyRevision: "7", nowMs: time.getTime(), counts: [] },
    },
    policies: [
      {
        verdict: {
          ...{ namespace: "default", name: "p", generation: 2, digest: "sha256:1", mode: "enforce" },
          ...{ passes: false, reason: "not_permitted" },
        },
        allow: { ...NODE, how: "all", path: "spec.allow", nodes: [NODE], reads: [] },
        limits: [{ name: "l", path: "spec.limits[0]", max: 3, windowMs: 60_000, key: [], used: 3 }],
        because: { policy: "default/p", at: NODE.at, path: NODE.path, node: NODE },
      },
    ],
    deciding: { policy: "default/p", at: NODE.at, path: NODE.path, node: NODE },
  },
  recorded: [
    {
      ...{ recordId: 9n, time, kind: "task.denied", taskId: "task_1" },
      decision: {
        ...{ checkpoint: "tool.call", allowed: false, reason: "forbidden", decidedBy: "default/p", tool: "t" },
        ...{ policyRevision: "6", nowMs: time.getTime(), inputDigest: "sha256:0" },
        verdicts: [{ policy: "default/p", generation: 1, digest: "sha256:2", mode: "enforce", reason: "forbidden" }],
      },
    },
  ],
};
