// Limits of time on a real worker: of one tool call, of an agent while its model or its tool hangs; and a sibling that fails.

import { beforeAll, expect, test } from "vitest";
import { agent, askingAgent, completion, httpTool, single, system, template } from "./documents.ts";
import { type Stage, startStage } from "./stage.ts";

let stage: Stage;
const BACKOFF = { initial: "20ms", max: "100ms", factor: 2, jitter: "none" };

beforeAll(async () => {
  // Longer than every limit here: nothing ends because a lease does.
  stage = await startStage({ leaseTtl: "20s" });
  await stage.worker("w1");
});

const calls = (tool: string) => [
  { when: "turn == 1", toolCalls: [{ name: tool, arguments: {} }] },
  { output: { done: true } },
];

test("a tool call that is over its time is aborted and tried again, and its second attempt counts", async () => {
  const { client, sink } = stage;
  sink.hold("/hangs", 2);
  await stage.apply(
    httpTool("hangs", "/hangs", {
      ...{ effect: "read", timeout: "1s", retry: { on: ["Timeout"], maxAttempts: 2, backoff: BACKOFF } },
    }),
    agent("waiter", calls("hangs"), { tools: ["hangs"] }),
    ...single("waiter"),
  );
  const run = await client.workflow("waiter").invoke();
  await sink.waitForAbort("/hangs");
  await sink.waitForCount("/hangs", 2);
  sink.release("/hangs");
  expect(await run.result()).toEqual({ done: true });
  expect(sink.count("/hangs")).toBe(2);
  const results = (await stage.trail(run, "tool.result")).map(({ detail }) => [detail.ok, detail.failure?.class]);
  expect(results).toEqual([
    [false, "Timeout"],
    [true, undefined],
  ]);
  const { tasks } = await client.workflows.listTasks({ runId: run.id });
  expect(tasks).toMatchObject([{ attempt: 1, deliveries: 0 }]);
});

test("an agent whose model hangs fails with Timeout at its limit, is tried again, and succeeds", async () => {
  const { client, sink } = stage;
  const path = "/silent/chat/completions";
  sink.hold(path);
  sink.respond(path, () => completion({ content: '{"spoke": true}' }));
  await stage.apply(
    askingAgent("silent", `${sink.url}/silent`, {
      limits: { timeout: "1s" },
      errorHandling: { retry: { on: ["Timeout"], maxAttempts: 2, backoff: BACKOFF } },
    }),
    ...single("silent"),
  );
  const run = await client.workflow("silent").invoke();
  await sink.waitForAbort(path);
  await sink.waitForCount(path, 2);
  sink.release(path);
  expect(await run.result()).toEqual({ spoke: true });
  const retrying = (await stage.trail(run, "task.retrying")).map(({ detail }) => detail);
  expect(retrying).toMatchObject([{ nextAttempt: 2, failure: { class: "Timeout" } }]);
});

test("an agent that is over its time in the middle of a tool call aborts it, and fails with Timeout", async () => {
  const { client, sink } = stage;
  sink.hold("/endless");
  await stage.apply(
    httpTool("endless", "/endless", { effect: "read" }),
    agent("late", calls("endless"), {
      ...{ tools: ["endless"], limits: { timeout: "1s" } },
      errorHandling: { retry: { on: [], maxAttempts: 1 }, onExhausted: "fail" },
    }),
    ...single("late"),
  );
  const run = await client.workflow("late").invoke();
  await sink.waitForAbort("/endless");
  await expect(run.result()).rejects.toMatchObject({ state: "FAILED", failure: { class: "Timeout" } });
  expect(sink.count("/endless")).toBe(1);
  expect((await client.fleet.listLeases({ runId: run.id })).leases).toEqual([]);
});

test("a node that fails stops the tool call of its sibling, and the run ends FAILED by the first cause", async () => {
  const { client, sink } = stage;
  sink.hold("/sibling");
  sink.hold("/failing");
  sink.respond("/failing", () => ({ status: 400 }));
  const fails = { errorHandling: { retry: { on: [], maxAttempts: 1 }, onExhausted: "fail" } };
  await stage.apply(
    httpTool("sibling", "/sibling", { effect: "read" }),
    httpTool("failing", "/failing", { effect: "read" }),
    agent("holds", calls("sibling"), { tools: ["sibling"] }),
    agent("fails", calls("failing"), { tools: [{ ref: "failing", onError: "fail" }], ...fails }),
    system("pair", {
      nodes: [
        { name: "holds", agent: "holds" },
        { name: "fails", agent: "fails" },
      ],
      edges: [],
      output: { schema: {}, value: "${{ nodes.holds.output }}" },
    }),
    template("pair", { cancellation: { grace: "10s" } }),
  );
  const run = await client.workflow("pair").invoke();
  await Promise.all([sink.waitForCount("/sibling", 1), sink.waitForCount("/failing", 1)]);
  sink.release("/failing");
  await sink.waitForAbort("/sibling");
  await expect(run.result()).rejects.toMatchObject({ state: "FAILED", failure: { class: "ToolFailed" } });
  expect(await stage.trail(run, "task.cancelled")).toMatchObject([{ detail: { node: "holds" } }]);
});
