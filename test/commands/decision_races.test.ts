// The named races of decisions: cancel and grant, policy and grant, two replays, two invocations of one key; in both orders.

import { expect, test } from "vitest";
import { authorizeToolCalls } from "../../server/commands/authorize_tool_call.ts";
import { invoke } from "../../server/commands/invoke.ts";
import type { Assigned } from "../../server/commands/lease_tasks.ts";
import { recordToolResults } from "../../server/commands/record_tool_results.ts";
import { recordTurns } from "../../server/commands/record_turns.ts";
import { replayDeadLetter } from "../../server/commands/replay_dead_letters.ts";
import { createServices } from "../../server/commands/services.ts";
import { settle } from "../../server/commands/settle.ts";
import { policy } from "./command_manifests.ts";
import { ana, BROKEN, commandStage, outcomeOf, stopOf } from "./command_stage.ts";
import { meeting, ORDERS } from "./meeting.ts";

const stage = await commandStage();
const other = stage.replica();
const { meet, lockRun, lockLease } = meeting(stage);

async function calling() {
  const runId = await stage.start("calls");
  const { assigned } = await stage.claimAs("ses_a");
  const held = assigned.find((one) => one.task.run_id === runId) as Assigned;
  const fenced = { taskId: held.task.id, token: held.token, sessionId: held.sessionId, worker: "w" };
  const call = { name: "look", arguments: { n: 1 } };
  const turnJson = JSON.stringify({ text: "", toolCalls: [call, call] });
  await recordTurns(stage.context, [{ ...fenced, sequence: 1, turnJson }]);
  const ask = async (callIndex = 0) => {
    const fact = { ...fenced, turnSequence: 1, callIndex, tool: "look", argumentsJson: '{"n":1}', attempt: 1 };
    return (await authorizeToolCalls(other, [fact]))[0]!.answer;
  };
  return { runId, held, fenced, ask };
}

test.each(ORDERS)("cancel vs grant, order %i %i: no grant leaves once the cancel has committed", async (...order) => {
  const { runId, held, ask } = await calling();
  stage.cancels.length = 0;
  const cancel = async () => (await settle(stage.context, [stopOf(runId)]))[0]?.verdict;
  const [cancelled, answer] = await meet(lockLease(held.task.id), [cancel, () => ask()], order);
  expect(cancelled).toBe("committed");
  expect(answer.type).toBe(order[0] === 0 ? "retry_after" : "granted");
  expect(stage.cancels).toMatchObject([{ taskId: held.task.id, token: held.token }]);
  const grants = (await stage.records(runId)).filter(({ kind }) => kind === "tool.granted");
  expect(grants).toHaveLength(order[0] === 0 ? 0 : 1);
});

test.each(ORDERS)(
  "policy update vs decision, order %i %i: a decision is made on the policies that were current, and says which",
  async (...order) => {
    const { runId, fenced, ask } = await calling();
    const name = `closes-look-${order.join("")}`;
    const close = () => stage.applyAll([policy(name, "Tool", "look", ["nobody"], "tool.call")]);
    const revision = async () => (await stage.store.read((tx) => tx.bundles.revisions())).policy;
    const before = await revision();
    if (order[0] === 0) {
      const release = await lockLease(fenced.taskId)();
      const answer = ask();
      await stage.waiting(1);
      await close();
      await release();
      expect(await answer).toMatchObject({ type: "denied", code: "not_permitted" });
      expect((await stage.records(runId)).filter(({ kind }) => kind === "tool.granted")).toEqual([]);
    } else {
      const release = await stage.hold("select 1 from revision where name = 'policy' for update");
      const closing = close();
      await stage.waiting(1);
      const answer = await ask();
      await release();
      await closing;
      expect(await revision()).not.toBe(before);
      // What was granted before counts; what comes after is decided anew.
      if (answer.type !== "granted") throw new Error(answer.type);
      const result = { ok: true, resultJson: "{}" } as const;
      const fact = { ...fenced, grantId: answer.grant.grantId, result, durationMs: 1, journalSequence: 2 };
      expect((await recordToolResults(stage.context, [fact]))[0]?.verdict).toEqual({ verdict: "committed" });
      expect(await ask(1)).toMatchObject({ type: "denied" });
    }
    await stage.database.pool.query("delete from resource where name = $1", [name]);
    await stage.database.pool.query("update revision set value = value + 1 where name = 'policy'");
  },
);

test.each(ORDERS)("replay vs replay, order %i %i: one new task, and both are told of it", async (...order) => {
  const runId = await stage.start("parked");
  const { assigned } = await stage.claimAs("ses_a");
  const held = assigned.find((one) => one.task.run_id === runId) as Assigned;
  await stage.settle(outcomeOf(held, BROKEN));
  const how = { currentManifests: false, repeatEffects: false, results: new Map() };
  const by = (context: typeof other) => {
    const services = createServices(context);
    return () => replayDeadLetter(context, services, ana, held.task.id, how);
  };
  const replays = await meet(lockRun(runId), [by(stage.context), by(other)], order);
  expect(replays.map(({ duplicate }) => duplicate)).toEqual(order[0] === 0 ? [false, true] : [true, false]);
  expect(replays[0].replayTaskId).toBe(replays[1].replayTaskId);
  expect(await stage.queued(runId)).toMatchObject([{ task_id: replays[0].replayTaskId }]);
  expect((await stage.records(held.task.id)).filter(({ kind }) => kind === "dead_letter.replayed")).toHaveLength(1);
});

test.each(ORDERS)("invoke vs same-key invoke, order %i %i: one run, and both are told of it", async (...order) => {
  const key = `race-${order.join("")}`;
  const input = {
    namespace: "default",
    workflow: "one",
    parametersJson: "{}",
    tags: {},
    metadata: {},
    idempotencyKey: key,
  };
  const by = (context: typeof other) => async () => {
    const [result] = await invoke(context, [{ principal: ana, input }]);
    if (result === undefined || result instanceof Error) throw result;
    return result;
  };
  // The first has its run and waits to record it; the second waits for the key.
  const lockTrail = () => stage.hold("lock table audit_event in share row exclusive mode");
  const results = await meet(lockTrail, [by(stage.context), by(other)], order);
  expect(results.map(({ duplicate }) => duplicate)).toEqual(order[0] === 0 ? [false, true] : [true, false]);
  expect(results[0].run.id).toBe(results[1].run.id);
  const { rows } = await stage.database.pool.query(
    "select count(*)::int as count from run where idempotency_key = $1",
    [key],
  );
  expect(rows).toEqual([{ count: 1 }]);
});
