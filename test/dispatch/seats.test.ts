// Free slots of real sessions for tasks that are never queued: only while the queue has nothing for them, never more than the credit, and
// given back with the lease when the stream is gone.

import { afterEach, expect, test } from "vitest";
import type { CommandContext } from "../../server/commands/context.ts";
import { SessionSeats } from "../../server/dispatch/seats.ts";
import { ana } from "../commands/command_stage.ts";
import { dispatchStage, success } from "./dispatch_stage.ts";

const stage = await dispatchStage();
const { claimer, registry } = stage;
const seats = new SessionSeats(
  () => claimer,
  () => registry,
);
const context: CommandContext = { ...stage.context, seats };
// The route of every task here.
const [first] = await stage.tasksOf(await stage.start("one"));
const route = first?.route ?? "";
await stage.database.pool.query("delete from ready");
await claimer.loadRoutes();

afterEach(async () => {
  for (const session of registry.sessions()) session.closed();
  await stage.services.settle.drained();
  await stage.database.pool.query("delete from ready");
  await stage.database.pool.query("delete from lease");
});

/** A worker whose credit is known, once the queue has said that it has nothing. */
async function workerWith(freeSlots: number) {
  const worker = await stage.connected();
  await worker.send({ case: "credit", value: { freeSlots, lastAssignSequence: 0n } });
  await expect.poll(() => claimer.idleGroups().length).toBe(1);
  return worker;
}

test("slots are given while the queue has nothing, never more than there are, and are free again when given back", async () => {
  const { session } = await workerWith(2);
  const taken = seats.take([route, "no-such-route", route, route]);
  expect(taken.map((seat) => seat?.sessionId)).toEqual([session.id, undefined, session.id, undefined]);
  expect(session.free).toBe(0);
  seats.giveBack(taken.flatMap((seat) => seat ?? []));
  expect(session.free).toBe(2);
});

test("once work is heard of, it comes first: there are no slots until the queue has nothing again", async () => {
  const { session } = await workerWith(2);
  claimer.wake();
  expect(seats.take([route])).toEqual([undefined]);
  await expect.poll(() => claimer.idleGroups().length).toBe(1);
  expect(seats.take([route])).toMatchObject([{ sessionId: session.id }]);
});

test("a draining session has none, nor has a claimer that stopped", async () => {
  const { session } = await workerWith(2);
  session.draining = true;
  expect(seats.take([route])).toEqual([undefined]);
  session.draining = false;
  const { claimer: stopped } = stage.otherReplica();
  await stopped.stop();
  expect(stopped.idleGroups()).toEqual([]);
});

test("the freest session is chosen", async () => {
  const { session: one } = await workerWith(1);
  const { session: three } = await workerWith(3);
  const taken = seats.take([route, route, route, route, route]).map((seat) => seat?.sessionId);
  const last = [one.id, three.id].sort();
  expect(taken).toEqual([three.id, three.id, ...last, undefined]);
});

test("an invocation is assigned without the queue, and its outcome takes the credit from there", async () => {
  const worker = await workerWith(1);
  const { run } = await stage.invokeOne("one", {}, ana, context);
  const { assignments } = await worker.take("assign");
  const [assignment] = assignments;
  expect(assignment).toMatchObject({ runId: run.id, sequence: 1n });
  expect([worker.session.free, (await stage.queued(run.id)).length]).toEqual([0, 0]);
  // A second one has to wait for the slot.
  const { run: second } = await stage.invokeOne("one", {}, ana, context);
  expect(await stage.queued(second.id)).toHaveLength(1);
  await worker.send(success(assignment as NonNullable<typeof assignment>));
  await worker.take("outcomeAcks");
  expect((await stage.run(run.id)).state).toBe("SUCCEEDED");
  await worker.send({ case: "credit", value: { freeSlots: 1, lastAssignSequence: 1n } });
  expect((await worker.take("assign")).assignments).toMatchObject([{ runId: second.id }]);
});

test("what cannot be sent because the stream is gone is given back, and goes to somebody else", async () => {
  const worker = await workerWith(1);
  const lock = await stage.hold("lock table lease in exclusive mode");
  const invoked = stage.invokeOne("one", {}, ana, context);
  await stage.waiting(1);
  worker.session.closed();
  await lock();
  const { run } = await invoked;
  await expect.poll(() => stage.queued(run.id)).toHaveLength(1);
  expect(await stage.leases(run.id)).toEqual([]);
  const other = await stage.connected();
  await other.send({ case: "credit", value: { freeSlots: 1, lastAssignSequence: 0n } });
  expect((await other.take("assign")).assignments).toMatchObject([{ runId: run.id, delivery: 0 }]);
});
