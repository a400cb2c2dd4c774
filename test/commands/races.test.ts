// The named races, each with two real transactions that meet at a lock, in both orders. A third connection holds the lock as a
// barrier, and lets go once both wait for it: Postgres then serves them in the order in which they came.

import { expect, test } from "vitest";
import type { Assigned } from "../../server/commands/lease_tasks.ts";
import { recordTurns } from "../../server/commands/record_turns.ts";
import { settle } from "../../server/commands/settle.ts";
import type { SettleItem, SettleVerdict } from "../../server/commands/settle_items.ts";
import { commandStage, DONE, lostOf, outcomeOf, stopOf, TIMEOUT } from "./command_stage.ts";
import { meeting, ORDERS } from "./meeting.ts";

const stage = await commandStage();
const other = stage.replica();
const { meet, lockRun, lockLease } = meeting(stage);

async function leased(workflow = "one", count = 1) {
  const runId = await stage.start(workflow);
  const held = (await stage.claimAs("ses_a")).assigned.filter((one) => one.task.run_id === runId);
  expect(held).toHaveLength(count);
  return { runId, held: held[0] as Assigned, second: held[1] as Assigned };
}

const one =
  (item: SettleItem, context = stage.context) =>
  async (): Promise<SettleVerdict["verdict"]> =>
    (await settle(context, [item]))[0]?.verdict as SettleVerdict["verdict"];

async function endings(runId: string): Promise<string[]> {
  const kinds = (await stage.records(runId)).map((record) => record.kind);
  return kinds.filter((kind) => /^task\.(succeeded|failed|cancelled|timed_out|denied|dead_lettered)$/.test(kind));
}

test.each(ORDERS)("complete vs reap, order %i %i: the outcome counts, once", async (...order) => {
  const { runId, held } = await leased();
  const actions = [one(outcomeOf(held, DONE)), one(lostOf(held, "expired"), other)] as const;
  const [completed, reaped] = await meet(lockRun(runId), actions, order);
  expect([completed, reaped]).toEqual(order[0] === 0 ? ["committed", "lease_lost"] : ["committed", "committed"]);
  expect(await stage.run(runId)).toMatchObject({ state: "SUCCEEDED" });
  expect(await endings(runId)).toEqual(["task.succeeded"]);
  expect([...(await stage.queued(runId)), ...(await stage.leases(runId))]).toEqual([]);
});

test.each(ORDERS)("complete vs cancel, order %i %i: the first decides how the run ends", async (...order) => {
  const { runId, held } = await leased();
  const actions = [one(outcomeOf(held, DONE)), one(stopOf(runId), other)] as const;
  const verdicts = await meet(lockRun(runId), actions, order);
  expect(verdicts).toEqual(order[0] === 0 ? ["committed", "duplicate"] : ["committed", "committed"]);
  expect(await stage.run(runId)).toMatchObject({ state: order[0] === 0 ? "SUCCEEDED" : "CANCELLED" });
  expect(await endings(runId)).toEqual(["task.succeeded"]);
});

test.each(ORDERS)("turn vs reap, order %i %i: the turn is kept and the token stays good", async (...order) => {
  const { runId, held } = await leased();
  const { task, token, sessionId } = held;
  const fact = { taskId: task.id, token, sessionId, sequence: 1, turnJson: '{"text":"","toolCalls":[]}', worker: "w" };
  const turn = async () => (await recordTurns(other, [fact]))[0]?.verdict;
  const [recorded] = await meet(lockLease(task.id), [turn, one(lostOf(held, "expired"))], order);
  expect(recorded).toBe("committed");
  expect(await one(outcomeOf(held, DONE))()).toBe("committed");
  expect(await stage.run(runId)).toMatchObject({ state: "SUCCEEDED" });
});

test.each(ORDERS)("renew vs reap, order %i %i: a session that renewed first keeps its lease", async (...order) => {
  const { runId, held } = await leased();
  const session = {
    ...{ id: `ses_${order.join("")}`, instance_id: "i", name: "w", identity: "w", labels: {}, slots: 1 },
    ...{ runtimes: ["model"], handlers: [], version: "1", replica_id: "r" },
  };
  await stage.store.read((tx) => tx.sessions.open(session, "", 0));
  await stage.database.pool.query("update lease set session_id = $1 where task_id = $2", [session.id, held.task.id]);
  const renew = () => stage.store.read((tx) => tx.sessions.renew([{ id: session.id, epoch: "1" }], 60_000));
  if (order[0] === 0) {
    // The reaper waits for the lease while the renewal commits.
    const release = await lockLease(held.task.id)();
    const reaped = one(lostOf(held, "expired"))();
    await stage.waiting(1);
    expect(await renew()).toEqual([session.id]);
    await release();
    expect(await reaped).toBe("duplicate");
    expect(await stage.leases(runId)).toHaveLength(1);
  } else {
    expect(await one(lostOf(held, "expired"))()).toBe("committed");
    expect(await renew()).toEqual([session.id]);
    const still = await stage.store.read((tx) =>
      tx.leases.stillHeld([{ task_id: held.task.id, token: held.token, session_id: session.id }]),
    );
    expect(still).toHaveLength(1);
  }
  const owner = { ...held, sessionId: session.id };
  expect(await one(outcomeOf(owner, DONE))()).toBe("committed");
});

