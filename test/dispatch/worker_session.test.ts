// One worker stream: phases, credit, acknowledgements after the commit, resume and fencing, polite and impolite ends.

import { sql } from "kysely";
import { afterEach, expect, test } from "vitest";
import { FactVerdict } from "../../proto/gen/orloj/v1/worker_pb.ts";
import { dispatchStage, success } from "./dispatch_stage.ts";

const stage = await dispatchStage();

// What a test leaves is not the next one's: sessions end, queues and leases are emptied.
afterEach(async () => {
  for (const session of stage.registry.sessions()) session.closed();
  await stage.services.settle.drained();
  await sql`delete from ready`.execute(stage.database.db);
  await sql`delete from lease`.execute(stage.database.db);
});

async function assigned(count = 1, free = count) {
  const runs = [];
  for (let i = 0; i < count; i += 1) runs.push(await stage.start("one"));
  const worker = await stage.connected();
  await worker.send({ case: "credit", value: { freeSlots: free, lastAssignSequence: 0n } });
  const { assignments } = await worker.take("assign");
  return { worker, runs, assignments, first: assignments[0] as (typeof assignments)[number] };
}

test("nothing but Hello opens a session, and Hello only once", async () => {
  const worker = stage.worker();
  await expect(worker.send({ case: "credit", value: { freeSlots: 1, lastAssignSequence: 0n } })).rejects.toMatchObject({
    reason: "PROTOCOL_VIOLATION",
  });
  worker.session.closed();
  const open = await stage.connected();
  expect(open.welcome).toMatchObject({ sessionId: open.session.id, epoch: 1n });
  await expect(open.hello()).rejects.toMatchObject({ reason: "PROTOCOL_VIOLATION" });
});

test.each([
  ["protocol_version", { protocolVersion: 2 }],
  ["instance_id", { instanceId: "short" }],
  ["worker_name", { workerName: "-" }],
  ["slots", { slots: 0 }],
  ["runtimes", { runtimes: ["magic"] }],
  ["handlers", { runtimes: ["handler"] }],
  ["handlers", { handlers: ["refunds"] }],
  ["handlers", { runtimes: ["handler"], handlers: ["Refunds"] }],
  ["handlers", { runtimes: ["handler"], handlers: ["refunds", "refunds"] }],
])("a Hello with a wrong %s is refused by name", async (field, more) => {
  const worker = stage.worker();
  await expect(worker.hello(more)).rejects.toThrow(field);
  worker.session.closed();
});

test("no credit, no task; then as many as the credit says, less what was sent after the worker counted", async () => {
  for (let i = 0; i < 4; i += 1) await stage.start("one");
  const worker = await stage.connected();
  expect(worker.session.free).toBe(0);
  await worker.send({ case: "credit", value: { freeSlots: 2, lastAssignSequence: 0n } });
  const { assignments } = await worker.take("assign");
  expect(assignments.map((one) => one.sequence)).toEqual([1n, 2n]);
  expect(worker.session.free).toBe(0);
  // The worker counted before the second one arrived: one of its two free slots is spoken for.
  await worker.send({ case: "credit", value: { freeSlots: 2, lastAssignSequence: 1n } });
  expect(worker.session.free).toBe(1);
  expect((await worker.take("assign")).assignments).toHaveLength(1);
  // An absolute count heals whatever was lost before it.
  await worker.send({ case: "credit", value: { freeSlots: 0, lastAssignSequence: 3n } });
  expect(worker.session.free).toBe(0);
});

test("a worker that claims to have seen what was not sent gets no more than its credit", async () => {
  const { worker } = await assigned();
  await worker.send({ case: "credit", value: { freeSlots: 1, lastAssignSequence: 1_000n } });
  expect(worker.session.free).toBe(1);
  for (const wrong of [-1n, 1n << 62n]) {
    await expect(worker.send({ case: "credit", value: { freeSlots: 1, lastAssignSequence: wrong } })).rejects.toThrow(
      "out of range",
    );
  }
});

test("an outcome is acknowledged after its commit; resent it is a duplicate", async () => {
  const { worker, runs, first } = await assigned();
  await worker.send(success(first));
  expect((await worker.take("outcomeAcks")).acks).toMatchObject([
    { token: first.token, verdict: FactVerdict.COMMITTED },
  ]);
  expect(await stage.run(runs[0] as string)).toMatchObject({ state: "SUCCEEDED" });
  await worker.send(success(first));
  expect((await worker.take("outcomeAcks")).acks).toMatchObject([{ verdict: FactVerdict.DUPLICATE }]);
});

