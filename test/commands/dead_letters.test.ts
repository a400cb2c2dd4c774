// Dead letters over a real database: what is kept of a parked task, and every way in which a person may go on.

import { expect, test } from "vitest";
import { authorizeToolCalls } from "../../server/commands/authorize_tool_call.ts";
import type { Assigned } from "../../server/commands/lease_tasks.ts";
import { listDeadLetters, readDeadLetter } from "../../server/commands/read_dead_letters.ts";
import { recordToolResults } from "../../server/commands/record_tool_results.ts";
import { recordTurns } from "../../server/commands/record_turns.ts";
import { discardDeadLetter, replayDeadLetter } from "../../server/commands/replay_dead_letters.ts";
import { createServices } from "../../server/commands/services.ts";
import type { ReplayHow } from "../../server/commands/views.ts";
import { agent, flow, policy } from "./command_manifests.ts";
import { ana, BROKEN, commandStage, DONE, outcomeOf, stopOf, TIMEOUT } from "./command_stage.ts";

const stage = await commandStage();
const services = createServices(stage.context);
const PLAIN: ReplayHow = { currentManifests: false, repeatEffects: false, results: new Map() };
const OPEN = { namespace: "", workflow: "", agent: "", cause: "", failureClass: "", runId: "", resolved: false };
const PAGE = { pageSize: 0, pageToken: "" };

const WORKER = agent("worker", { tools: ["look", "write", "rewrite"], errorHandling: { onExhausted: "deadLetter" } });
await stage.applyAll([
  WORKER,
  ...flow("writer", { nodes: [{ name: "only", agent: "worker" }] }),
  ...flow(
    "line",
    {
      nodes: [
        { name: "first", agent: "solo" },
        { name: "second", agent: "worker" },
        { name: "third", agent: "solo" },
      ],
      edges: [
        { from: "first", to: "second" },
        { from: "second", to: "third" },
      ],
    },
    { timeout: "10m" },
  ),
  agent("picky", {
    inputSchema: { type: "object", required: ["size"], properties: { size: { type: "integer" } } },
    errorHandling: { onExhausted: "deadLetter" },
  }),
  ...flow(
    "sized",
    { nodes: [{ name: "only", agent: "picky" }] },
    { parameters: { type: "object", properties: { size: { type: "integer" } } } },
  ),
]);

const replay = (taskId: string, how: Partial<ReplayHow> = {}) =>
  replayDeadLetter(stage.context, services, ana, taskId, { ...PLAIN, ...how });

async function claimOf(runId: string): Promise<Assigned> {
  const { assigned } = await stage.claimAs("ses_a");
  const found = assigned.find((one) => one.task.run_id === runId);
  if (found === undefined) throw new Error(`nothing of ${runId} was claimed`);
  return found;
}

async function begin(workflow: string): Promise<{ runId: string; held: Assigned }> {
  const runId = await stage.start(workflow);
  return { runId, held: await claimOf(runId) };
}

const fenced = ({ task, token, sessionId }: Assigned) => ({ taskId: task.id, token, sessionId, worker: "w" });

async function turn(held: Assigned, sequence: number, ...calls: { name: string; arguments: object }[]) {
  const turnJson = JSON.stringify({ text: "", toolCalls: calls });
  expect(await recordTurns(stage.context, [{ ...fenced(held), sequence, turnJson }])).toEqual([
    { verdict: "committed" },
  ]);
}

async function call(held: Assigned, tool: string, turnSequence = 1) {
  const fact = { ...fenced(held), turnSequence, callIndex: 0, tool, argumentsJson: '{"n":1}', attempt: 1 };
  const [answer] = await authorizeToolCalls(stage.context, [fact]);
  return answer!;
}

async function granted(held: Assigned, tool: string, turnSequence = 1) {
  const { answer } = await call(held, tool, turnSequence);
  if (answer.type !== "granted") throw new Error(`not granted: ${answer.type}`);
  return answer.grant;
}

