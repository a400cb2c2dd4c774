// Workers that die or freeze in the middle of an agent: the next one continues from the journal, and a zombie changes nothing.

import { beforeAll, expect, test } from "vitest";
import type { RunHandle } from "../../sdk/index.ts";
import { type RunningProcess, runOrloj } from "../harness/processes.ts";
import { agent, askingAgent, completion, httpTool, single } from "./documents.ts";
import { type Stage, split, startStage } from "./stage.ts";

let stage: Stage;
const workers: Record<string, RunningProcess> = {};

beforeAll(async () => {
  stage = await startStage();
  await pair("a1", "a2");
});

/** Makes these two the only workers. */
async function pair(...names: readonly string[]) {
  for (const [name, worker] of Object.entries(workers)) {
    worker.signal("SIGKILL");
    await worker.ended;
    delete workers[name];
  }
  await Promise.all(
    names.map(async (name) => {
      workers[name] = await stage.worker(name);
    }),
  );
}

async function onlyTask(run: RunHandle) {
  const { tasks } = await stage.client.workflows.listTasks({ runId: run.id });
  expect(tasks).toHaveLength(1);
  return tasks[0] as NonNullable<(typeof tasks)[0]>;
}

test("after SIGKILL mid-agent the other worker continues from the journal: no turn asked again, effects counted once", async () => {
  const { client, sink } = stage;
  const turnsAsked: number[] = [];
  sink.respond("/v1/chat/completions", ({ body }) => {
    const { messages } = JSON.parse(body) as { messages: { role: string }[] };
    const turn = messages.filter(({ role }) => role === "assistant").length + 1;
    turnsAsked.push(turn);
    if (turn === 1) return completion({ toolCalls: [{ name: "charge", arguments: { cents: 5 } }] });
    if (turn === 2) return completion({ toolCalls: [{ name: "linger", arguments: {} }] });
    return completion({ content: '{"done": true}' });
  });
  sink.hold("/linger");
  await stage.apply(
    httpTool("charge", "/charge", { effect: "write" }),
    httpTool("linger", "/linger", { effect: "read" }),
    askingAgent("biller", `${sink.url}/v1`, { tools: ["charge", "linger"] }),
    ...single("biller"),
  );
  const run = await client.workflow("biller").invoke();
  await sink.waitForCount("/linger", 1);
  const holder = await stage.holder(run);
  const { held, otherName } = split(workers, holder);
  held?.signal("SIGKILL");
  await sink.waitForAbort("/linger");
  const expired = await stage.record("lease.expired", ({ runId }) => runId === run.id);
  expect(expired.detail).toMatchObject({ worker: holder, deliveries: 1, attempt: 1 });
  await sink.waitForCount("/linger", 2);
  expect(await onlyTask(run)).toMatchObject({ deliveries: 1, attempt: 1 });
  sink.release("/linger");

  expect(await run.result()).toEqual({ done: true });
  expect(turnsAsked).toEqual([1, 2, 3]);
  expect(sink.count("/charge")).toBe(1);
  expect(sink.count("/linger")).toBe(2);
  // The third turn was progress: the loss before it counts no more.
  expect(await onlyTask(run)).toMatchObject({ worker: otherName, attempt: 1, deliveries: 0 });
  const trail = await stage.trail(run);
  const count = (kind: string) => trail.filter((entry) => entry.kind === kind).length;
  expect([count("turn.recorded"), count("task.leased"), count("task.succeeded")]).toEqual([3, 2, 1]);
});

test("SIGKILL with a write in flight: the next worker sends it with the same idempotency key, and one result is recorded", async () => {
  const { client, sink } = stage;
  await pair("b1", "b2");
  sink.hold("/pay");
  await stage.apply(
    httpTool("pay", "/pay", { effect: "write", idempotency: { mode: "cached", onUnknownOutcome: "retry" } }),
    agent(
      "payer",
      [
        { when: "turn == 1", toolCalls: [{ name: "pay", arguments: { cents: 7 } }] },
        { output: { count: "${{ results.pay.count }}" } },
      ],
      { tools: ["pay"] },
    ),
    ...single("payer"),
  );
  const run = await client.workflow("payer").invoke();
  await sink.waitForCount("/pay", 1);
  split(workers, await stage.holder(run)).held?.signal("SIGKILL");
  await sink.waitForCount("/pay", 2);
  expect(await onlyTask(run)).toMatchObject({ deliveries: 1, attempt: 1 });
  sink.release("/pay");

  expect(await run.result()).toEqual({ count: 2 });
  expect([...sink.countsByKey("/pay").values()]).toEqual([2]);
  const task = await onlyTask(run);
  const { toolCalls, turns } = await client.workflows.getTask({ taskId: task.id });
  expect(toolCalls.map(({ state }) => state)).toEqual(["done"]);
  expect(turns.length).toBeGreaterThanOrEqual(1);
  expect(await stage.trail(run, "tool.result")).toHaveLength(1);
});

