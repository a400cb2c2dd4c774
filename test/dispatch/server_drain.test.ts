// Polite ends: a worker that stops, an operator's drain, a server that stops; what is under way is acknowledged, what is held goes along.

import { sql } from "kysely";
import { afterEach, expect, test } from "vitest";
import { FactVerdict } from "../../proto/gen/orloj/v1/worker_pb.ts";
import { drainWorker } from "../../server/commands/steer_fleet.ts";
import type { Principal } from "../../server/commands/views.ts";
import { dispatchStage, success } from "./dispatch_stage.ts";

const stage = await dispatchStage();
const ana: Principal = { id: "ana", kind: "user", groups: [], claims: {}, method: "test", roles: ["admin"] };
const drainOfWorker = {
  case: "drain",
  value: { window: { seconds: 20n, nanos: 0 }, reason: "the worker stops" },
} as const;

afterEach(async () => {
  for (const session of stage.registry.sessions()) session.closed();
  await stage.services.settle.drained();
  await sql`delete from ready`.execute(stage.database.db);
  await sql`delete from lease`.execute(stage.database.db);
});

async function assigned(more: object = {}) {
  const runId = await stage.start("one");
  const worker = await stage.connected(more);
  await worker.send({ case: "credit", value: { freeSlots: 2, lastAssignSequence: 0n } });
  const { assignments } = await worker.take("assign");
  const first = assignments[0] as (typeof assignments)[number];
  return { worker, runId, first };
}

async function stateOf(sessionId: string): Promise<string | undefined> {
  const { rows } = await sql<{ state: string }>`select state from worker_session where id = ${sessionId}`.execute(
    stage.database.db,
  );
  return rows[0]?.state;
}

async function recordsOf(kind: string, sessionId: string) {
  const { rows } = await sql<{ record: string }>`
    select record from audit_event where kind = ${kind} order by id`.execute(stage.database.db);
  return rows
    .map(({ record }) => JSON.parse(record) as { actor: string; detail: { sessionId: string } })
    .filter(({ detail }) => detail.sessionId === sessionId);
}

test("a server's goodbye comes after the answers to what was under way", async () => {
  const beside = stage.otherReplica();
  const runId = await stage.start("one");
  const worker = await stage.connected({}, undefined, beside.registry);
  await beside.claimer.loadRoutes();
  await worker.send({ case: "credit", value: { freeSlots: 1, lastAssignSequence: 0n } });
  const { assignments } = await worker.take("assign");
  const release = await stage.hold("select 1 from run where id = $1 for update", [runId]);
  await worker.send(success(assignments[0] as (typeof assignments)[number]));
  await stage.waiting(1);
  const closed = beside.registry.close();
  await release();
  await closed;
  await worker.read();
  expect(worker.frames.map(({ frame }) => frame.case)).toEqual(["outcomeAcks", "goodbye"]);
});

test("a worker that stops says so: it is assigned nothing more, and that is recorded once however often it says it", async () => {
  const { worker } = await assigned();
  await worker.send(drainOfWorker);
  expect(worker.session.free).toBe(0);
  expect(await stateOf(worker.session.id)).toBe("draining");
  await worker.send(drainOfWorker);
  expect(await recordsOf("worker.drained", worker.session.id)).toMatchObject([
    { actor: "worker:w", detail: { worker: "w", windowMs: 20_000 } },
  ]);
});

test("a goodbye after a drain gives back what is held and closes the session", async () => {
  const { worker, runId } = await assigned();
  await worker.send(drainOfWorker);
  await worker.send({ case: "goodbye", value: { reason: "done" } });
  await worker.read();
  await stage.services.settle.drained();
  expect(worker.ended.error).toBeUndefined();
  expect(await stage.queued(runId)).toMatchObject([{ last_token: null }]);
  await expect.poll(() => stateOf(worker.session.id)).toBe("closed");
  expect(await recordsOf("worker.disconnected", worker.session.id)).toMatchObject([{ detail: { polite: true } }]);
});

