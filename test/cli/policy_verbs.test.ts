// `orloj policy explain` and `orloj policy can` as processes against a scripted server: what is sent, what is printed, exit codes.

import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { expect, test, vi } from "vitest";
import type { CanRequest, ExplainRequest } from "../../proto/gen/orloj/v1/policy_pb.ts";
import { refusal, startScriptedServer } from "../sdk/scripted_server.ts";
import { runOrloj } from "./run_orloj.ts";

// Each test starts processes; a loaded machine may take seconds for one.
vi.setConfig({ testTimeout: 30_000 });

const time = timestampFromMs(1_770_000_000_000);
const leaf = {
  ...{ value: "false", policy: "system/staff", path: "spec.allow.match.requester.groups" },
  writtenJson: '["staff"]',
  reads: [{ path: "requester.groups", foundJson: '["evil\\u001b[31m"]' }],
};
const DENIED = {
  ...{ checkpoint: "tool.call", workflow: "default/desk", agent: "clerk", tool: "pay", taskId: "task_1" },
  ...{
    argumentsJson: '{"amount":7}',
    allowed: false,
    reason: "not_permitted",
    decidedBy: "default/p",
    message: "Ask.",
  },
  ...{ policyRevision: "7", time, decidingPath: leaf.path, decidingPolicy: "system/staff" },
  policies: [
    { policy: "default/a", generation: 1n, mode: "observe", passes: true, reason: "allowed" },
    {
      ...{ policy: "default/p", generation: 2n, mode: "enforce", passes: false, reason: "not_permitted" },
      ...{ becausePath: leaf.path, becausePolicy: "system/staff" },
      allow: {
        ...{ value: "false", policy: "default/p", path: "spec.allow.all" },
        nodes: [
          {
            ...{ value: "false", policy: "default/p", path: "spec.allow.all[0].policyRef", writtenJson: '"staff"' },
            nodes: [{ value: "false", policy: "system/staff", path: "spec.allow.match", nodes: [leaf] }],
          },
          {
            ...{ value: "unknown", policy: "default/p", path: "spec.allow.all[1].exists", why: "args.note is absent" },
            reads: [{ path: "args.note", foundJson: "" }],
          },
        ],
      },
      limits: [
        {
          name: "per-hour",
          max: 3n,
          windowMs: 3_600_000n,
          key: [{ path: "requester.id", foundJson: '"ana"' }],
          used: 2n,
        },
      ],
    },
  ],
  recorded: [
    {
      ...{
        recordId: 9n,
        time,
        kind: "task.denied",
        taskId: "task_1",
        allowed: false,
        reason: "forbidden",
        decidedBy: "default/p",
      },
      verdicts: [{ policy: "default/p", generation: 1n, digest: "d", mode: "enforce", reason: "forbidden" }],
    },
  ],
};
const ALLOWED = { checkpoint: "workflow.run", workflow: "default/desk", allowed: true, reason: "allowed", time };

test("explain prints the tree with every value, what it wants, what it found, and what is on record", async () => {
  const requests: ExplainRequest[] = [];
  await using server = await startScriptedServer({
    policies: {
      explain(request) {
        requests.push(request);
        return { decisions: [ALLOWED, DENIED] };
      },
    },
  });
  const text = await runOrloj(["policy", "explain", "task_1", "--tool", "pay", "--args", '{"amount":7}'], {
    endpoint: server.endpoint,
  });
  expect(requests).toMatchObject([{ runId: "", taskId: "task_1", tool: "pay", argumentsJson: '{"amount":7}' }]);
  expect(text).toMatchObject({ code: 0, err: "" });
  expect(text.out.split("\n")).toEqual([
    "workflow.run  workflow default/desk",
    "  allowed, at 2026-02-02T02:40:00.000Z",
    "  no policy is attached",
    "",
    'tool.call  workflow default/desk, agent clerk, tool pay, args {"amount":7}, task task_1',
    "  denied: not_permitted by default/p, at 2026-02-02T02:40:00.000Z, Ask.",
    "  default/a (observing): passes",
    "  default/p: not_permitted, because of system/staff spec.allow.match.requester.groups  decides",
    "    allow.all: false",
    '      [0].policyRef: false  wants "staff"',
    "        system/staff spec.allow.match: false",
    String.raw`          requester.groups: false  wants ["staff"]; requester.groups is ["evil\u001b[31m"]`,
    "      [1].exists: unknown  args.note is absent",
    '    limit per-hour: 3 in 1h00m for requester.id "ana", 2 used',
    "  recorded 2026-02-02T02:40:00.000Z task.denied: denied, forbidden by default/p (default/p generation 1 forbidden)",
    "",
  ]);
  const json = await runOrloj(["policy", "explain", "run_1", "-o", "json"], { endpoint: server.endpoint });
  expect(JSON.parse(json.out).decisions[1]).toMatchObject({
    arguments: { amount: 7 },
    policies: [
      { policy: "default/a" },
      { allow: { nodes: [{ written: "staff" }, { reads: [{ path: "args.note", found: null }] }] } },
    ],
  });
});

