// Concurrency of a workflow over a real database: who goes on, who waits, whose turn it is, and what gives a slot back.

import { afterEach, expect, test } from "vitest";
import type { DomainError } from "../../kit/errors.ts";
import { cancelRun } from "../../server/commands/cancel_run.ts";
import { invoke } from "../../server/commands/invoke.ts";
import { readRun } from "../../server/commands/read_runs.ts";
import { discardDeadLetter, replayDeadLetter } from "../../server/commands/replay_dead_letters.ts";
import { createServices } from "../../server/commands/services.ts";
import { startQueued } from "../../server/commands/start_queued.ts";
import { flow, policy } from "./command_manifests.ts";
import { ana, BROKEN, commandStage, DONE, outcomeOf, stopOf } from "./command_stage.ts";
import { counted, GROUPED, groupStage } from "./group_stage.ts";

const stage = await commandStage();
const services = createServices(stage.context);
await stage.applyAll(GROUPED);
const groups = groupStage(stage);
const PLAIN = { currentManifests: false, repeatEffects: false, results: new Map<string, string>() };

// Each test leaves an empty house: what it left going on is stopped.
afterEach(async () => {
  await groups.expectCounts();
  for (;;) {
    const rows = await stage.database.db.selectFrom("run").select("id").where("end_time", "is", null).execute();
    if (rows.length === 0) break;
    await stage.settle(...rows.map(({ id }) => stopOf(id)));
    await stage.database.pool.query("update run set due_time = clock_timestamp() where state = 'CANCELLING'");
    await stage.settle(...rows.map(({ id }) => ({ type: "run_due", runId: id }) as const));
  }
  await groups.expectCounts();
  stage.freed.length = 0;
});

async function finish(runId: string): Promise<void> {
  await stage.claimAs("ses_a");
  const [lease] = await stage.leases(runId);
  const { task_id: taskId, token, session_id: sessionId } = lease!;
  const item = { type: "outcome", taskId, token, sessionId, outcome: DONE, actor: "worker:w" } as const;
  expect(await stage.settle(item)).toEqual([{ verdict: "committed" }]);
}

async function park(workflow = "parking") {
  const runId = await stage.start(workflow);
  const held = await groups.claimOf(runId);
  await stage.settle(outcomeOf(held, BROKEN));
  return { runId, taskId: held.task.id };
}

test("runs beyond max wait PENDING with nothing of their graph, and begin in their turn as slots come free", async () => {
  const [first, second, third, fourth] = [
    await groups.for("acme"),
    await groups.for("acme"),
    await groups.for("acme"),
    await groups.for("acme"),
  ];
  expect(await groups.slotOf(await groups.for("other"))).toBe("held");
  expect(await readRun(stage.context, first)).toMatchObject({ state: "RUNNING", conditions: [] });
  const queued = await readRun(stage.context, third);
  expect(queued).toMatchObject({ state: "PENDING", conditions: ["Queued"], nodes: [{ state: "PENDING" }] });
  expect([queued.startTime, queued.deadline]).toEqual([undefined, undefined]);
  expect([await stage.tasksOf(third), await stage.nodes(third)]).toEqual([[], {}]);
  const [record] = await stage.records(fourth);
  const group = { key: "acme", max: 2, running: 2, waiting: 1 };
  expect(record).toMatchObject({
    kind: "run.created",
    detail: { queued: group, transitions: [{ of: "run", to: "PENDING" }] },
  });
  // Nobody is woken while no slot is free.
  expect(await startQueued(stage.context, ["default/by-customer/acme"])).toEqual([]);
  stage.freed.length = 0;
  await finish(second);
  expect(stage.freed).toEqual(["default/by-customer/acme"]);
  await groups.expectCounts();
  // A run that comes now does not overtake those that wait.
  expect(await groups.slotOf(await groups.for("acme"))).toBe("waiting");
  expect(await startQueued(stage.context, stage.freed)).toEqual([]);
  expect([await groups.slotOf(third), await groups.slotOf(fourth)]).toEqual(["held", "waiting"]);
  const begun = await readRun(stage.context, third);
  expect(begun).toMatchObject({ state: "RUNNING", conditions: [], nodes: [{ state: "ACTIVE" }] });
  expect(begun.deadline!.getTime() - begun.startTime!.getTime()).toBe(60_000);
  const started = (await stage.records(third)).find(({ kind }) => kind === "run.started");
  expect(started).toMatchObject({
    actor: "server",
    detail: { concurrency: { key: "acme", max: 2, running: 2, waiting: 2 } },
  });
  expect(started?.detail["transitions"]).toContainEqual({ of: "run", from: "PENDING", to: "RUNNING" });
  await finish(third);
});