test("a worker whose connection is old is asked once to move; it resumes at the same replica with what it holds, and is not draining", async () => {
  const { worker, first } = await assigned();
  await worker.send({ case: "accept", value: { tokens: [first.token] } });
  worker.session.moveOn();
  worker.session.moveOn();
  const { move, reason } = await worker.take("drain");
  expect({ move, reason }).toEqual({ move: true, reason: "the connection is old" });
  expect([worker.session.free, await stateOf(worker.session.id)]).toEqual([0, "active"]);
  const held = [{ taskId: first.taskId, token: first.token }];
  const moved = await stage.connected({ resumeSessionId: worker.session.id, held }, worker.instance);
  expect(moved.session.id).toBe(worker.session.id);
  expect(worker.frames.filter(({ frame }) => frame.case === "drain")).toEqual([]);
  await moved.send({ case: "credit", value: { freeSlots: 1, lastAssignSequence: first.sequence } });
  expect(moved.session.free).toBe(1);
  await moved.send(success(first));
  const { acks } = await moved.take("outcomeAcks");
  expect(acks.map(({ verdict }) => verdict)).toEqual([FactVerdict.COMMITTED]);
  expect(await recordsOf("worker.drained", worker.session.id)).toEqual([]);
});

test("a worker that an operator drained stays drained when it moves to another replica", async () => {
  const { worker, first } = await assigned();
  await drainWorker(stage.context, ana, worker.session.id, 30_000);
  await stage.tick.once();
  expect((await worker.take("drain")).move).toBe(false);
  const { registry, claimer } = stage.otherReplica();
  const held = [{ taskId: first.taskId, token: first.token }];
  const moved = await stage.connected({ resumeSessionId: worker.session.id, held }, worker.instance, registry);
  await claimer.loadRoutes();
  const waiting = await stage.start("one");
  await moved.send({ case: "credit", value: { freeSlots: 2, lastAssignSequence: 1n } });
  claimer.wake();
  await claimer.stop();
  expect(moved.session.free).toBe(0);
  expect(await stage.queued(waiting)).toHaveLength(1);
  await moved.send(success(first));
  expect((await moved.take("outcomeAcks")).acks).toMatchObject([{ verdict: FactVerdict.COMMITTED }]);
  moved.session.closed();
});

test("a server that stops has its sessions move: renewals and facts go along, and no delivery is spent", async () => {
  const source = stage.otherReplica();
  const target = stage.otherReplica();
  await source.claimer.loadRoutes();
  const runId = await stage.start("one");
  const worker = await stage.connected({}, undefined, source.registry);
  await worker.send({ case: "credit", value: { freeSlots: 1, lastAssignSequence: 0n } });
  const { assignments } = await worker.take("assign");
  const first = assignments[0] as (typeof assignments)[number];
  const drained = source.registry.drain(2_000, stage.standing.clock);
  expect((await worker.take("drain")).move).toBe(true);
  expect(() => source.registry.connect(ana, "127.0.0.1:1")).toThrow("shutting down");
  const held = [{ taskId: first.taskId, token: first.token }];
  const moved = await stage.connected({ resumeSessionId: worker.session.id, held }, worker.instance, target.registry);
  expect(moved.welcome).toMatchObject({ sessionId: worker.session.id, epoch: 2n, held: [{ keep: true }] });
  // The worker ends the older stream: the replica that stops waits no longer.
  worker.session.closed();
  await drained;
  await moved.send({ case: "renew", value: { sequence: 1n, tokens: [first.token], lastAssignSequence: 1n } });
  await target.renewer.flush();
  expect(await moved.take("renewAck")).toMatchObject({ sequence: 1n, lostTokens: [] });
  await moved.send(success(first));
  expect((await moved.take("outcomeAcks")).acks).toMatchObject([{ verdict: FactVerdict.COMMITTED }]);
  expect(await stage.run(runId)).toMatchObject({ state: "SUCCEEDED" });
  expect(await stage.task(first.taskId)).toMatchObject({ deliveries: 0 });
  moved.session.closed();
});
