// Tasks of nodes that a loop begins anew: whatever they are doing, they end without effect, and what is said of them later changes nothing.

import { beforeAll, expect, test } from "vitest";
import type { Assigned } from "../../server/commands/lease_tasks.ts";
import { agent, flow } from "./command_manifests.ts";
import { type CommandStage, commandStage, DONE, outcomeOf, TIMEOUT } from "./command_stage.ts";

let stage: CommandStage;
const AGAIN = { type: "succeeded", output: { again: true } } as const;
const ENOUGH = { type: "succeeded", output: { again: false } } as const;

beforeAll(async () => {
  stage = await commandStage();
  const node = (name: string, who = "solo") => ({ name, agent: who });
  await stage.applyAll([
    agent("parking", { errorHandling: { onExhausted: "deadLetter" } }),
    ...flow("round", {
      nodes: [node("start"), node("slow"), node("fast")],
      edges: [
        { from: "start", to: ["slow", "fast"] },
        { from: "fast", to: "start", when: "output.again", loop: { max: 5, onExhausted: "continue" } },
      ],
    }),
    ...flow("parked-round", {
      nodes: [node("start"), node("slow", "parking"), node("fast")],
      edges: [
        { from: "start", to: ["slow", "fast"] },
        { from: "fast", to: "start", when: "output.again", loop: { max: 5, onExhausted: "continue" } },
      ],
    }),
  ]);
});

async function claimed(runId: string): Promise<Record<string, Assigned>> {
  const { assigned } = await stage.claimAs("s1");
  return Object.fromEntries(assigned.filter(({ task }) => task.run_id === runId).map((one) => [one.task.node, one]));
}

/** A run whose slow and fast tasks are leased. */
async function underWay(workflow = "round") {
  const runId = await stage.start(workflow);
  const { start } = await claimed(runId);
  await stage.settle(outcomeOf(start as Assigned, DONE));
  const { slow, fast } = await claimed(runId);
  return { runId, slow: slow as Assigned, fast: fast as Assigned };
}

/** Goes through the second round, in which nothing is superseded. */
async function finish(runId: string): Promise<void> {
  const { start } = await claimed(runId);
  await stage.settle(outcomeOf(start as Assigned, DONE));
  const { slow, fast } = await claimed(runId);
  await stage.settle(outcomeOf(slow as Assigned, DONE), outcomeOf(fast as Assigned, ENOUGH));
  expect((await stage.run(runId)).state).toBe("SUCCEEDED");
  expect(await stage.leases(runId)).toEqual([]);
}

test("a leased task loses its lease at once, and its worker is told to stop", async () => {
  const { runId, slow, fast } = await underWay();
  stage.cancels.length = 0;
  await stage.settle(outcomeOf(fast, AGAIN));
  expect(await stage.task(slow.task.id)).toMatchObject({ state: "CANCELLED", failure_class: "Superseded" });
  expect(stage.cancels).toMatchObject([{ taskId: slow.task.id, token: slow.token, reason: "superseded" }]);
  // A worker that stops as it was told says what is known; one that had finished is late.
  expect(await stage.settle(outcomeOf(slow, { type: "cancelled" }))).toEqual([{ verdict: "duplicate" }]);
  expect(await stage.settle(outcomeOf(slow, DONE))).toMatchObject([{ verdict: "refused" }]);
  await finish(runId);
});

test("a queued task is out of the queue", async () => {
  const runId = await stage.start("round");
  const { start } = await claimed(runId);
  await stage.settle(outcomeOf(start as Assigned, DONE));
  const [one] = (await stage.claimAs("s1", 2)).assigned.filter(({ task }) => task.node === "fast");
  const slow = (await stage.tasksOf(runId)).find((task) => task.node === "slow");
  await stage.database.pool.query("delete from lease where task_id = $1", [slow?.id]);
  await stage.database.pool.query(
    `insert into ready (task_id, run_id, route, claim_order, fresh) select id, run_id, route, claim_order, false
     from task where id = $1`,
    [slow?.id],
  );
  await stage.settle(outcomeOf(one as Assigned, AGAIN));
  expect(await stage.task(slow?.id as string)).toMatchObject({ state: "CANCELLED" });
  expect((await stage.queued(runId)).map((row) => row.task_id)).not.toContain(slow?.id);
  await finish(runId);
});

