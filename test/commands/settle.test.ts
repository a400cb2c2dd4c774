// Settling: duplicates, stale and late tokens, batches, records in the same transaction, ends of runs.

import { sql } from "kysely";
import { expect, test } from "vitest";
import type { Assigned } from "../../server/commands/lease_tasks.ts";
import { createServices } from "../../server/commands/services.ts";
import type { SettleItem } from "../../server/commands/settle_items.ts";
import { structuralDenial } from "../../server/policy/evaluate.ts";
import { BROKEN, commandStage, DONE, lostOf, outcomeOf, stopOf, TIMEOUT } from "./command_stage.ts";

const stage = await commandStage();
const COMMITTED = { verdict: "committed" };

async function leased(workflow: string, count = 1, session = "ses_a") {
  const runId = await stage.start(workflow);
  const { assigned } = await stage.claimAs(session);
  const own = assigned.filter((one) => one.task.run_id === runId);
  expect(own).toHaveLength(count);
  return { runId, own, first: own[0] as (typeof own)[number], second: own[1] as (typeof own)[number] };
}

test("a success ends task, node and run with one record that carries every transition", async () => {
  const { runId, first } = await leased("one");
  expect(await stage.settle(outcomeOf(first, DONE))).toEqual([COMMITTED]);
  expect(await stage.run(runId)).toMatchObject({ state: "SUCCEEDED", due_time: null, output: '"done"' });
  expect(await stage.leases(runId)).toEqual([]);
  const records = await stage.records(runId);
  expect(records.map((record) => record.kind)).toEqual(["run.created", "task.leased", "task.succeeded"]);
  expect(records[2]?.detail["transitions"]).toEqual([
    { of: "node", node: "only", iteration: 0, from: "ACTIVE", to: "SUCCEEDED" },
    { of: "run", from: "RUNNING", to: "SUCCEEDED" },
  ]);
});

test("the same outcome again is a duplicate, another one with the same token is refused and recorded; neither changes anything", async () => {
  const { runId, first } = await leased("one");
  await stage.settle(outcomeOf(first, DONE));
  const before = await stage.everything();
  const records = await stage.records(runId);
  expect(await stage.settle(outcomeOf(first, DONE))).toEqual([{ verdict: "duplicate" }]);
  expect(await stage.records(runId)).toEqual(records);
  expect(await stage.settle(outcomeOf(first, BROKEN))).toMatchObject([{ verdict: "refused" }]);
  expect(await stage.everything()).toBe(before);
  expect((await stage.records(runId)).slice(records.length)).toMatchObject([
    { kind: "fact.refused", detail: { fact: "outcome", reason: "contradiction" } },
  ]);
});

test("an output that does not fit the agent's schema is a failure, whatever its worker says, and feeds nobody", async () => {
  const { runId, first } = await leased("chain");
  const lie = outcomeOf(first, { type: "succeeded", output: ["no", "object"] });
  expect(await stage.settle(lie)).toEqual([COMMITTED]);
  expect(await stage.task(first.task.id)).toMatchObject({
    state: "FAILED",
    failure_class: "OutputInvalid",
    output: null,
  });
  expect(await stage.run(runId)).toMatchObject({ state: "FAILED" });
  expect(await stage.tasksOf(runId)).toHaveLength(1);
  expect(await stage.settle(lie)).toEqual([{ verdict: "duplicate" }]);
});

test("an outcome of a task that does not exist is refused and recorded", async () => {
  const { first } = await leased("one");
  const item = { ...outcomeOf(first, DONE), taskId: "task_none" } as SettleItem;
  expect(await stage.settle(item)).toMatchObject([{ verdict: "refused" }]);
  expect(await stage.records("task_none")).toMatchObject([{ kind: "fact.refused", detail: { reason: "no_task" } }]);
});

test("the same outcome twice in one batch is committed once", async () => {
  const { runId, first } = await leased("one");
  expect(await stage.settle(outcomeOf(first, DONE), outcomeOf(first, DONE))).toEqual([
    COMMITTED,
    { verdict: "duplicate" },
  ]);
  expect((await stage.records(runId)).filter((record) => record.kind === "task.succeeded")).toHaveLength(1);
});

test("a stale token changes nothing and is recorded as refused, with hashes and never the token", async () => {
  const { runId, first } = await leased("one");
  await stage.settle(lostOf(first, "expired"));
  const { assigned } = await stage.claimAs("ses_b");
  const before = await stage.everything();
  expect(await stage.settle(outcomeOf(first, DONE))).toEqual([{ verdict: "lease_lost" }]);
  expect(await stage.everything()).toBe(before);
  const refused = (await stage.records(runId)).at(-1);
  expect(refused).toMatchObject({ kind: "fact.refused", detail: { fact: "outcome", sessionId: "ses_a" } });
  expect(refused?.record).not.toContain(first.token);
  await stage.settle(...assigned.map((one) => outcomeOf(one, DONE)));
});