test("a renewal that overtakes an unsettled outcome is not told that its lease is lost", async () => {
  const { worker, first } = await assigned();
  const release = await stage.hold("select 1 from run where id = $1 for update", [first.runId]);
  await worker.send(success(first));
  await stage.waiting(1);
  await worker.send({ case: "renew", value: { sequence: 7n, tokens: [first.token], lastAssignSequence: 1n } });
  await stage.renewer.flush();
  expect(await worker.take("renewAck")).toMatchObject({ sequence: 7n, lostTokens: [] });
  await release();
  expect((await worker.take("outcomeAcks")).acks).toMatchObject([{ verdict: FactVerdict.COMMITTED }]);
});

test("a fact that is being committed when the worker half-closes is still acknowledged", async () => {
  const { worker, first } = await assigned();
  const release = await stage.hold("select 1 from run where id = $1 for update", [first.runId]);
  await worker.send(success(first));
  await stage.waiting(1);
  worker.session.closed();
  await release();
  expect((await worker.take("outcomeAcks")).acks).toMatchObject([{ verdict: FactVerdict.COMMITTED }]);
  await worker.read();
  expect(worker.ended).toMatchObject({ over: true, error: undefined });
});

test("a database that refuses a fact ends the session without an acknowledgement", async () => {
  const { worker, first } = await assigned();
  await sql`alter table audit_event rename to audit_away`.execute(stage.database.db);
  await worker.send(success(first));
  await worker.read();
  await sql`alter table audit_away rename to audit_event`.execute(stage.database.db);
  expect(worker.ended.error).toBeInstanceOf(Error);
  expect(worker.frames.some((frame) => frame.frame.case === "outcomeAcks")).toBe(false);
  expect(await stage.leases(first.runId)).toHaveLength(1);
});

test.each([
  ["is not JSON", "{"],
  ["nests too deep to be walked", `${"[".repeat(10_000)}${"]".repeat(10_000)}`],
])("a fact that %s ends the session as a violation", async (_what, value) => {
  const { worker, first } = await assigned();
  const { taskId, token } = first;
  const outcome = { case: "outputJson", value } as const;
  await worker.send({ case: "outcomes", value: { outcomes: [{ taskId, token, outcome }] } });
  await worker.read();
  expect(worker.ended.error).toMatchObject({ reason: "PROTOCOL_VIOLATION" });
});

test("a resumed session keeps its live leases, is told which are gone, and fences the older stream", async () => {
  const { worker, assignments } = await assigned(2);
  const [kept, gone] = assignments as [(typeof assignments)[0], (typeof assignments)[0]];
  await stage.settle({
    type: "lost",
    taskId: gone.taskId,
    token: gone.token,
    reason: "revoked",
    actor: "ana",
    note: "",
  });
  const held = [kept, gone].map(({ taskId, token }) => ({ taskId, token }));
  const again = await stage.connected({ resumeSessionId: worker.session.id, held }, worker.instance);
  expect(again.welcome).toMatchObject({ sessionId: worker.session.id, epoch: 2n });
  expect(again.welcome.held.map(({ taskId, keep }) => [taskId, keep])).toEqual([
    [kept.taskId, true],
    [gone.taskId, false],
  ]);
  await worker.read();
  expect(worker.ended.error).toMatchObject({ reason: "VERSION_CHANGED" });
  // Counting goes on where the worker stands.
  await again.send({ case: "credit", value: { freeSlots: 1, lastAssignSequence: 2n } });
  expect((await again.take("assign")).assignments[0]?.sequence).toBe(3n);
  await again.send(success(kept));
  expect((await again.take("outcomeAcks")).acks).toMatchObject([{ verdict: FactVerdict.COMMITTED }]);
});

test("an Accept that the older stream did not store is stored by the resumed one", async () => {
  const { worker, first } = await assigned();
  const held = [{ taskId: first.taskId, token: first.token }];
  const again = await stage.connected({ resumeSessionId: worker.session.id, held }, worker.instance);
  await again.send({ case: "accept", value: { tokens: [first.token] } });
  await stage.renewer.flush();
  expect(await stage.leases(first.runId)).toMatchObject([{ accepted: true }]);
});

test("another instance cannot resume a session", async () => {
  const { worker, first } = await assigned();
  const held = [{ taskId: first.taskId, token: first.token }];
  const thief = await stage.connected({ resumeSessionId: worker.session.id, held });
  expect(thief.welcome.sessionId).not.toBe(worker.session.id);
  expect(thief.welcome.held).toMatchObject([{ keep: false }]);
  await thief.send(success(first));
  expect((await thief.take("outcomeAcks")).acks).toMatchObject([{ verdict: FactVerdict.LEASE_LOST }]);
});

