// PolicyService over the wire: requests that are refused and why, what reaches the use cases, and the whole answer.

import { createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PolicyService } from "../../proto/gen/orloj/v1/policy_pb.ts";
import { type Rig, startRig } from "./rig.ts";

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig.close());

const client = () => createClient(PolicyService, rig.transport({ token: "tok-auditor" }));

test("an explanation arrives whole: trees, reads, limits, and what is on record", async () => {
  const { decisions } = await client().explain({ taskId: "task_1", tool: "t", argumentsJson: '{"amount": 7}' });
  expect(rig.plane.calls.at(-1)).toMatchObject({
    method: "explainDecisions",
    args: [{ id: "auditor" }, { runId: "", taskId: "task_1", tool: "t", args: { amount: 7 } }],
  });
  expect(decisions).toMatchObject([
    {
      ...{ checkpoint: "tool.call", workflow: "default/hello", agent: "a", tool: "t", taskId: "task_1" },
      ...{ allowed: false, reason: "not_permitted", decidedBy: "default/p", message: "no", policyRevision: "7" },
      ...{ argumentsJson: '{"amount":7}', decidingPolicy: "default/p", decidingPath: "spec.allow.cel" },
      policies: [
        {
          ...{ policy: "default/p", generation: 2n, mode: "enforce", passes: false, becausePath: "spec.allow.cel" },
          allow: {
            path: "spec.allow",
            nodes: [
              {
                ...{ value: "false", path: "spec.allow.cel", writtenJson: '"args.amount < 5"' },
                reads: [
                  { path: "args.amount", foundJson: "7" },
                  { path: "args.note", foundJson: "" },
                ],
              },
            ],
          },
          limits: [{ name: "l", max: 3n, windowMs: 60_000n, used: 3n }],
        },
      ],
      recorded: [
        {
          ...{ recordId: 9n, kind: "task.denied", allowed: false, reason: "forbidden", policyRevision: "6" },
          verdicts: [{ policy: "default/p", generation: 1n, reason: "forbidden" }],
        },
      ],
    },
  ]);
  expect(decisions[0]?.policies[0]?.deny).toBeUndefined();
});

test("can hands the principal on, and is allowed only if every decision is", async () => {
  const answer = await client().can({
    as: { id: "ana", groups: ["g"], claims: { a: "b" } },
    tool: "t",
    tags: { x: "y" },
  });
  expect(answer.allowed).toBe(false);
  expect(answer.decisions).toHaveLength(1);
  expect(rig.plane.calls.at(-1)).toMatchObject({
    method: "tryDecisions",
    args: [
      {
        ...{ namespace: "default", workflow: "", agent: "", tool: "t", tags: { x: "y" }, metadata: {} },
        requester: { id: "ana", kind: "user", groups: ["g"], claims: { a: "b" } },
      },
    ],
  });
});

test.each([
  [{}, "run_id: set either it or task_id"],
  [{ runId: "run_1", taskId: "task_1" }, "run_id: set either it or task_id"],
  [{ runId: "run_1", argumentsJson: "{}" }, "arguments_json: is set without a tool"],
  [{ runId: "run_1", tool: "t", argumentsJson: "[1]" }, "arguments_json: is no JSON object"],
  [{ runId: "run_1", tool: "t", argumentsJson: "{" }, "arguments_json: is no JSON object"],
  [{ runId: "run_1", tool: "t", argumentsJson: "[".repeat(500) }, "arguments_json: is no JSON object"],
  [{ runId: "x".repeat(300) }, "run_id: is longer than 253 characters"],
])("explain refuses %j", async (request, message) => {
  const calls = rig.plane.calls.length;
  await expect(client().explain(request)).rejects.toThrow(message);
  expect(rig.plane.calls).toHaveLength(calls);
});

test.each([
  [{ workflow: "w" }, "as.id: is empty"],
  [{ as: { id: "ana" } }, "workflow: is empty, as agent and tool are"],
  [{ as: { id: "ana", kind: "robot" }, workflow: "w" }, "as.kind: is none of user, service, worker"],
  [{ as: { id: "ana", groups: [""] }, workflow: "w" }, "as.groups[0]: is empty"],
  [{ as: { id: "ana", claims: { "": "x" } }, workflow: "w" }, "as.claims key: is empty"],
  [{ as: { id: "ana" }, workflow: "w", argumentsJson: "{}" }, "arguments_json: is set without a tool"],
  [{ as: { id: "ana" }, workflow: "w", time: { seconds: 1n << 50n, nanos: 0 } }, "time: is outside of the years"],
])("can refuses request %#", async (request, message) => {
  const calls = rig.plane.calls.length;
  await expect(client().can(request as never)).rejects.toThrow(message);
  expect(rig.plane.calls).toHaveLength(calls);
});