test("another session that presents a live token is refused", async () => {
  const { first } = await leased("one");
  const before = await stage.everything();
  expect(await stage.settle(outcomeOf({ ...first, sessionId: "ses_thief" }, DONE))).toEqual([
    { verdict: "lease_lost" },
  ]);
  expect(await stage.everything()).toBe(before);
  await stage.settle(outcomeOf(first, DONE));
});

test("the last token counts after expiry as long as nobody claimed the task again", async () => {
  const { runId, first } = await leased("one");
  await stage.settle(lostOf(first, "expired"));
  expect(await stage.task(first.task.id)).toMatchObject({ state: "READY", deliveries: 1, attempt: 1 });
  expect(await stage.settle(outcomeOf(first, DONE))).toEqual([COMMITTED]);
  expect(await stage.run(runId)).toMatchObject({ state: "SUCCEEDED" });
  expect(await stage.queued(runId)).toEqual([]);
});

test("an outcome in the batch of its own expiry wins, whichever comes first", async () => {
  for (const lostFirst of [true, false]) {
    const { runId, first } = await leased("one");
    const items = [lostOf(first, "expired"), outcomeOf(first, DONE)];
    const verdicts = await stage.settle(...(lostFirst ? items : items.toReversed()));
    expect(verdicts[lostFirst ? 1 : 0]).toEqual(COMMITTED);
    expect(await stage.run(runId)).toMatchObject({ state: "SUCCEEDED" });
  }
});

test.each(["revoked", "yielded", "unaccepted", "unsent"] as const)(
  "a lease that was %s leaves no token and spends no delivery",
  async (reason) => {
    const { runId, first } = await leased("one");
    expect(await stage.settle(lostOf(first, reason))).toEqual([COMMITTED]);
    expect(await stage.task(first.task.id)).toMatchObject({ state: "READY", deliveries: 0 });
    expect(await stage.queued(runId)).toMatchObject([{ last_token: null }]);
    expect(await stage.settle(outcomeOf(first, DONE))).toEqual([{ verdict: "lease_lost" }]);
    const { assigned } = await stage.claimAs("ses_b");
    await stage.settle(...assigned.map((one) => outcomeOf(one, DONE)));
  },
);

test("ten losses in a row park the task as a poison task and stop the run's clock", async () => {
  const { runId, first } = await leased("one");
  let holder = first;
  for (let loss = 1; loss <= 10; loss += 1) {
    expect((await stage.task(first.task.id)).state).toBe("READY");
    await stage.settle(lostOf(holder, "expired"));
    const [next] = (await stage.claimAs("ses_a")).assigned;
    if (next !== undefined) holder = next;
  }
  expect(await stage.task(first.task.id)).toMatchObject({
    ...{ state: "DEAD_LETTERED", deliveries: 10, attempt: 1, failure_class: "PoisonTask" },
  });
  const run = await stage.run(runId);
  expect(run).toMatchObject({ state: "RUNNING", conditions: ["Parked"], due_time: null });
  expect(Number(run.remaining_ms)).toBeGreaterThan(0);
  expect((await stage.records(runId)).at(-1)).toMatchObject({
    kind: "task.dead_lettered",
    detail: { cause: "deliveries" },
  });
});

test("a lease found unaccepted is kept if its Accept was stored before the lock; found expired, if its session renewed", async () => {
  const { runId, first } = await leased("one", 1, "ses_live");
  await stage.store.read((tx) => tx.leases.accept([{ task_id: first.task.id, token: first.token }]));
  expect(await stage.settle(lostOf(first, "unaccepted"))).toEqual([{ verdict: "duplicate" }]);
  const session = {
    ...{ id: "ses_live", instance_id: "i", name: "w", identity: "w", labels: {}, slots: 1 },
    ...{ runtimes: ["model"], handlers: [], version: "1", replica_id: "r" },
  };
  await stage.store.read((tx) => tx.sessions.open(session, "", 60_000));
  expect(await stage.settle(lostOf(first, "expired"))).toEqual([{ verdict: "duplicate" }]);
  expect(await stage.leases(runId)).toHaveLength(1);
  await stage.settle(outcomeOf(first, DONE));
});