async function result(held: Assigned, grantId: string, ok: boolean, journalSequence: number) {
  const value = ok
    ? ({ ok: true, resultJson: '{"receipt":7}' } as const)
    : ({ ok: false, class: "Timeout", message: "late", ambiguous: true } as const);
  const fact = { ...fenced(held), grantId, result: value, durationMs: 1, journalSequence };
  const [recorded] = await recordToolResults(stage.context, [fact]);
  if (recorded?.settle !== undefined) await services.settle.add(recorded.settle);
}

/** A task that asked for a write, had its result, then failed for good. */
async function parkedAfterWrite(workflow = "writer") {
  const { runId, held } = await begin(workflow);
  await turn(held, 1, { name: "write", arguments: { n: 1 } });
  await result(held, (await granted(held, "write")).grantId, true, 2);
  await stage.settle(outcomeOf(held, BROKEN));
  return { runId, held };
}

/** A task whose write nobody knows the outcome of. */
async function parkedUnknown() {
  const { runId, held } = await begin("writer");
  await turn(held, 1, { name: "write", arguments: { n: 1 } });
  const { grantId, requestId } = await granted(held, "write");
  await result(held, grantId, false, 2);
  return { runId, held, requestId };
}

test("a retry of a replayed task keeps the turns that it inherited, though their calls are its predecessor's", async () => {
  const { runId, held } = await parkedAfterWrite();
  await replay(held.task.id);
  const again = await claimOf(runId);
  expect(again.journal.map(({ kind }) => kind)).toEqual(["turn", "result"]);
  await stage.settle(outcomeOf(again, TIMEOUT));
  await stage.makeDue(again.task.id);
  await stage.settle({ type: "wake", taskId: again.task.id });
  const third = await claimOf(runId);
  expect(third.task).toMatchObject({ id: again.task.id, attempt: 2 });
  expect(third.journal.map(({ kind }) => kind)).toEqual(["turn", "result"]);
  await stage.settle(outcomeOf(third, DONE));
});

test("what is kept: cause, error, journal, calls, input and the manifests by digest; a page finds it by what it is", async () => {
  const { runId, held } = await parkedAfterWrite();
  const letter = await readDeadLetter(stage.context, held.task.id);
  expect(letter).toMatchObject({
    ...{
      taskId: held.task.id,
      runId,
      workflow: "writer",
      node: "only",
      agent: "worker",
      cause: "attempts",
      state: "open",
    },
    ...{ failure: { class: "Broken", message: "it broke" }, attempt: 1, deliveries: 0, inputJson: "{}" },
  });
  expect(letter.journal.map(({ kind }) => kind)).toEqual(["turn", "result"]);
  expect(letter.toolCalls).toMatchObject([{ tool: "write", state: "done" }]);
  expect(Object.keys(letter.manifestDigests).sort()).toContain("default/worker");
  const found = async (filter: object) =>
    (await listDeadLetters(stage.context, { ...OPEN, ...filter }, PAGE)).items.map(({ taskId }) => taskId);
  for (const filter of [
    { runId },
    { workflow: "writer", cause: "attempts" },
    { agent: "worker", failureClass: "Broken" },
  ]) {
    expect(await found(filter), JSON.stringify(filter)).toContain(held.task.id);
  }
  for (const filter of [
    { cause: "deliveries" },
    { workflow: "line" },
    { namespace: "other" },
    { parkedBefore: new Date(0) },
  ]) {
    expect(await found(filter), JSON.stringify(filter)).not.toContain(held.task.id);
  }
});