test.each(ORDERS)("claim vs cancel, order %i %i: no lease survives unseen", async (...order) => {
  const runId = await stage.start("one");
  if (order[0] === 0) {
    // The claim has its row and waits to insert the lease; the cancel waits for the row.
    const release = await stage.hold("lock table lease in share row exclusive mode");
    const claimed = stage.claimAs("ses_a", 1, other);
    await stage.waiting(1);
    stage.cancels.length = 0;
    const stopped = one(stopOf(runId))();
    await stage.waiting(2);
    await release();
    const { assigned } = await claimed;
    expect([await stopped, assigned.length]).toEqual(["committed", 1]);
    expect(stage.cancels).toMatchObject([{ taskId: assigned[0]?.task.id, token: assigned[0]?.token }]);
    await stage.settle(outcomeOf(assigned[0] as Assigned, { type: "cancelled" }));
  } else {
    // The cancel has taken the row and waits for its record; the claim passes over it.
    const release = await stage.hold("lock table audit_event in share row exclusive mode");
    const stopped = one(stopOf(runId))();
    await stage.waiting(1);
    expect((await stage.claimAs("ses_a", 1, other)).assigned).toEqual([]);
    await release();
    expect(await stopped).toBe("committed");
  }
  expect(await stage.run(runId)).toMatchObject({ state: "CANCELLED" });
  expect([...(await stage.queued(runId)), ...(await stage.leases(runId))]).toEqual([]);
});

test.each(ORDERS)(
  "two joins, order %i %i: branches that end on two replicas fire their join once",
  async (...order) => {
    const { runId, held, second } = await leased("fan", 2);
    const actions = [one(outcomeOf(held, DONE)), one(outcomeOf(second, DONE), other)] as const;
    expect(await meet(lockRun(runId), actions, order)).toEqual(["committed", "committed"]);
    expect((await stage.tasksOf(runId)).map((task) => task.node).sort()).toEqual(["join", "left", "right"]);
    expect(await stage.nodes(runId)).toMatchObject({ join: "ACTIVE" });
    const [join] = (await stage.claimAs("ses_a")).assigned;
    expect(await one(outcomeOf(join as Assigned, DONE))()).toBe("committed");
    expect(await stage.run(runId)).toMatchObject({ state: "SUCCEEDED" });
  },
);

test.each(ORDERS)("wake vs cancel, order %i %i: the task ends once and is never queued", async (...order) => {
  const { runId, held } = await leased();
  await stage.settle(outcomeOf(held, TIMEOUT));
  await stage.makeDue(held.task.id);
  const actions = [one({ type: "wake", taskId: held.task.id }), one(stopOf(runId), other)] as const;
  const verdicts = await meet(lockRun(runId), actions, order);
  expect(verdicts).toEqual(order[0] === 0 ? ["committed", "committed"] : ["duplicate", "committed"]);
  expect(await stage.run(runId)).toMatchObject({ state: "CANCELLED" });
  expect(await stage.task(held.task.id)).toMatchObject({ state: "CANCELLED" });
  expect(await endings(runId)).toEqual(["task.cancelled"]);
  expect(await stage.queued(runId)).toEqual([]);
});

test("late outcome vs next claim: the claim that has the row wins, the outcome is refused", async () => {
  const { runId, held } = await leased();
  await stage.settle(lostOf(held, "expired"));
  const release = await stage.hold("lock table lease in share row exclusive mode");
  const claimed = stage.claimAs("ses_b", 1, other);
  await stage.waiting(1);
  const outcome = one(outcomeOf(held, DONE))();
  await stage.waiting(2);
  await release();
  const [next] = (await claimed).assigned;
  expect(await outcome).toBe("lease_lost");
  expect(await one(outcomeOf(next as Assigned, DONE))()).toBe("committed");
  expect(await endings(runId)).toEqual(["task.succeeded"]);
});