test("a run stopped in the batch that requeues, wakes or retries one of its tasks leaves nothing in the queue", async () => {
  for (const how of ["interrupted", "retry", "lost", "wake"] as const) {
    const { runId, first, second } = await leased("pair", 2);
    if (how === "wake") {
      await stage.settle(outcomeOf(first, TIMEOUT));
      await stage.makeDue(first.task.id);
    }
    const item =
      how === "interrupted"
        ? outcomeOf(first, { type: "interrupted", reason: "draining" })
        : how === "retry"
          ? outcomeOf(first, TIMEOUT)
          : how === "lost"
            ? lostOf(first, "expired")
            : ({ type: "wake", taskId: first.task.id } as const);
    expect(await stage.settle(item, outcomeOf(second, BROKEN)), how).toEqual([COMMITTED, COMMITTED]);
    expect(await stage.queued(runId), how).toEqual([]);
    expect(await stage.leases(runId), how).toEqual([]);
    expect((await stage.tasksOf(runId)).map((task) => task.state).sort(), how).toEqual(["CANCELLED", "FAILED"]);
    expect(await stage.run(runId), how).toMatchObject({ state: "FAILED", cause: "failed" });
  }
});

test("an outcome that a denied task never accepted is no duplicate, though an earlier attempt ended alike", async () => {
  const { first, runId } = await leased("one", 1);
  await stage.settle(outcomeOf(first, TIMEOUT));
  await stage.makeDue(first.task.id);
  await stage.settle({ type: "wake", taskId: first.task.id });
  const [again] = (await stage.claimAs("ses_a")).assigned.filter((one) => one.task.run_id === runId);
  if (again === undefined) throw new Error("nothing was claimed");
  const decision = structuralDenial("undeclared", { checkpoint: "tool.call", policyRevision: "0", nowMs: 0 });
  const { token, sessionId } = again;
  await stage.settle({ type: "denied", taskId: again.task.id, token, sessionId, decision, subject: {} });
  const settled = await stage.settle(outcomeOf(again, TIMEOUT));
  expect(settled.map(({ verdict }) => verdict)).not.toContain("duplicate");
});

test("a task that a slow tick found due is not woken again before the end of its next wait", async () => {
  const { runId, first: held } = await leased("one", 1);
  await stage.settle(outcomeOf(held, TIMEOUT));
  expect(await stage.settle({ type: "wake", taskId: held.task.id })).toEqual([{ verdict: "duplicate" }]);
  expect(await stage.task(held.task.id)).toMatchObject({ state: "WAITING" });
  await stage.makeDue(held.task.id);
  expect(await stage.settle({ type: "wake", taskId: held.task.id })).toEqual([COMMITTED]);
  expect(await stage.queued(runId)).toHaveLength(1);
  await stage.settle(stopOf(runId));
});

test("an outcome resent after its task was requeued and cancelled in one batch is still a duplicate", async () => {
  const { first, second } = await leased("pair", 2);
  const outcome = outcomeOf(first, TIMEOUT);
  await stage.settle(outcome, outcomeOf(second, BROKEN));
  expect(await stage.settle(outcome)).toEqual([{ verdict: "duplicate" }]);
});

test("tasks made by an earlier event of the batch that fails the run end as CANCELLED and are never queued", async () => {
  const { runId, first, second } = await leased("wide", 2);
  const [left, right] = first.task.node === "left" ? [first, second] : [second, first];
  await stage.settle(outcomeOf(left, DONE), outcomeOf(right, BROKEN));
  expect(await stage.nodes(runId)).toEqual({ left: "SUCCEEDED", right: "FAILED", after: "CANCELLED" });
  expect((await stage.tasksOf(runId)).map((task) => task.state).sort()).toEqual(["CANCELLED", "FAILED", "SUCCEEDED"]);
  expect(await stage.queued(runId)).toEqual([]);
  expect(await stage.run(runId)).toMatchObject({ state: "FAILED" });
});

test("two branches that end in one batch fire their join once, and the run ends only when the join did", async () => {
  const { runId, first, second } = await leased("fan", 2);
  await stage.settle(outcomeOf(first, DONE), outcomeOf(second, DONE));
  expect(await stage.nodes(runId)).toEqual({ left: "SUCCEEDED", right: "SUCCEEDED", join: "ACTIVE" });
  expect(await stage.run(runId)).toMatchObject({ state: "RUNNING", end_time: null });
  const { assigned } = await stage.claimAs("ses_a");
  expect(assigned.map((one) => one.task.node)).toEqual(["join"]);
  await stage.settle(...assigned.map((one) => outcomeOf(one, DONE)));
  expect(await stage.run(runId)).toMatchObject({ state: "SUCCEEDED" });
});