test("a plain replay goes on after the last entry on record: a new task, the same lineage, the clock runs again", async () => {
  const { runId, held } = await parkedAfterWrite();
  expect(await stage.run(runId)).toMatchObject({ conditions: ["Parked"], due_time: null });
  const { replayTaskId, replayRunId } = await replay(held.task.id);
  expect(replayRunId).toBe(runId);
  expect(await stage.nodes(runId)).toEqual({ only: "ACTIVE" });
  const run = await stage.run(runId);
  expect(run).toMatchObject({ state: "RUNNING", conditions: [], remaining_ms: null });
  expect(run.due_time).toBeInstanceOf(Date);
  expect(await stage.task(held.task.id)).toMatchObject({ state: "DEAD_LETTERED" });
  const again = await claimOf(runId);
  expect(again.task).toMatchObject({ id: replayTaskId, attempt: 1, deliveries: 0 });
  expect(again.journal.map(({ kind, sequence }) => [sequence, kind])).toEqual([
    [1, "turn"],
    [2, "result"],
  ]);
  // Asked again, the call gets its recorded result.
  expect((await call(again, "write")).answer).toEqual({ type: "cached", resultJson: '{"receipt":7}' });
  await stage.settle(outcomeOf(again, DONE));
  expect(await stage.run(runId)).toMatchObject({ state: "SUCCEEDED" });
  expect((await stage.records(held.task.id)).at(-1)).toMatchObject({
    kind: "dead_letter.replayed",
    actor: "ana",
    detail: { how: "plain", replayTaskId, replayRunId: runId },
  });
});

test("a last turn of which nothing was granted is asked again by the replay", async () => {
  const { runId, held } = await begin("writer");
  await turn(held, 1);
  await stage.settle(outcomeOf(held, BROKEN));
  await replay(held.task.id);
  expect((await claimOf(runId)).journal).toEqual([]);
});

test("a tool that failed as often as it may gets its attempts anew", async () => {
  const { runId, held } = await begin("writer");
  await turn(held, 1, { name: "rewrite", arguments: { n: 1 } });
  for (;;) {
    const { answer, settle } = await call(held, "rewrite");
    if (settle !== undefined) await services.settle.add(settle);
    if (answer.type !== "granted") break;
    await result(held, answer.grant.grantId, false, 0);
  }
  expect(await stage.run(runId)).toMatchObject({ state: "FAILED" });
  const { replayRunId } = await replayOfFinished(runId, held);
  expect((await call(await claimOf(replayRunId), "rewrite")).answer.type).toBe("granted");
});

// ToolAttemptsExhausted fails the task; here it is parked by hand, as a policy of dead letters would.
async function replayOfFinished(runId: string, held: Assigned) {
  await stage.database.pool.query("update task set state = 'DEAD_LETTERED' where id = $1", [held.task.id]);
  await stage.database.pool.query(
    `insert into dead_letter (task_id, run_id, namespace, workflow, node, agent, cause, failure_class, failure_message, attempt, deliveries)
     values ($1, $2, 'default', 'writer', 'only', 'worker', 'attempts', 'Broken', '', 1, 0)`,
    [held.task.id, runId],
  );
  return await replay(held.task.id);
}

test("an unknown outcome is not guessed: refused with the calls, until a person says what happened", async () => {
  const { runId, held, requestId } = await parkedUnknown();
  await expect(replay(held.task.id)).rejects.toMatchObject({
    reason: "OUTCOME_UNKNOWN",
    message: expect.stringContaining(requestId),
  });
  await expect(replay(held.task.id, { results: new Map([["auto:other/1/0", 1]]) })).rejects.toThrow("is not unknown");
  await replay(held.task.id, { results: new Map([[requestId, { receipt: 9 }]]) });
  const again = await claimOf(runId);
  // The ambiguous failure is not shown to the model.
  expect(again.journal.map(({ kind }) => kind)).toEqual(["turn"]);
  expect((await call(again, "write")).answer).toEqual({ type: "cached", resultJson: '{"receipt":9}' });
  const told = (await stage.records(held.task.id)).find(({ kind }) => kind === "dead_letter.replayed")?.detail;
  expect(Object.keys(told?.["toldResults"] as object)).toEqual([requestId]);
});

test("an unknown outcome that may be repeated is sent again with the same request id", async () => {
  const { runId, held, requestId } = await parkedUnknown();
  await replay(held.task.id, { repeatEffects: true });
  const again = await claimOf(runId);
  expect((await granted(again, "write")).requestId).toBe(requestId);
});