test("a higher priority overtakes by its head start and no more; with one the same, ids decide", async () => {
  const running = await stage.start("single");
  const low = await stage.start("single");
  await stage.applyAll(counted("single", { max: 1 }, { priority: "high" }));
  const high = await stage.start("single");
  await finish(running);
  await groups.startAll();
  expect([await groups.slotOf(low), await groups.slotOf(high)]).toEqual(["waiting", "held"]);
  // The one that has waited longer than the head start is next, whatever comes.
  await stage.database.pool.query("update run set queue_order = queue_order - 30000 where id = $1", [low]);
  const later = await stage.start("single");
  await finish(high);
  await groups.startAll();
  expect([await groups.slotOf(low), await groups.slotOf(later)]).toEqual(["held", "waiting"]);
  await stage.applyAll(counted("single", { max: 1 }));
});

test("reject refuses what there is no room for, and only that: of a batch the others, and of a policy's limit nothing", async () => {
  const limit = { name: "runs", key: ["requester.id"], max: 2, window: "1h" };
  const limited = policy("strict-runs", "WorkflowTemplate", "strict", ["engineering"], "workflow.run");
  await stage.applyAll([{ ...limited, spec: { ...limited.spec, limits: [limit] } }]);
  const input = { namespace: "default", parametersJson: "{}", tags: {}, metadata: {}, idempotencyKey: "" };
  const items = ["strict", "strict", "single"].map((workflow) => ({ principal: ana, input: { ...input, workflow } }));
  const [first, refused, other] = await invoke(stage.context, items);
  expect([first, other]).toMatchObject([{ run: { state: "RUNNING" } }, { run: { state: "RUNNING" } }]);
  expect(refused).toMatchObject({ reason: "CONCURRENCY_LIMIT", metadata: { max: "1" } });
  expect((refused as DomainError).message).toContain(
    "default/strict has 1 run going on; its concurrency allows 1; invoke it again",
  );
  const { rows } = await stage.database.pool.query("select record from audit_event where kind = 'run.refused'");
  expect(rows.map(({ record }) => JSON.parse(record).detail)).toMatchObject([
    { workflow: "strict", requester: { id: "ana" }, concurrency: { max: 1, running: 1, waiting: 0 } },
  ]);
  const counts = await stage.database.db.selectFrom("policy_limit").select("count").execute();
  expect(counts).toEqual([{ count: 1 }]);
  if (first === undefined || first instanceof Error) throw first;
  await finish(first.run.id);
  expect(await stage.start("strict")).toMatch(/^run_/);
});

test("an idempotency key names the queued run, and a key without a value is refused", async () => {
  await stage.start("single");
  const first = await stage.invokeOne("single", { idempotencyKey: "k" });
  const again = await stage.invokeOne("single", { idempotencyKey: "k" });
  expect(again).toMatchObject({ duplicate: true, run: { id: first.run.id, state: "PENDING", conditions: ["Queued"] } });
  await stage.applyAll(counted("odd", { max: 1, key: "params.who" }, { parameters: { type: "object" } }));
  await expect(stage.invokeOne("odd")).rejects.toMatchObject({ reason: "PARAMS_INVALID" });
  await expect(stage.invokeOne("odd", { parametersJson: '{"who":[1]}' })).rejects.toThrow("a list, not a text");
  await expect(stage.invokeOne("odd", { parametersJson: `{"who":"${"x".repeat(257)}"}` })).rejects.toThrow("256");
  expect(await groups.slotOf((await stage.invokeOne("odd", { parametersJson: '{"who":"a\\u0000/b"}' })).run.id)).toBe(
    "held",
  );
});