test("a batch with a guilty item is split: the others succeed, the guilty one gets its own error", async () => {
  const good = await leased("one");
  const bad = await leased("one");
  await sql`create function guilty() returns trigger language plpgsql as $$ begin
    if new.failure_message like '%guilty%' then raise exception 'guilty'; end if; return new; end $$`.execute(
    stage.database.db,
  );
  await sql`create trigger guilty before update on task for each row execute function guilty()`.execute(
    stage.database.db,
  );
  const services = createServices(stage.context);
  const guilty = { type: "failed", failure: { class: "Broken", message: "guilty" } } as const;
  const results = await Promise.allSettled([
    services.settle.add(outcomeOf(good.first, DONE)),
    services.settle.add(outcomeOf(bad.first, guilty)),
  ]);
  await sql`drop trigger guilty on task`.execute(stage.database.db);
  expect(results).toMatchObject([
    { status: "fulfilled", value: COMMITTED },
    { status: "rejected", reason: { reason: "INVARIANT_BROKEN" } },
  ]);
  expect(await stage.run(good.runId)).toMatchObject({ state: "SUCCEEDED" });
  expect(await stage.leases(bad.runId)).toHaveLength(1);
  await stage.settle(outcomeOf(bad.first, DONE));
});

test("a record that cannot be written aborts the change that it describes", async () => {
  const { first } = await leased("one");
  await sql`create function no_audit() returns trigger language plpgsql as $$ begin raise exception 'no audit'; end $$`.execute(
    stage.database.db,
  );
  await sql`create trigger no_audit before insert on audit_event for each row execute function no_audit()`.execute(
    stage.database.db,
  );
  const before = await stage.everything();
  await expect(stage.settle(outcomeOf(first, DONE))).rejects.toMatchObject({ reason: "INVARIANT_BROKEN" });
  await expect(stage.start("one")).rejects.toMatchObject({ reason: "INVARIANT_BROKEN" });
  expect(await stage.everything()).toBe(before);
  await sql`drop trigger no_audit on audit_event`.execute(stage.database.db);
  expect(await stage.settle(outcomeOf(first, DONE))).toEqual([COMMITTED]);
});

test("a parked run's clock stops with what was left, and a stop ends it at once", async () => {
  const { runId, first } = await leased("parked");
  await stage.settle(outcomeOf(first, BROKEN));
  const parked = await stage.run(runId);
  expect(parked).toMatchObject({ state: "RUNNING", conditions: ["Parked"], due_time: null });
  expect(Number(parked.remaining_ms)).toBeLessThanOrEqual(60_000);
  expect(Number(parked.remaining_ms)).toBeGreaterThan(30_000);
  expect(await stage.settle({ type: "run_due", runId })).toEqual([{ verdict: "duplicate" }]);
  expect(await stage.settle(stopOf(runId))).toEqual([COMMITTED]);
  expect(await stage.run(runId)).toMatchObject({ state: "CANCELLED", conditions: [] });
});

test("a hostile tool name in a denial is stored escaped", async () => {
  const { runId, first } = await leased("one");
  const { task, token, sessionId } = first;
  const decision = {
    ...{ checkpoint: "tool.call", allowed: false, reason: "undeclared", decidedBy: "", message: "" },
    ...{ policyRevision: "1", nowMs: 1, inputDigest: "", verdicts: [] },
  } as never;
  const subject = { tool: `x\u0000${"y".repeat(10_000)}`, requestId: "r" };
  expect(await stage.settle({ type: "denied", taskId: task.id, token, sessionId, decision, subject })).toEqual([
    COMMITTED,
  ]);
  expect((await stage.task(task.id)).failure_message?.length).toBeLessThan(4_100);
  expect(await stage.run(runId)).toMatchObject({ state: "POLICY_DENIED" });
});

test("a stolen token counts for nothing, also in the batch in which its holder speaks", async () => {
  const runId = await stage.start("one");
  const held = (await stage.claimAs("ses_a")).assigned.find((one) => one.task.run_id === runId) as Assigned;
  const stolen = { ...held, sessionId: "ses_thief" };
  const verdicts = await stage.settle(outcomeOf(stolen, BROKEN), outcomeOf(held, DONE));
  expect(verdicts.map(({ verdict }) => verdict)).toEqual(["lease_lost", "committed"]);
  expect(await stage.run(runId)).toMatchObject({ state: "SUCCEEDED" });
  expect((await stage.records(runId)).filter(({ kind }) => kind === "fact.refused")).toHaveLength(1);
});
