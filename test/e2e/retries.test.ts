// Retries: of one tool call, of a task, and what becomes of a task whose attempts are used up.

import { beforeAll, expect, test } from "vitest";
import { RunState, TaskState } from "../../sdk/index.ts";
import { runOrloj } from "../harness/processes.ts";
import { agent, askingAgent, completion, httpTool, single } from "./documents.ts";
import { nameOf, type Stage, startStage } from "./stage.ts";

let stage: Stage;
const BACKOFF = { initial: "20ms", max: "100ms", factor: 2, jitter: "full" };

beforeAll(async () => {
  stage = await startStage();
  await stage.worker("w1");
});

test("a tool that is unavailable once is called again with the same idempotency key, and one success is recorded", async () => {
  const { client, sink } = stage;
  sink.respond("/flaky", (_call, number) =>
    number === 1 ? { status: 503, headers: { "retry-after": "0" } } : { body: JSON.stringify({ number }) },
  );
  await stage.apply(
    httpTool("flaky", "/flaky", { effect: "write", retry: { on: ["Http503"], maxAttempts: 4, backoff: BACKOFF } }),
    agent(
      "patient",
      [
        { when: "turn == 1", toolCalls: [{ name: "flaky", arguments: { amount: 3 } }] },
        { output: { number: "${{ results.flaky.number }}" } },
      ],
      { tools: ["flaky"] },
    ),
    ...single("patient"),
  );
  const run = await client.workflow("patient").invoke();
  expect(await run.result()).toEqual({ number: 2 });
  const calls = sink.calls("/flaky");
  expect(calls.map(({ body }) => body)).toEqual(['{"amount":3}', '{"amount":3}']);
  expect(calls[0]?.idempotencyKey).toMatch(/^auto:task_/);
  expect(calls[1]?.idempotencyKey).toBe(calls[0]?.idempotencyKey);
  const granted = await stage.trail(run, "tool.granted");
  expect(granted.map(({ detail }) => detail.attempt)).toEqual([1, 2]);
  expect(new Set(granted.map(({ detail }) => detail.grantId)).size).toBe(2);
  const results = await stage.trail(run, "tool.result");
  expect(results.map(({ detail }) => [detail.ok, detail.failure?.class])).toEqual([
    [false, "Http503"],
    [true, undefined],
  ]);
  const task = (await client.workflows.listTasks({ runId: run.id })).tasks[0];
  expect(task).toMatchObject({ attempt: 1 });
  const { toolCalls } = await client.workflows.getTask({ taskId: task?.id ?? "" });
  expect(toolCalls.map(({ state, attempt }) => [state, attempt])).toEqual([["done", 2]]);
});

test("a failure class that the tool does not list is not retried, and fails the task", async () => {
  const { client, sink } = stage;
  sink.respond("/broken", () => ({ status: 400 }));
  await stage.apply(
    httpTool("broken", "/broken", { effect: "write", retry: { on: ["Http503"], maxAttempts: 4, backoff: BACKOFF } }),
    agent("unlucky", [{ when: "turn == 1", toolCalls: [{ name: "broken", arguments: {} }] }, { output: {} }], {
      tools: ["broken"],
      errorHandling: { onExhausted: "fail" },
    }),
    ...single("unlucky"),
  );
  const run = await client.workflow("unlucky").invoke();
  await expect(run.result()).rejects.toMatchObject({ state: "FAILED", failure: { class: "ToolFailed" } });
  expect(sink.count("/broken")).toBe(1);
});

test("a failed task waits a jittered time, is ready again, and succeeds; recorded effects are not repeated", async () => {
  const { client, sink } = stage;
  let asked = 0;
  sink.respond("/recovering/chat/completions", ({ body }) => {
    asked += 1;
    const { messages } = JSON.parse(body) as { messages: { role: string }[] };
    if (!messages.some(({ role }) => role === "tool"))
      return completion({ toolCalls: [{ name: "note", arguments: {} }] });
    return asked <= 3 ? { status: 503 } : completion({ content: '{"ok": true}' });
  });
  await stage.apply(
    httpTool("note", "/note", { effect: "write" }),
    askingAgent("recovering", `${sink.url}/recovering`, {
      tools: ["note"],
      errorHandling: {
        retry: {
          on: ["ModelUnavailable"],
          maxAttempts: 5,
          backoff: { initial: "300ms", max: "1s", factor: 2, jitter: "full" },
        },
      },
    }),
    ...single("recovering"),
  );
  const run = await client.workflow("recovering").invoke();
  const states = new Set<string>();
  for await (const { tasks } of run.watch()) for (const task of tasks) states.add(nameOf(TaskState, task.state));
  expect(await run.result()).toEqual({ ok: true });
  const retrying = (await stage.trail(run, "task.retrying")).map(({ detail }) => detail);
  expect(retrying.length).toBeGreaterThanOrEqual(1);
  for (const [index, { delayMs, nextAttempt, failure }] of retrying.entries()) {
    expect(failure.class).toBe("ModelUnavailable");
    expect(nextAttempt).toBe(index + 2);
    expect(delayMs).toBeGreaterThanOrEqual(0);
    expect(delayMs).toBeLessThanOrEqual(Math.min(1_000, 300 * 2 ** index));
  }
  const due = (await stage.trail(run, "task.requeued")).filter(({ detail }) => detail.cause === "due");
  expect(due).toHaveLength(retrying.length);
  expect(states).toContain("SUCCEEDED");
  expect(sink.count("/note")).toBe(1);
  const { tasks } = await client.workflows.listTasks({ runId: run.id });
  expect(tasks.map(({ attempt }) => attempt)).toEqual([retrying.length + 1]);
});

test("a task whose attempts are used up is parked: the run waits, holds no lease, and can be cancelled", async () => {
  const { client, server } = stage;
  await stage.apply(
    agent("hopeless", [{ error: "ModelUnavailable" }], {
      errorHandling: { retry: { on: ["ModelUnavailable"], maxAttempts: 2, backoff: BACKOFF } },
    }),
    ...single("hopeless"),
  );
  const run = await client.workflow("hopeless").invoke();
  const parked = await stage.record("task.dead_lettered", ({ runId }) => runId === run.id);
  expect(parked.detail).toMatchObject({ cause: "attempts", attempt: 2, failure: { class: "ModelUnavailable" } });
  expect(await run.get()).toMatchObject({ state: RunState.RUNNING, conditions: ["Parked"] });
  expect((await client.fleet.listLeases({ runId: run.id })).leases).toEqual([]);
  const { tasks } = await client.workflows.listTasks({ runId: run.id });
  expect(tasks.map((task) => nameOf(TaskState, task.state))).toEqual(["DEAD_LETTERED"]);
  const runs = await runOrloj(["runs"], { server });
  expect(runs.stdout).toContain("Parked");
  await run.cancel("given up");
  await expect(run.result()).rejects.toMatchObject({ state: "CANCELLED" });
  const after = await client.workflows.listTasks({ runId: run.id });
  expect(after.tasks.map((task) => nameOf(TaskState, task.state))).toEqual(["DEAD_LETTERED"]);
});