test("a queued run that is cancelled ends at once, and one that waits too long is TIMED_OUT", async () => {
  await stage.start("brief");
  const [cancelled, late, other] = [await stage.start("brief"), await stage.start("brief"), await stage.start("brief")];
  expect(await cancelRun(stage.context, services, ana, cancelled, "no more")).toMatchObject({ state: "CANCELLED" });
  expect(await stage.run(cancelled)).toMatchObject({ slot: null, queue_order: null, conditions: [] });
  const { due_time, create_time } = await stage.run(late);
  expect(Number(due_time) - Number(create_time)).toBe(3_600_000);
  await stage.database.pool.query("update run set due_time = clock_timestamp() where id = $1", [late]);
  await stage.settle({ type: "run_due", runId: late }, { type: "run_due", runId: other });
  const ended = await readRun(stage.context, late);
  expect(ended).toMatchObject({ state: "TIMED_OUT", failure: { class: "QueueTimeout" } });
  expect(ended.failure?.message).toContain("waited 3600 s");
  expect(await groups.slotOf(other)).toBe("waiting");
});

test("a parked run gives its slot back, and what is replayed of it waits for its turn with its clock stopped", async () => {
  const { runId, taskId } = await park();
  expect(await stage.run(runId)).toMatchObject({ state: "RUNNING", conditions: ["Parked"], slot: null });
  const other = await stage.start("parking");
  expect(await groups.slotOf(other)).toBe("held");
  const { replayTaskId } = await replayDeadLetter(stage.context, services, ana, taskId, PLAIN);
  const waiting = await stage.run(runId);
  expect(waiting).toMatchObject({ conditions: ["Queued"], slot: "waiting", due_time: null });
  expect(Number(waiting.remaining_ms)).toBeGreaterThan(0);
  expect([(await stage.task(replayTaskId)).state, await stage.queued(runId)]).toEqual(["WAITING", []]);
  await groups.startAll();
  expect(await groups.slotOf(runId)).toBe("waiting");
  await groups.expectCounts();
  await finish(other);
  await groups.startAll();
  const going = await stage.run(runId);
  expect(going).toMatchObject({ state: "RUNNING", conditions: [], slot: "held", remaining_ms: null });
  expect(going.due_time).not.toBeNull();
  const { detail } = (await stage.records(runId)).findLast(({ kind }) => kind === "run.started")!;
  const released = { of: "task", taskId: replayTaskId, node: "only", from: "WAITING", to: "READY" };
  expect(detail).toMatchObject({ transitions: [released] });
  await finish(runId);
  expect(await stage.run(runId)).toMatchObject({ state: "SUCCEEDED", slot: null });
});

test("a parked run whose replay waits is cancelled at once; one that is discarded needs no slot to end", async () => {
  const [one, two] = [await park(), await park()];
  await stage.start("parking");
  const { replayTaskId } = await replayDeadLetter(stage.context, services, ana, one.taskId, PLAIN);
  await stage.settle(stopOf(one.runId));
  expect(await stage.run(one.runId)).toMatchObject({ state: "CANCELLED", slot: null });
  expect(await stage.task(replayTaskId)).toMatchObject({ state: "CANCELLED" });
  await discardDeadLetter(services, ana, two.taskId, "not worth it");
  expect(await stage.run(two.runId)).toMatchObject({ state: "FAILED", slot: null });
});

