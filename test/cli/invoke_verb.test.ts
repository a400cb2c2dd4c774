// invoke and --watch as processes against a scripted server: typed parameters, plain lines, exit codes, interrupts.
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { expect, test, vi } from "vitest";
import { AuditRecordSchema } from "../../proto/gen/orloj/v1/common_pb.ts";
import { type InvokeRequest, NodeState, RunState, TaskState } from "../../proto/gen/orloj/v1/workflow_pb.ts";
import { refusal, runOf, startScriptedServer, succeeded } from "../sdk/scripted_server.ts";
import { runOrloj } from "./run_orloj.ts";

// Each test starts processes; a loaded machine may take seconds for one.
vi.setConfig({ testTimeout: 30_000 });

const TEMPLATE = {
  spec: {
    parameters: {
      type: "object",
      properties: {
        text: { type: "string" },
        count: { type: "integer" },
        flag: { type: "boolean" },
        list: { type: "array" },
      },
    },
  },
};

const record = (id: bigint, kind: string, body: object, taskId = "") =>
  create(AuditRecordSchema, {
    id,
    kind,
    taskId,
    runId: "run_1",
    actor: "server",
    time: timestampFromMs(1_700_000_000_000 + Number(id) * 10),
    recordJson: JSON.stringify(body),
  });

test("invoke types parameters by the template's schema and always sends a key", async () => {
  const requests: InvokeRequest[] = [];
  await using server = await startScriptedServer({
    manifests: { getResource: () => ({ resource: { manifestJson: JSON.stringify(TEMPLATE) } }) },
    workflows: {
      invoke(request) {
        requests.push(request);
        return { run: runOf("run_1") };
      },
    },
  });
  const words = '-p text=5 -p count=5 -p flag=true -p list=[1] -p free=7 -p raw:={"a":1} -t ticket=T1 -m why=test';
  const ended = await runOrloj(["invoke", "refund-flow", "-n", "support", ...words.split(" ")], {
    endpoint: server.endpoint,
    env: { ORLOJ_TOKEN: "secret" },
  });
  expect(ended).toMatchObject({ code: 0, out: "run_1  RUNNING\n", err: "Next: orloj describe run run_1\n" });
  expect(JSON.parse(requests[0]?.parametersJson ?? "")).toEqual({
    text: "5",
    count: 5,
    flag: true,
    list: [1],
    free: "7",
    raw: { a: 1 },
  });
  expect(requests[0]).toMatchObject({ tags: { ticket: "T1" }, metadata: { why: "test" } });
  expect(requests[0]?.idempotencyKey).toMatch(/^[0-9a-f-]{36}$/);
  expect(server.seen.every((one) => one.authorization === "Bearer secret")).toBe(true);

  const wrong = await runOrloj(["invoke", "refund-flow", "-p", "count=five"], { endpoint: server.endpoint });
  expect(wrong).toMatchObject({ code: 2, err: expect.stringContaining('parameter "count" is an integer') });
  expect(requests).toHaveLength(1);
});

test("invoke of a workflow that is not there names the next step", async () => {
  await using server = await startScriptedServer({
    manifests: {
      getResource() {
        throw refusal(Code.NotFound, "RESOURCE_NOT_FOUND", "WorkflowTemplate default/nope not found");
      },
    },
  });
  const ended = await runOrloj(["invoke", "nope", "-p", "a=b"], { endpoint: server.endpoint });
  expect(ended).toMatchObject({ code: 3, err: expect.stringContaining("error[E-WORKFLOW-NOT-FOUND]") });
  expect(ended.err).toContain("Next: orloj get workflows -A");
});

