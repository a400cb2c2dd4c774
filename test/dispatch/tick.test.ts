// The tick, the renewer and the claimer over real tables: deadlines, sweeps, records, and what one bad item may not do.

import { sql } from "kysely";
import { afterEach, expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { Sealer } from "../../server/dispatch/sealer.ts";
import { Starter } from "../../server/dispatch/starter.ts";
import { flow } from "../commands/command_manifests.ts";
import { stopOf } from "../commands/command_stage.ts";
import { storeEvents, turnEvent } from "../commands/stored_run.ts";
import { dispatchStage, success } from "./dispatch_stage.ts";

const stage = await dispatchStage();
const { tick } = stage;
// Some replica has been looking all along.
await stage.watched();

afterEach(async () => {
  for (const session of stage.registry.sessions()) session.closed();
  await stage.services.settle.drained();
  for (const table of ["ready", "lease", "worker_session"])
    await sql`delete from ${sql.table(table)}`.execute(stage.database.db);
  await sql`update run set due_time = null`.execute(stage.database.db);
  await sql`update task set due_time = clock_timestamp() + interval '1 day' where due_time is not null`.execute(
    stage.database.db,
  );
});

async function assigned() {
  const runId = await stage.start("one");
  const worker = await stage.connected();
  await worker.send({ case: "credit", value: { freeSlots: 1, lastAssignSequence: 0n } });
  const [first] = (await worker.take("assign")).assignments;
  if (first === undefined) throw new Error("nothing was assigned");
  return { runId, worker, first };
}

const age = (seconds: number) =>
  sql`update lease set claim_time = claim_time - ${seconds} * interval '1 second'`.execute(stage.database.db);
const expire = (id: string) =>
  sql`update worker_session set expire_time = clock_timestamp() where id = ${id}`.execute(stage.database.db);

async function recordsOf(kind: string) {
  const { rows } = await stage.database.pool.query("select record from audit_event where kind = $1 order by id", [
    kind,
  ]);
  return rows.map((row) => JSON.parse(row.record));
}

test("records that nobody has sealed wake the sealer, whoever wrote them; sealed ones do not", async () => {
  let wakes = 0;
  const watching = stage.otherTick({ sealer: { wake: () => (wakes += 1) } });
  await storeEvents(stage.store, [turnEvent("run_unsealed", 1)]);
  await watching.once();
  expect(wakes).toBe(1);
  const sealer = new Sealer(stage.context, systemClock());
  while ((await sealer.once()) !== "idle");
  await watching.once();
  expect(wakes).toBe(1);
});

test("due timers are served at once, and the worker of a run whose time is up is told so", async () => {
  const { worker, runId, first } = await assigned();
  await sql`update run set due_time = clock_timestamp() where id = ${runId}`.execute(stage.database.db);
  await tick.once();
  expect(await stage.run(runId)).toMatchObject({ state: "CANCELLING", cause: "timed_out" });
  await tick.once();
  expect((await worker.take("cancel")).tasks).toMatchObject([{ taskId: first.taskId, reason: "timeout" }]);
});

test("a tick tells when the next timer is due: a retry, a deadline, or the end of a session, and not those that are over", async () => {
  const { worker, runId, first } = await assigned();
  const { db } = stage.database;
  const inSeconds = (seconds: number) => sql`clock_timestamp() + ${seconds} * interval '1 second'`;
  const within = (seconds: number) => (ms: number) => ms > (seconds - 10) * 1_000 && ms <= seconds * 1_000;
  await sql`update run set due_time = null`.execute(db);
  await sql`update worker_session set expire_time = ${inSeconds(3_600)}`.execute(db);
  expect(await tick.once()).toSatisfy(within(3_600));
  await sql`update run set due_time = ${inSeconds(60)} where id = ${runId}`.execute(db);
  expect(await tick.once()).toSatisfy(within(60));
  await sql`update task set state = 'WAITING', due_time = ${inSeconds(40)} where id = ${first.taskId}`.execute(db);
  expect(await tick.once()).toSatisfy(within(40));
  await sql`update worker_session set expire_time = ${inSeconds(20)} where id = ${worker.session.id}`.execute(db);
  expect(await tick.once()).toSatisfy(within(20));
  await sql`update worker_session set expire_time = ${inSeconds(3_600)}`.execute(db);
  await sql`update task set state = 'READY', due_time = null where id = ${first.taskId}`.execute(db);
  await sql`update run set due_time = ${inSeconds(-1)} where id = ${runId}`.execute(db);
  expect(await tick.once()).toSatisfy(within(3_600));
  expect(await stage.run(runId)).toMatchObject({ state: "CANCELLING" });
});

test("an assignment that nobody accepts in time is READY again, without a delivery and without a token", async () => {
  const { runId, first } = await assigned();
  await tick.once();
  expect(await stage.leases(runId)).toHaveLength(1);
  await age(7);
  await tick.once();
  expect(await stage.task(first.taskId)).toMatchObject({ state: "READY", deliveries: 0 });
  expect((await stage.records(first.taskId)).at(-1)).toMatchObject({
    kind: "task.requeued",
    detail: { cause: "not_accepted" },
  });
});

test("an accepted assignment stays, however old, while its session is seen", async () => {
  const { runId, worker, first } = await assigned();
  await worker.send({ case: "accept", value: { tokens: [first.token] } });
  await stage.renewer.flush();
  await age(600);
  await tick.once();
  expect(await stage.leases(runId)).toMatchObject([{ accepted: true }]);
});

test("an expired session is recorded as lost with its own leases, once; its task spends a delivery and keeps its token", async () => {
  const { worker, first } = await assigned();
  await worker.send({ case: "accept", value: { tokens: [first.token] } });
  await stage.renewer.flush();
  const idle = await stage.connected();
  await age(60);
  await expire(worker.session.id);
  await expire(idle.session.id);
  const before = (await recordsOf("worker.lost")).length;
  await tick.once();
  await tick.once();
  const lost = (await recordsOf("worker.lost")).slice(before);
  expect(Object.fromEntries(lost.map(({ detail }) => [detail.sessionId, detail.leases]))).toEqual({
    [worker.session.id]: 1,
    [idle.session.id]: 0,
  });
  expect(lost).toHaveLength(2);
  expect(await stage.task(first.taskId)).toMatchObject({ state: "READY", deliveries: 1 });
  await worker.send(success(first));
  expect((await worker.take("outcomeAcks")).acks).toHaveLength(1);
  expect(await stage.run(first.runId)).toMatchObject({ state: "SUCCEEDED" });
});

test("a session is not marked lost when its record cannot be written", async () => {
  const { worker } = await assigned();
  await expire(worker.session.id);
  await sql`create function no_audit() returns trigger language plpgsql as $$ begin raise exception 'no audit'; end $$`.execute(
    stage.database.db,
  );
  await sql`create trigger no_audit before insert on audit_event for each row execute function no_audit()`.execute(
    stage.database.db,
  );
  await expect(tick.once()).rejects.toThrow();
  await sql`drop trigger no_audit on audit_event`.execute(stage.database.db);
  const { rows } = await stage.database.pool.query("select state from worker_session where id = $1", [
    worker.session.id,
  ]);
  expect(rows).toEqual([{ state: "active" }]);
});

test("one task that cannot be settled does not keep the sweep from the others", async () => {
  const bad = await assigned();
  const good = await assigned();
  await age(7);
  await sql`create function guilty() returns trigger language plpgsql as $$ begin raise exception 'guilty'; end $$`.execute(
    stage.database.db,
  );
  await sql`create trigger guilty before insert on ready for each row when (new.task_id = ${sql.lit(bad.first.taskId)})
    execute function guilty()`.execute(stage.database.db);
  await tick.once();
  expect(await stage.leases(good.runId)).toEqual([]);
  expect(await stage.leases(bad.runId)).toHaveLength(1);
  await sql`drop trigger guilty on ready`.execute(stage.database.db);
  await tick.once();
  expect(await stage.leases(bad.runId)).toEqual([]);
});

test("accepts that the database did not take are stored by the next flush", async () => {
  const { worker, runId, first } = await assigned();
  await sql`alter table lease rename to lease_away`.execute(stage.database.db);
  await worker.send({ case: "accept", value: { tokens: [first.token] } });
  await stage.renewer.flush();
  await sql`alter table lease_away rename to lease`.execute(stage.database.db);
  expect(await stage.leases(runId)).toMatchObject([{ accepted: false }]);
  await stage.renewer.flush();
  expect(await stage.leases(runId)).toMatchObject([{ accepted: true }]);
});

test("a cancel is repeated by tick and renewal until the worker acknowledged it", async () => {
  const { worker, runId, first } = await assigned();
  await stage.settle({
    ...{ type: "stop", runId, cause: "cancelled", actor: "ana", failure: { class: "Cancelled", message: "x" } },
  } as const);
  await tick.once();
  expect((await worker.take("cancel")).tasks).toMatchObject([{ token: first.token, reason: "user" }]);
  await worker.send({ case: "renew", value: { sequence: 1n, tokens: [first.token], lastAssignSequence: 1n } });
  await stage.renewer.flush();
  expect((await worker.take("renewAck")).cancels).toMatchObject([{ taskId: first.taskId }]);
  await worker.send({ case: "cancelAck", value: { tokens: [first.token] } });
  await tick.once();
  expect(worker.frames.filter((frame) => frame.frame.case === "cancel")).toEqual([]);
});

test("a session that another stream took over on another replica ends at its next renewal", async () => {
  const { worker } = await assigned();
  await sql`update worker_session set epoch = epoch + 1 where id = ${worker.session.id}`.execute(stage.database.db);
  await worker.send({ case: "renew", value: { sequence: 1n, tokens: [], lastAssignSequence: 1n } });
  await stage.renewer.flush();
  await worker.read();
  expect(worker.ended.error).toMatchObject({ reason: "VERSION_CHANGED" });
});

test("a drain that an operator asked for reaches the worker, who gets nothing more", async () => {
  const worker = await stage.connected();
  await worker.send({ case: "credit", value: { freeSlots: 3, lastAssignSequence: 0n } });
  await stage.store.read((tx) => tx.sessions.setState(worker.session.id, "draining"));
  await tick.once();
  await worker.take("drain");
  expect(worker.session.free).toBe(0);
});

test("a server that shuts down says goodbye, keeps the leases for the next stream, and takes no more workers", async () => {
  const { worker, runId } = await assigned();
  await stage.registry.close();
  await worker.take("goodbye");
  expect(await stage.leases(runId)).toHaveLength(1);
  expect(() => stage.worker()).toThrow("shutting down");
});

test("a tick lets a run go on that waits though a slot is free, when nobody was told of it", async () => {
  await stage.applyAll(flow("alone", { nodes: [{ name: "only", agent: "solo" }] }, { concurrency: { max: 1 } }));
  const [first, second] = [await stage.start("alone"), await stage.start("alone")];
  await stage.settle(stopOf(first));
  expect(await stage.run(second)).toMatchObject({ state: "PENDING" });
  const starter = new Starter(stage.context);
  await stage.otherTick({ starter }).once();
  await starter.stop();
  expect(await stage.run(second)).toMatchObject({ state: "RUNNING", slot: "held" });
  await stage.settle(stopOf(second));
});