test("another input begins anew: checked, with a lineage of its own, and only with leave where effects are on record", async () => {
  const { runId, held } = await parkedAfterWrite();
  await expect(replay(held.task.id, { input: { n: 2 } })).rejects.toMatchObject({ reason: "EFFECTS_RECORDED" });
  const { replayTaskId } = await replay(held.task.id, { input: { n: 2 }, repeatEffects: true });
  const again = await claimOf(runId);
  expect(again.task).toMatchObject({ id: replayTaskId, input: '{"n":2}' });
  expect(again.journal).toEqual([]);
  expect(await stage.task(replayTaskId)).toMatchObject({ origin_task_id: replayTaskId, replay_of: held.task.id });
  await turn(again, 1, { name: "write", arguments: { n: 1 } });
  expect((await granted(again, "write")).requestId).toBe(`auto:${replayTaskId}/1/0`);
});

test("an input that does not fit the agent is refused and leaves everything as it was", async () => {
  const runId = (await stage.invokeOne("sized", { parametersJson: '{"size": 1}' })).run.id;
  const held = await claimOf(runId);
  await stage.settle(outcomeOf(held, BROKEN));
  const before = await stage.everything();
  await expect(replay(held.task.id, { input: { size: "large" } })).rejects.toMatchObject({ reason: "PARAMS_INVALID" });
  expect(await stage.everything()).toBe(before);
  await replay(held.task.id, { input: { size: 3 } });
  expect((await claimOf(runId)).task.input).toBe('{"size":3}');
});

test("with the manifests of now the task has their prompt and retries, while its run keeps its own graph", async () => {
  const runId = await stage.start("line");
  await stage.settle(outcomeOf(await claimOf(runId), DONE));
  const held = await claimOf(runId);
  await stage.settle(outcomeOf(held, BROKEN));
  const old = await stage.run(runId);
  await stage.applyAll([
    agent("worker", {
      systemPrompt: "Answer better.",
      tools: ["look", "write", "rewrite"],
      errorHandling: {
        retry: { on: ["Broken"], maxAttempts: 2, backoff: { initial: "1m" } },
        onExhausted: "deadLetter",
      },
    }),
  ]);
  const { replayTaskId } = await replay(held.task.id, { currentManifests: true });
  const again = await claimOf(runId);
  expect(again.bundle.row.digest).not.toBe(old.bundle_digest);
  expect(again.bundle.agents.get("worker")?.agent.spec.systemPrompt).toBe("Answer better.");
  expect((await stage.run(runId)).bundle_digest).toBe(old.bundle_digest);
  // The new specs' retry policy holds for it.
  await stage.settle(outcomeOf(again, BROKEN));
  expect(await stage.task(replayTaskId)).toMatchObject({ state: "WAITING", attempt: 2 });
  await stage.applyAll([WORKER]);
});

test("a dead letter of a finished run makes a new run from its node: what succeeded is not executed again", async () => {
  const runId = await stage.start("line");
  const first = await claimOf(runId);
  await stage.settle(outcomeOf(first, { type: "succeeded", output: { first: 1 } }));
  const held = await claimOf(runId);
  await turn(held, 1, { name: "write", arguments: { n: 1 } });
  await result(held, (await granted(held, "write")).grantId, true, 2);
  await stage.settle(outcomeOf(held, BROKEN));
  await stage.settle(stopOf(runId));
  expect(await stage.run(runId)).toMatchObject({ state: "CANCELLED" });
  const { replayRunId, replayTaskId } = await replay(held.task.id);
  expect(replayRunId).not.toBe(runId);
  expect(await stage.nodes(replayRunId)).toEqual({ first: "SUCCEEDED", second: "ACTIVE", third: "PENDING" });
  expect(await stage.run(replayRunId)).toMatchObject({ requester_id: "ana", replay_of: runId, idempotency_key: null });
  const again = await claimOf(replayRunId);
  expect(again.task.id).toBe(replayTaskId);
  expect(again.journal).toHaveLength(2);
  await stage.settle(outcomeOf(again, DONE));
  await stage.settle(outcomeOf(await claimOf(replayRunId), DONE));
  expect(await stage.run(replayRunId)).toMatchObject({ state: "SUCCEEDED" });
  expect(await stage.run(runId)).toMatchObject({ state: "CANCELLED" });
  expect((await stage.records(replayRunId))[0]).toMatchObject({ kind: "run.created", detail: { replayOf: runId } });
});