test("SIGKILL with a write in flight that must not be repeated parks the task as UnknownOutcome", async () => {
  const { client, sink } = stage;
  await pair("c1", "c2");
  sink.hold("/wire");
  await stage.apply(
    httpTool("wire", "/wire", { effect: "write" }),
    agent("wirer", [{ when: "turn == 1", toolCalls: [{ name: "wire", arguments: {} }] }, { output: {} }], {
      tools: ["wire"],
    }),
    ...single("wirer"),
  );
  const run = await client.workflow("wirer").invoke();
  await sink.waitForCount("/wire", 1);
  split(workers, await stage.holder(run)).held?.signal("SIGKILL");
  const parked = await stage.record("task.dead_lettered", ({ runId }) => runId === run.id);
  expect(parked.detail).toMatchObject({ cause: "unknown_outcome", failure: { class: "UnknownOutcome" } });
  expect((await run.get()).conditions).toEqual(["Parked"]);
  expect(sink.count("/wire")).toBe(1);
  await run.cancel("nobody knows");
  await expect(run.result()).rejects.toMatchObject({ state: "CANCELLED" });
});

test("a frozen worker that wakes after another one finished its task changes nothing, and its fact is recorded as refused", async () => {
  const { client, sink } = stage;
  await pair("d1", "d2");
  sink.hold("/step");
  sink.respond("/step", (_call, number) => ({ body: JSON.stringify({ by: number }) }));
  await stage.apply(
    httpTool("step", "/step", { effect: "write", idempotency: { mode: "cached", onUnknownOutcome: "retry" } }),
    agent(
      "stepper",
      [
        { when: "turn == 1", toolCalls: [{ name: "step", arguments: {} }] },
        { output: { by: "${{ results.step.by }}" } },
      ],
      { tools: ["step"] },
    ),
    ...single("stepper"),
  );
  const run = await client.workflow("stepper").invoke();
  await sink.waitForCount("/step", 1);
  const zombieName = await stage.holder(run);
  const { held: zombie, otherName } = split(workers, zombieName);
  zombie?.signal("SIGSTOP");
  await sink.waitForCount("/step", 2);
  sink.release("/step");
  const output = await run.result();
  const before = await stage.trail(run);

  zombie?.signal("SIGCONT");
  const task = await onlyTask(run);
  const refused = await stage.record("fact.refused", (entry) => entry.taskId === task.id);
  expect(refused).toMatchObject({ actor: `worker:${zombieName}` });
  expect(refused.detail.tokenHash).not.toBe("");
  // It is whole again: it says so by a new session, and nothing of the run has changed.
  await stage.record("worker.connected", ({ detail }) => detail.worker === zombieName && detail.resumed === false);
  expect(output).toEqual({ by: 2 });
  expect(await run.result()).toEqual(output);
  expect(await onlyTask(run)).toMatchObject({ worker: otherName, attempt: 1 });
  expect(sink.count("/step")).toBe(2);
  expect([...sink.countsByKey("/step").values()]).toEqual([2]);
  const after = (await stage.trail(run)).filter(({ kind }) => kind !== "fact.refused");
  expect(after).toEqual(before);
});

test("a worker that is told to stop gives back what it cannot finish: no attempt and no delivery is spent, nothing is repeated", async () => {
  const { client, sink } = stage;
  await pair();
  workers["e1"] = await stage.worker("e1", { ORLOJ_DRAIN_WINDOW: "300ms" });
  sink.hold("/long");
  await stage.apply(
    httpTool("short", "/short", { effect: "write" }),
    httpTool("long", "/long", { effect: "read" }),
    agent(
      "leaver",
      [
        { when: "turn == 1", toolCalls: [{ name: "short", arguments: {} }] },
        { when: "turn == 2", toolCalls: [{ name: "long", arguments: {} }] },
        { output: { left: true } },
      ],
      { tools: ["short", "long"] },
    ),
    ...single("leaver"),
  );
  const run = await client.workflow("leaver").invoke();
  await sink.waitForCount("/long", 1);
  expect(await workers["e1"].stop()).toMatchObject({ code: 0 });
  await sink.waitForAbort("/long");
  const requeued = await stage.record("task.requeued", ({ runId }) => runId === run.id);
  expect(requeued.detail).toMatchObject({ cause: "interrupted", attempt: 1, worker: "e1" });
  sink.release("/long");
  await pair("e2");

  expect(await run.result()).toEqual({ left: true });
  expect(await onlyTask(run)).toMatchObject({ worker: "e2", attempt: 1, deliveries: 0 });
  expect(sink.count("/short")).toBe(1);
  expect(await stage.trail(run, "lease.expired")).toEqual([]);
});

test("a lease that an operator takes away voids the old token: the next worker finishes, and the trail says who did it", async () => {
  const { client, sink } = stage;
  await pair("f1", "f2");
  sink.hold("/taken");
  await stage.apply(
    httpTool("taken", "/taken", { effect: "read" }),
    agent(
      "taken",
      [
        { when: "turn == 1", toolCalls: [{ name: "taken", arguments: {} }] },
        { output: { count: "${{ results.taken.count }}" } },
      ],
      { tools: ["taken"] },
    ),
    ...single("taken"),
  );
  const run = await client.workflow("taken").invoke();
  await sink.waitForCount("/taken", 1);
  const { id } = await onlyTask(run);
  const revoked = await runOrloj(["revoke", id, "--reason", "stuck"], { server: stage.server });
  expect(revoked).toMatchObject({ code: 0 });
  await sink.waitForCount("/taken", 2);
  sink.release("/taken");
  expect(await run.result()).toEqual({ count: 2 });
  const records = await stage.trail(run, "lease.revoked");
  expect(records.map(({ actor, detail }) => [actor, detail.reason])).toEqual([["dev", "stuck"]]);
  expect(await stage.trail(run, "task.succeeded")).toHaveLength(1);
});