test("Goodbye gives leases back at once and closes the session; a stream that just ends keeps them", async () => {
  const polite = await assigned();
  await polite.worker.send({ case: "goodbye", value: { reason: "done" } });
  await polite.worker.read();
  await stage.services.settle.drained();
  expect(await stage.queued(polite.first.runId)).toMatchObject([{ last_token: null }]);
  expect((await stage.records(polite.first.taskId)).at(-1)).toMatchObject({ kind: "task.requeued" });
  await sql`delete from ready`.execute(stage.database.db);
  const rude = await assigned();
  rude.worker.session.closed();
  await stage.services.settle.drained();
  expect(await stage.leases(rude.first.runId)).toHaveLength(1);
});

test("a lease that its worker accepted and does not name in two renewals is given back without a delivery", async () => {
  const { worker, first } = await assigned();
  await worker.send({ case: "accept", value: { tokens: [first.token] } });
  const renew = async (sequence: bigint, tokens: string[]) => {
    await worker.send({ case: "renew", value: { sequence, tokens, lastAssignSequence: 1n } });
    await stage.renewer.flush();
    await worker.take("renewAck");
    await stage.services.settle.drained();
  };
  // One renewal may have been written before the Accept that overtook it.
  for (const [index, tokens] of [[], [first.token], []].entries()) await renew(BigInt(index + 1), tokens);
  expect(await stage.leases(first.runId)).toHaveLength(1);
  await renew(4n, []);
  expect(await stage.leases(first.runId)).toHaveLength(0);
  expect(await stage.task(first.taskId)).toMatchObject({ state: "READY", deliveries: 0 });
});

test("a yield gives one lease back without a delivery", async () => {
  const { worker, first } = await assigned();
  await worker.send({ case: "yield", value: { leases: [{ token: first.token, reason: "full" }] } });
  await stage.services.settle.drained();
  expect(await stage.task(first.taskId)).toMatchObject({ deliveries: 0 });
  expect(worker.session.held.size).toBe(0);
});

test("a task that a worker gives back again and again rests: others still get it, and so does the worker after a while", async () => {
  const { worker, first } = await assigned();
  const giveBack = async (token: string) => {
    await worker.send({ case: "yield", value: { leases: [{ token, reason: "unsupported" }] } });
    await worker.send({ case: "credit", value: { freeSlots: 1, lastAssignSequence: 100n } });
    await stage.services.settle.drained();
  };
  await giveBack(first.token);
  // The first return costs nothing.
  const again = (await worker.take("assign")).assignments[0];
  await giveBack(again?.token as string);
  await stage.claimer.loadRoutes();
  stage.claimer.wake();
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(await stage.leases(first.runId)).toHaveLength(0);
  stage.standing.move(249);
  stage.claimer.wake();
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(await stage.leases(first.runId)).toHaveLength(0);
  const other = await stage.connected();
  await other.send({ case: "credit", value: { freeSlots: 1, lastAssignSequence: 0n } });
  const elsewhere = (await other.take("assign")).assignments[0];
  await other.send({ case: "yield", value: { leases: [{ token: elsewhere?.token as string, reason: "full" }] } });
  await other.send({ case: "credit", value: { freeSlots: 0, lastAssignSequence: 100n } });
  stage.standing.move(1);
  stage.claimer.wake();
  expect((await worker.take("assign")).assignments[0]).toMatchObject({ taskId: first.taskId });
});

test("a worker that does not read is closed once a thousand frames wait", async () => {
  const worker = stage.worker();
  await worker.hello();
  const order = { sessionId: worker.session.id, taskId: "t", token: "x", reason: "user", graceMs: 1 } as const;
  let sent = 0;
  while (worker.session.isOpen) {
    worker.session.cancel([order]);
    sent += 1;
  }
  expect(sent).toBe(1_000);
  await worker.read();
  expect(worker.ended.error).toMatchObject({ reason: "TOO_MANY" });
});

test("large inputs are spread over frames that a worker can take", async () => {
  const parametersJson = JSON.stringify({ text: "x".repeat(900_000) });
  for (let i = 0; i < 4; i += 1) await stage.start("one", { parametersJson });
  const worker = await stage.connected();
  await worker.send({ case: "credit", value: { freeSlots: 4, lastAssignSequence: 0n } });
  const sizes = [(await worker.take("assign")).assignments.length, (await worker.take("assign")).assignments.length];
  expect(sizes).toEqual([2, 2]);
});