test("invoke --watch without a terminal prints a plain line a transition, then the output", async () => {
  const task = { id: "task_1", runId: "run_1", node: "triage", item: -1, attempt: 1 };
  const createTime = timestampFromMs(1_700_000_000_000);
  await using server = await startScriptedServer({
    workflows: {
      invoke: () => ({ run: runOf("run_1") }),
      async *watchRun() {
        yield { run: runOf("run_1"), tasks: [{ ...task, createTime, state: TaskState.LEASED, worker: "w1" }] };
        yield {
          run: succeeded("run_1", { text: "evil \u001b[2J text" }),
          tasks: [{ ...task, createTime, endTime: createTime, state: TaskState.SUCCEEDED, worker: "w1" }],
          events: [record(5n, "tool.granted", { detail: { tool: "read-log", attempt: 1 } }, "task_1")],
        };
      },
    },
  });
  const ended = await runOrloj(["invoke", "refund-flow", "--watch"], { endpoint: server.endpoint });
  expect(ended).toMatchObject({ code: 0, err: "" });
  const lines = ended.out.split("\n").map((line) => line.replace(/^\d\d:\d\d:\d\d\.\d{3} {2}/, ""));
  expect(lines).toEqual([
    "task  triage  LEASED  attempt 1  worker w1",
    "node  triage  ACTIVE",
    "node  reply  PENDING",
    "run  run_1  RUNNING",
    "tool.granted  triage  tool=read-log  attempt=1",
    "task  triage  SUCCEEDED  attempt 1  worker w1",
    "node  triage  SUCCEEDED",
    "node  reply  SUCCEEDED",
    "run  run_1  SUCCEEDED",
    "Output",
    "  {",
    '    "text": "evil \\u001b[2J text"',
    "  }",
    "",
  ]);
});

test("invoke --watch -o json prints one snapshot a line", async () => {
  await using server = await startScriptedServer({
    workflows: {
      invoke: () => ({ run: runOf("run_1") }),
      async *watchRun() {
        yield { run: runOf("run_1") };
        yield { run: succeeded("run_1", { text: "ok" }) };
      },
    },
  });
  const ended = await runOrloj(["invoke", "a", "--watch", "-o", "json"], { endpoint: server.endpoint });
  const snapshots = ended.out
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(snapshots.map((one) => one.run.state)).toEqual(["RUNNING", "SUCCEEDED"]);
  expect(snapshots[1].run.output).toEqual({ text: "ok" });
});

test.each([
  [RunState.FAILED, 1],
  [RunState.TIMED_OUT, 1],
  [RunState.POLICY_DENIED, 4],
] as const)("invoke --wait of a run that ends %s exits with %s and prints the failure", async (state, code) => {
  const failure = { class: "OutputInvalid", message: "no fit" };
  await using server = await startScriptedServer({
    workflows: {
      invoke: () => ({ run: runOf("run_1") }),
      async *watchRun() {
        yield { run: runOf("run_1", { state, failure }) };
      },
    },
  });
  const ended = await runOrloj(["invoke", "a", "--wait"], { endpoint: server.endpoint });
  expect(ended).toMatchObject({ code, out: expect.stringContaining("OutputInvalid: no fit") });
  expect(ended.err).toContain("Next: orloj describe run run_1");
});

test("an interrupt stops watching, not the run: exit 130 and how to cancel", async () => {
  await using server = await startScriptedServer({
    workflows: {
      invoke: () => ({ run: runOf("run_1") }),
      async *watchRun(_, { signal }) {
        yield { run: runOf("run_1") };
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      },
    },
  });
  const ended = await runOrloj(["invoke", "a", "--watch"], {
    endpoint: server.endpoint,
    onOutput: (out, interrupt) => {
      if (out.includes("run  run_1  RUNNING")) interrupt();
    },
  });
  expect(ended).toMatchObject({ code: 130, err: expect.stringContaining("Next: orloj cancel run_1") });
  expect(server.seen.map((one) => one.method)).not.toContain("CancelRun");
});

test.each(["--wait", "--watch"])(
  "%s ends with 1 and the next step when the run is parked and nothing is at work",
  async (flag) => {
    await using server = await startScriptedServer({
      workflows: {
        invoke: () => ({ run: runOf("run_1") }),
        async *watchRun(_request, { signal }) {
          const node = (state: NodeState) => ({ name: "draft", state, target: "writer" });
          yield { run: runOf("run_1", { conditions: ["Parked"], nodes: [node(NodeState.ACTIVE)] }) };
          yield { run: runOf("run_1", { conditions: ["Parked"], nodes: [node(NodeState.PARKED)] }) };
          await new Promise((resolve) => signal.addEventListener("abort", resolve));
        },
      },
    });
    const ended = await runOrloj(["invoke", "refund-flow", flag], { endpoint: server.endpoint });
    expect(ended.code).toBe(1);
    expect(ended.err).toContain("run_1 is parked: orloj dead-letters list --run run_1 says why and how to go on");
  },
);