test("a task that waits for its retry ends, and does not wake", async () => {
  const { runId, slow, fast } = await underWay();
  await stage.settle(outcomeOf(slow, TIMEOUT));
  expect(await stage.task(slow.task.id)).toMatchObject({ state: "WAITING" });
  await stage.settle(outcomeOf(fast, AGAIN));
  expect(await stage.task(slow.task.id)).toMatchObject({ state: "CANCELLED", due_time: null });
  expect(await stage.settle({ type: "wake", taskId: slow.task.id })).toEqual([{ verdict: "duplicate" }]);
  await finish(runId);
});

test.each([
  ["its success first", 0],
  ["the loop first", 1],
])("an outcome in the same batch is recorded and has no effect: %s", async (_name, first) => {
  const { runId, slow, fast } = await underWay();
  const items = [outcomeOf(slow, DONE), outcomeOf(fast, AGAIN)];
  const verdicts = await stage.settle(...(first === 0 ? items : items.reverse()));
  expect(verdicts).toEqual([{ verdict: "committed" }, { verdict: "committed" }]);
  expect(await stage.task(slow.task.id)).toMatchObject({ state: "SUCCEEDED" });
  expect(await stage.nodes(runId)).toEqual({ start: "ACTIVE", slow: "PENDING", fast: "PENDING" });
  await finish(runId);
});

test("a retry in the same batch does not bring the task back", async () => {
  const { runId, slow, fast } = await underWay();
  await stage.settle(outcomeOf(slow, TIMEOUT), outcomeOf(fast, AGAIN));
  expect(await stage.task(slow.task.id)).toMatchObject({ state: "CANCELLED" });
  await finish(runId);
});

test("a claim that is under way is waited for, and its lease ends", async () => {
  const { runId, slow, fast } = await underWay();
  // The lease as a claim has it that has not committed yet.
  await stage.database.pool.query("delete from lease where task_id = $1", [slow.task.id]);
  await stage.database.pool.query(
    `insert into ready (task_id, run_id, route, claim_order, fresh) select id, run_id, route, claim_order, true
     from task where id = $1`,
    [slow.task.id],
  );
  const client = await stage.database.pool.connect();
  await client.query("begin");
  await client.query("delete from ready where task_id = $1", [slow.task.id]);
  await client.query(
    `insert into lease (task_id, run_id, token, session_id, worker, attempt, delivery, journal_length)
     values ($1, $2, 'token-of-the-claim', 's1', 'w', 1, 1, 0)`,
    [slow.task.id, runId],
  );
  const settled = stage.settle(outcomeOf(fast, AGAIN));
  await stage.waiting(1);
  await client.query("commit");
  client.release();
  expect(await settled).toEqual([{ verdict: "committed" }]);
  expect(await stage.task(slow.task.id)).toMatchObject({ state: "CANCELLED" });
  expect((await stage.leases(runId)).map((lease) => lease.task_id)).not.toContain(slow.task.id);
  await finish(runId);
});

test("the dead letter of a node that began anew is a record only", async () => {
  const { runId, slow, fast } = await underWay("parked-round");
  await stage.settle(outcomeOf(slow, { type: "failed", failure: { class: "Broken", message: "it broke" } }));
  expect(await stage.nodes(runId)).toMatchObject({ slow: "PARKED" });
  await stage.settle(outcomeOf(fast, AGAIN));
  const plan = {
    taskId: "task_new",
    how: "plain",
    digest: "d",
    repeatEffects: false,
    results: new Map(),
    input: "{}",
  } as const;
  const [verdict] = await stage.settle({ type: "replay", taskId: slow.task.id, plan, actor: "ana" });
  expect(verdict).toMatchObject({ verdict: "failed", error: { reason: "DEAD_LETTER_RESOLVED" } });
  expect((await stage.run(runId)).conditions).toEqual([]);
  await finish(runId);
});