test("what goes on in a parked run because a dead letter was discarded waits for its turn", async () => {
  const caught = {
    nodes: [
      { name: "sub", system: "inner" },
      { name: "rescue", agent: "solo" },
    ],
  };
  await stage.applyAll([
    ...flow("inner", { nodes: [{ name: "only", agent: "parker" }] }),
    ...counted("caught", { max: 1 }, {}, { ...caught, edges: [{ from: "sub", to: "rescue", outcome: "failed" }] }),
  ]);
  const { runId, taskId } = await park("caught");
  const other = await stage.start("caught");
  await discardDeadLetter(services, ana, taskId, "let it be rescued");
  expect(await stage.run(runId)).toMatchObject({ state: "RUNNING", conditions: ["Queued"], slot: "waiting" });
  expect((await stage.tasksOf(runId)).map(({ node, state }) => [node, state])).toContainEqual(["rescue", "WAITING"]);
  expect(await stage.queued(runId)).toEqual([]);
  await stage.settle(stopOf(other));
  await groups.startAll();
  await finish(runId);
  expect(await stage.run(runId)).toMatchObject({ state: "SUCCEEDED" });
});

test("a run that is partly parked keeps its slot until nothing of it can go on", async () => {
  const both = {
    nodes: [
      { name: "park", agent: "parker" },
      { name: "work", agent: "solo" },
    ],
  };
  await stage.applyAll(counted("partly", { max: 1 }, {}, both));
  const runId = await stage.start("partly");
  const held = Map.groupBy((await stage.claimAs("ses_a")).assigned, ({ task }) => task.node);
  await stage.settle(outcomeOf(held.get("park")![0]!, BROKEN));
  expect(await stage.run(runId)).toMatchObject({ conditions: ["Parked"], slot: "held" });
  await stage.settle(outcomeOf(held.get("work")![0]!, DONE));
  expect(await stage.run(runId)).toMatchObject({ conditions: ["Parked"], slot: null });
});

test("a replay of a finished run is a new run that waits for its turn like any other", async () => {
  const { runId, taskId } = await park();
  await stage.settle(stopOf(runId));
  const running = await stage.start("parking");
  const { replayRunId, replayTaskId } = await replayDeadLetter(stage.context, services, ana, taskId, PLAIN);
  expect(await stage.run(replayRunId)).toMatchObject({ state: "RUNNING", conditions: ["Queued"], slot: "waiting" });
  expect((await stage.task(replayTaskId)).state).toBe("WAITING");
  await finish(running);
  await groups.startAll();
  expect(await stage.run(replayRunId)).toMatchObject({ slot: "held", remaining_ms: null });
  await finish(replayRunId);
});

test("a later apply changes the limit for what is decided from then on", async () => {
  const ids = [await stage.start("single"), await stage.start("single"), await stage.start("single")];
  const slots = () => Promise.all(ids.map((id) => groups.slotOf(id)));
  await stage.applyAll(counted("single", { max: 2 }));
  await groups.startAll();
  expect(await slots()).toEqual(["held", "held", "waiting"]);
  // Lowered: those that go on go on, and no other begins before there is room.
  await stage.applyAll(counted("single", { max: 1 }));
  expect(await groups.open()).toEqual([]);
  await finish(ids[0]!);
  expect(await groups.open()).toEqual([]);
  await stage.applyAll(counted("single", { max: 1 }, { concurrency: undefined }));
  expect(await groups.slotOf(await stage.start("single"))).toBe(null);
  await groups.startAll();
  expect(await slots()).toEqual([null, "held", "held"]);
  await finish(ids[1]!);
  await finish(ids[2]!);
  await stage.applyAll(counted("single", { max: 1 }));
});

test("a run that ends with its first step takes no slot, when it is invoked and when its turn comes", async () => {
  const { run } = await stage.invokeOne("instant");
  expect(run.state).toBe("SUCCEEDED");
  await stage.applyAll([...counted("instant", { max: 1 })]);
  const holder = await stage.start("instant");
  await stage.applyAll(GROUPED.slice(-2));
  const queued = await stage.start("instant");
  expect(await groups.slotOf(queued)).toBe("waiting");
  await finish(holder);
  await groups.startAll();
  expect(await stage.run(queued)).toMatchObject({ state: "SUCCEEDED", slot: null });
  expect((await stage.records(queued)).map(({ kind }) => kind)).toEqual(["run.created", "run.started"]);
});