test("a new run that a policy denies by now is not made: the decision is on record, and the dead letter stays open", async () => {
  await stage.applyAll(flow("closing", { nodes: [{ name: "only", agent: "worker" }] }));
  const { runId, held } = await begin("closing");
  await stage.settle(outcomeOf(held, BROKEN));
  await stage.settle(stopOf(runId));
  await stage.applyAll([policy("closing-closed", "WorkflowTemplate", "closing", ["nobody"], "workflow.run")]);
  await expect(replay(held.task.id)).rejects.toMatchObject({ reason: "POLICY_DENIED" });
  const { rows } = await stage.database.pool.query("select actor, record from audit_event where kind = 'run.refused'");
  expect(rows.map(({ actor, record }) => [actor, JSON.parse(record).detail])).toEqual([
    [
      "ana",
      expect.objectContaining({
        replayOf: runId,
        decision: expect.objectContaining({ allowed: false, decidedBy: "default/closing-closed" }),
      }),
    ],
  ]);
  expect(await readDeadLetter(stage.context, held.task.id)).toMatchObject({ state: "open" });
});

test("the same replay again gets the first one's task; another one, and a discard, are refused", async () => {
  const { held } = await parkedAfterWrite();
  const first = await replay(held.task.id);
  expect(await replay(held.task.id)).toEqual({ ...first, duplicate: true });
  await expect(replay(held.task.id, { repeatEffects: true })).rejects.toMatchObject({ reason: "DEAD_LETTER_RESOLVED" });
  await expect(discardDeadLetter(services, ana, held.task.id, "")).rejects.toMatchObject({
    reason: "DEAD_LETTER_RESOLVED",
  });
});

test("a replayed task that fails again is parked as a dead letter of its own, of the same lineage", async () => {
  const { runId, held } = await parkedAfterWrite();
  const { replayTaskId } = await replay(held.task.id);
  await stage.settle(outcomeOf(await claimOf(runId), BROKEN));
  const letter = await readDeadLetter(stage.context, replayTaskId);
  expect(letter).toMatchObject({ state: "open", replayOf: held.task.id, originTaskId: held.task.id });
  await replay(replayTaskId);
  const again = await claimOf(runId);
  expect(again.journal).toHaveLength(2);
  await stage.settle(outcomeOf(again, DONE));
  expect(await stage.run(runId)).toMatchObject({ state: "SUCCEEDED" });
});

test("a discarded one fails its node, and its run with the failure that parked it; in an ended run it is a record only", async () => {
  const { runId, held } = await parkedAfterWrite();
  await discardDeadLetter(services, ana, held.task.id, "not needed");
  expect(await stage.run(runId)).toMatchObject({ state: "FAILED", failure_class: "Broken", conditions: [] });
  expect(await stage.nodes(runId)).toEqual({ only: "FAILED" });
  await discardDeadLetter(services, ana, held.task.id, "not needed");
  await expect(replay(held.task.id)).rejects.toMatchObject({ reason: "DEAD_LETTER_RESOLVED" });
  const discarded = (await stage.records(held.task.id)).filter(({ kind }) => kind === "dead_letter.discarded");
  expect(discarded).toMatchObject([{ actor: "ana", detail: { reason: "not needed" } }]);

  const other = await parkedAfterWrite();
  await stage.settle(stopOf(other.runId));
  await discardDeadLetter(services, ana, other.held.task.id, "");
  expect(await stage.run(other.runId)).toMatchObject({ state: "CANCELLED" });
});

test("what was never parked is not found", async () => {
  const { held } = await begin("one");
  for (const taskId of [held.task.id, "task_none"]) {
    await expect(replay(taskId)).rejects.toMatchObject({ reason: "DEAD_LETTER_NOT_FOUND" });
    await expect(discardDeadLetter(services, ana, taskId, "")).rejects.toMatchObject({
      reason: "DEAD_LETTER_NOT_FOUND",
    });
    await expect(readDeadLetter(stage.context, taskId)).rejects.toMatchObject({ reason: "DEAD_LETTER_NOT_FOUND" });
  }
});