test("can sends who asks and what for; exit 0 if all allow and 4 if one denies", async () => {
  const requests: CanRequest[] = [];
  await using server = await startScriptedServer({
    policies: {
      can(request) {
        requests.push(request);
        return request.tool === ""
          ? { allowed: true, decisions: [ALLOWED] }
          : { allowed: false, decisions: [ALLOWED, DENIED] };
      },
    },
  });
  const who = ["--as", "ana", "--group", "a", "--group", "b", "--claim", "team=blue"];
  const what = [
    "-w",
    "desk",
    "--agent",
    "clerk",
    "--tool",
    "pay",
    "--args",
    "{}",
    "-t",
    "x=y",
    "-m",
    "k=v",
    "-n",
    "ns",
  ];
  const denied = await runOrloj(["policy", "can", ...who, ...what, "--at", "2026-12-25T12:00:00Z"], {
    endpoint: server.endpoint,
  });
  const allowed = await runOrloj(["policy", "can", "--as", "ci", "--kind", "service", "-w", "desk"], {
    endpoint: server.endpoint,
  });
  expect(requests).toMatchObject([
    {
      ...{
        namespace: "ns",
        workflow: "desk",
        agent: "clerk",
        tool: "pay",
        argumentsJson: "{}",
        tags: { x: "y" },
        metadata: { k: "v" },
      },
      as: { id: "ana", kind: "user", groups: ["a", "b"], claims: { team: "blue" } },
      time: { seconds: BigInt(Date.parse("2026-12-25T12:00:00Z") / 1_000) },
    },
    { as: { id: "ci", kind: "service" }, workflow: "desk", tool: "" },
  ]);
  expect(denied).toMatchObject({ code: 4, err: "" });
  expect(denied.out).toContain("default/p: not_permitted");
  expect(denied.out).not.toContain("default/a");
  expect(allowed).toMatchObject({ code: 0, err: "" });
});

test.each([
  [["policy", "explain", "desk"], '"desk" is the id of neither a run nor a task'],
  [["policy", "can", "-w", "desk"], "required option '--as <id>' not specified"],
  [["policy", "can", "--as", "ana", "-w", "desk", "--at", "noon"], "--at noon: use a duration"],
  [["policy", "can", "--as", "ana", "--claim", "team"], '"team" is not key=value'],
])("%j is a usage error", async (words, message) => {
  const ended = await runOrloj(words);
  expect(ended).toMatchObject({ code: 2, out: "", err: expect.stringContaining(message) });
});

test("what is not there ends with 3 and says where to look", async () => {
  await using server = await startScriptedServer({
    policies: {
      explain() {
        throw refusal(Code.NotFound, "TASK_NOT_FOUND", "task task_9 does not exist");
      },
    },
  });
  const ended = await runOrloj(["policy", "explain", "task_9"], { endpoint: server.endpoint });
  expect(ended).toMatchObject({ code: 3, err: expect.stringContaining("Next: orloj tasks RUN") });
});
