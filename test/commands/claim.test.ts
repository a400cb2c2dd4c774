// Claiming: credits, order, routes, two claimers at once, denials, what a second holder is given.

import { expect, test } from "vitest";
import { claim } from "../../server/commands/claim.ts";
import { BROKEN, commandStage, DONE, lostOf, outcomeOf, TIMEOUT } from "./command_stage.ts";

const stage = await commandStage();

async function finishAll(): Promise<void> {
  for (;;) {
    const { assigned, denied } = await stage.claimAs("ses_sweep");
    if (assigned.length + denied.length === 0) return;
    await stage.settle(...assigned.map((one) => outcomeOf(one, DONE)), ...denied);
  }
}

test("a claim takes no more than the credits, spread over sessions, and says when there may be more", async () => {
  for (let i = 0; i < 5; i += 1) await stage.start("one");
  const routes = await stage.routes();
  const sessions = [
    { sessionId: "ses_a", worker: "a", free: 1 },
    { sessionId: "ses_b", worker: "b", free: 2 },
  ];
  const first = await claim(stage.context, routes, sessions);
  expect(first.more).toBe(true);
  expect(first.assigned.map((one) => one.sessionId).sort()).toEqual(["ses_a", "ses_b", "ses_b"]);
  expect(new Set(first.assigned.map((one) => one.token)).size).toBe(3);
  const rest = await stage.claimAs("ses_a", 10);
  expect([rest.assigned.length, rest.more]).toEqual([2, false]);
  expect(await claim(stage.context, routes, [{ sessionId: "ses_a", worker: "a", free: 0 }])).toMatchObject({
    assigned: [],
  });
  await stage.settle(...[...first.assigned, ...rest.assigned].map((one) => outcomeOf(one, DONE)));
});

test("a higher priority class goes first, within its head start", async () => {
  const [low, normal, high] = [await stage.start("patient"), await stage.start("one"), await stage.start("urgent")];
  const order = [];
  for (let i = 0; i < 3; i += 1) {
    const [one] = (await stage.claimAs("ses_a", 1)).assigned;
    if (one === undefined) throw new Error("nothing was claimed");
    order.push(one.task.run_id);
    await stage.settle(outcomeOf(one, DONE));
  }
  expect(order).toEqual([high, normal, low]);
});

test("a steady stream of a higher priority starves nobody: what has waited for the head start is next", async () => {
  const low = await stage.start("patient");
  const served = [];
  // A minute and a half: each second one of high priority comes, and one task is taken.
  for (let second = 0; second < 90 && served.at(-1) !== low; second += 1) {
    await stage.database.pool.query("update ready set claim_order = claim_order - 1000");
    await stage.start("urgent");
    const [one] = (await stage.claimAs("ses_a", 1)).assigned;
    if (one === undefined) throw new Error("nothing was claimed");
    served.push(one.task.run_id);
    await stage.settle(outcomeOf(one, DONE));
  }
  expect(served.at(-1)).toBe(low);
  expect(served.length).toBeGreaterThan(50);
  for (const one of (await stage.claimAs("ses_a")).assigned) await stage.settle(outcomeOf(one, DONE));
});

test("two claims at once never take one task twice, and skip what the other has locked", async () => {
  for (let i = 0; i < 20; i += 1) await stage.start("one");
  const claims = await Promise.all(["ses_a", "ses_b"].map((session) => stage.claimAs(session, 12, stage.replica())));
  const rest = await stage.claimAs("ses_c");
  const all = [...claims, rest].flatMap((claimed) => claimed.assigned);
  expect(all).toHaveLength(20);
  expect(new Set(all.map((one) => one.task.id)).size).toBe(20);
  await stage.settle(...all.map((one) => outcomeOf(one, DONE)));
});

test("a task that another transaction has locked is passed over, not waited for", async () => {
  const [first, second] = [await stage.start("one"), await stage.start("one")];
  const release = await stage.hold("select 1 from ready where run_id = $1 for update", [first]);
  const { assigned } = await stage.claimAs("ses_a");
  expect(assigned.map((one) => one.task.run_id)).toEqual([second]);
  await release();
  await finishAll();
});

test("a task goes only to a claim that serves its route", async () => {
  const runId = await stage.start("zoned");
  const [row] = await stage.queued(runId);
  const others = (await stage.routes()).filter((route) => route !== row?.route);
  const session = [{ sessionId: "ses_a", worker: "a", free: 9 }];
  expect((await claim(stage.context, others, session)).assigned).toEqual([]);
  expect((await claim(stage.context, [row?.route ?? ""], session)).assigned).toHaveLength(1);
});

test("a task denied at agent.run is never assigned, and its denial ends task and run with one record", async () => {
  const runId = await stage.start("denied");
  const { assigned, denied } = await stage.claimAs("ses_a");
  expect(assigned).toEqual([]);
  expect(denied).toHaveLength(1);
  expect(await stage.settle(...denied)).toEqual([{ verdict: "committed" }]);
  expect(await stage.run(runId)).toMatchObject({ state: "POLICY_DENIED", cause: "policy_denied" });
  const records = await stage.records(runId);
  expect(records.map((record) => record.kind)).toEqual(["run.created", "task.denied"]);
  expect(records[1]?.detail["decision"]).toMatchObject({ checkpoint: "agent.run", allowed: false, agent: "locked" });
});

test("a policy that is applied between two claims decides the second", async () => {
  await stage.start("one");
  const [first] = (await stage.claimAs("ses_a", 1)).assigned;
  if (first === undefined) throw new Error("nothing was claimed");
  await stage.settle(outcomeOf(first, { type: "interrupted", reason: "draining" }));
  const { policy } = await import("./command_manifests.ts");
  await stage.applyAll([policy("late", "Agent", "solo", ["nobody"], "agent.run")]);
  const { assigned, denied } = await stage.claimAs("ses_a");
  expect([assigned.length, denied.length]).toEqual([0, 1]);
  await stage.settle(...denied);
  await stage.applyAll([policy("late", "Agent", "solo", ["engineering"], "agent.run")]);
});

test("the next holder gets the journal and a new token; a new attempt counts attempts, a loss counts deliveries", async () => {
  const runId = await stage.start("one");
  const [held] = (await stage.claimAs("ses_a")).assigned;
  if (held === undefined) throw new Error("nothing was claimed");
  expect(held.task).toMatchObject({ run_id: runId, attempt: 1, deliveries: 0, fresh: true });
  const turn = { sequence: 1, kind: "turn" as const, payload: '{"text":"hi","toolCalls":[]}' };
  const empty = { turn_sequence: null, call_index: null, tool: null, failure_class: null, failure_message: null };
  await stage.store.transaction((tx) => tx.ledger.append([{ task_id: held.task.id, ...turn, ...empty }]));
  await stage.settle(lostOf(held, "expired"));
  const [next] = (await stage.claimAs("ses_b")).assigned;
  expect(next?.task).toMatchObject({ attempt: 1, deliveries: 1, fresh: false });
  expect(next?.journal).toMatchObject([turn]);
  expect(next?.token).not.toBe(held.token);
  if (next === undefined) throw new Error("nothing was claimed");
  await stage.settle(outcomeOf(next, TIMEOUT));
  await stage.makeDue(held.task.id);
  await stage.settle({ type: "wake", taskId: held.task.id });
  const [third] = (await stage.claimAs("ses_b")).assigned;
  // Nothing of the last turn was granted: a new attempt asks it again.
  expect(third).toMatchObject({ task: { attempt: 2, deliveries: 0 }, journal: [] });
  if (third !== undefined) await stage.settle(outcomeOf(third, BROKEN));
});
