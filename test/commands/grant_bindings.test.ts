// What a grant is bound to, one binding a test: the recorded turn, the task, the lease token, the arguments, the tool's generation,
// one attempt, one answer, and a time. Each is broken alone, with everything else as it should be.

import { beforeEach, expect, test } from "vitest";
import { SECOND } from "../../kit/units.ts";
import { authorizeToolCalls } from "../../server/commands/authorize_tool_call.ts";
import type { Assigned } from "../../server/commands/lease_tasks.ts";
import { recordToolResults } from "../../server/commands/record_tool_results.ts";
import type { ToolCallFact, ToolResultFact } from "../../server/commands/tool_facts.ts";
import { agent, document, flow } from "./command_manifests.ts";
import { commandStage, lostOf } from "./command_stage.ts";

const stage = await commandStage();
const OK = { ok: true, resultJson: "1" } as const;
const tool = (name: string, more: object = {}) =>
  document("Tool", name, {
    ...{ type: "http", description: name, effect: "read", inputSchema: { type: "object" }, timeout: "3s" },
    http: { method: "POST", url: `\${{ secret.sink.url }}/${name}`, body: "${{ args }}", allowPrivateNetwork: true },
    ...more,
  });
let held: Assigned;
let other: Assigned;

await stage.applyAll([
  tool("look", { retry: { on: ["Http5xx"], maxAttempts: 2, backoff: { initial: "1s" } } }),
  tool("peek"),
  agent("looker", { tools: ["look", "peek"] }),
  ...flow("looks", { nodes: [{ name: "only", agent: "looker" }] }),
  ...flow("node", { nodes: [{ name: "only", tool: "look" }] }),
]);

beforeEach(async () => {
  [held, other] = [await claimed("ses_a"), await claimed("ses_b")];
});

async function claimed(session: string): Promise<Assigned> {
  const runId = await stage.start("looks");
  return (await stage.claimAs(session)).assigned.find((one) => one.task.run_id === runId) as Assigned;
}

const callOf = ({ task, token, sessionId }: Assigned, more: Partial<ToolCallFact> = {}): ToolCallFact => ({
  ...{ taskId: task.id, token, sessionId, worker: "w", turnSequence: 1, callIndex: 0, tool: "look", attempt: 1 },
  argumentsJson: '{"n":1}',
  ...more,
});
const ask = async (fact: ToolCallFact) => (await authorizeToolCalls(stage.context, [fact]))[0]?.answer;

async function granted(by = held): Promise<string> {
  await stage.journalCall(callOf(by));
  const answer = await ask(callOf(by));
  if (answer?.type !== "granted") throw new Error(`got ${answer?.type}`);
  return answer.grant.grantId;
}

const tell = async (grantId: string, by = held, more: Partial<ToolResultFact> = {}) => {
  const { task, token, sessionId } = by;
  const fact = {
    taskId: task.id,
    token,
    sessionId,
    worker: "w",
    grantId,
    result: OK,
    durationMs: 1,
    journalSequence: 2,
  };
  return (await recordToolResults(stage.context, [{ ...fact, ...more }]))[0]?.verdict.verdict;
};
const rowOf = async (taskId: string) =>
  await stage.database.db.selectFrom("tool_call").selectAll().where("task_id", "=", taskId).executeTakeFirstOrThrow();

async function expectRefused(taskId: string, act: () => Promise<unknown>, answer: unknown, reason?: string) {
  const before = await stage.everything();
  expect(await act()).toEqual(answer);
  expect(await stage.everything()).toBe(before);
  const last = (await stage.records(taskId)).at(-1);
  expect(last).toMatchObject({ kind: "fact.refused", ...(reason !== undefined && { detail: { reason } }) });
}

const NOT_ASKED = { type: "not_asked" };

test("no turn is recorded: nothing is granted, the task goes on, and the lie is on record", async () => {
  await expectRefused(held.task.id, () => ask(callOf(held)), NOT_ASKED, "not_asked");
  expect(typeof (await granted())).toBe("string");
});

test.each<[string, Partial<ToolCallFact>]>([
  ["another tool that the agent declares", { tool: "peek" }],
  ["a tool that the agent does not declare", { tool: "write" }],
  ["other arguments", { argumentsJson: '{"n":2}' }],
  ["no JSON", { argumentsJson: "{" }],
  ["the next index", { callIndex: 1 }],
  ["an index below zero", { callIndex: -1 }],
  ["another turn", { turnSequence: 2 }],
  ["no turn at all", { turnSequence: 0 }],
])("the turn: %s is not what was asked for, before a grant and after it", async (_what, more) => {
  await stage.journalCall(callOf(held));
  await expectRefused(held.task.id, () => ask(callOf(held, more)), NOT_ASKED, "not_asked");
  await granted();
  await expectRefused(held.task.id, () => ask(callOf(held, more)), NOT_ASKED, "not_asked");
});

test("the turn: an entry of another kind at that place asks for nothing", async () => {
  await tell(await granted());
  const journal = await stage.store.read((tx) => tx.ledger.journal([held.task.id]));
  expect(journal.map(({ kind }) => kind)).toEqual(["turn", "result"]);
  await expectRefused(held.task.id, () => ask(callOf(held, { turnSequence: 2 })), NOT_ASKED, "not_asked");
});

test("the turn: what the journal of another task asks for counts for nothing here", async () => {
  await stage.journalCall(callOf(other));
  await expectRefused(held.task.id, () => ask(callOf(held)), NOT_ASKED, "not_asked");
});

test("the node: a tool that is a node is called with the node's input, whatever turn its worker recorded", async () => {
  const runId = await stage.start("node", { parametersJson: '{"n":7}' });
  const one = (await stage.claimAs("ses_a")).assigned.find(({ task }) => task.run_id === runId) as Assigned;
  const made = callOf(one, { argumentsJson: '{"n":8}' });
  await stage.journalCall(made);
  await expectRefused(one.task.id, () => ask(made), NOT_ASKED, "not_asked");
  const right = callOf(one, { argumentsJson: '{"n":7}' });
  await stage.journalCall(right);
  expect(await ask(right)).toMatchObject({ type: "granted" });
});

test("the task and the lease: a token of one task asks nothing for another, and no session uses the token of another", async () => {
  for (const one of [held, other]) await stage.journalCall(callOf(one));
  const foreign = callOf(held, { token: other.token, sessionId: other.sessionId });
  await expectRefused(held.task.id, () => ask(foreign), { type: "lease_lost" });
  const stolen = callOf(held, { sessionId: other.sessionId });
  await expectRefused(held.task.id, () => ask(stolen), { type: "lease_lost" });
});

test("the task: a grant takes no answer for another task, in whatever batch it comes", async () => {
  const grantId = await granted();
  await granted(other);
  await expectRefused(other.task.id, () => tell(grantId, other), "refused");
  const fact = (by: Assigned, resultJson: string): ToolResultFact => ({
    ...{ taskId: by.task.id, token: by.token, sessionId: by.sessionId, worker: "w", grantId },
    ...{ result: { ok: true, resultJson }, durationMs: 1, journalSequence: 2 },
  });
  const both = await recordToolResults(stage.context, [fact(other, '"forged"'), fact(held, '"true"')]);
  expect(both.map(({ verdict }) => verdict.verdict)).toEqual(["refused", "committed"]);
  expect(await rowOf(held.task.id)).toMatchObject({ state: "done", result: '"true"' });
});

test("the lease token: who has the grant's id and the task's, but not the token that it was given to, answers nothing", async () => {
  const grantId = await granted();
  const forged = { token: other.token, sessionId: other.sessionId };
  await expectRefused(held.task.id, () => tell(grantId, held, forged), "refused");
  const fact = (more: Partial<ToolResultFact>): ToolResultFact => ({
    ...{ taskId: held.task.id, token: held.token, sessionId: held.sessionId, worker: "w", grantId },
    ...{ result: OK, durationMs: 1, journalSequence: 2, ...more },
  });
  const batch = [fact({ ...forged, result: { ok: true, resultJson: '"forged"' } }), fact({})];
  expect((await recordToolResults(stage.context, batch)).map(({ verdict }) => verdict.verdict)).toEqual([
    ...["refused", "committed"],
  ]);
  expect(await rowOf(held.task.id)).toMatchObject({ state: "done", result: "1" });
});

test("the session: a stolen token answers nothing while its session holds the task, in whatever batch it comes", async () => {
  const grantId = await granted();
  const stolen = { sessionId: other.sessionId };
  await expectRefused(held.task.id, () => tell(grantId, held, stolen), "refused");
  const fact = (more: Partial<ToolResultFact>): ToolResultFact => ({
    ...{ taskId: held.task.id, token: held.token, sessionId: held.sessionId, worker: "w", grantId },
    ...{ result: OK, durationMs: 1, journalSequence: 2, ...more },
  });
  const batch = [fact({ ...stolen, result: { ok: true, resultJson: '"forged"' } }), fact({})];
  expect((await recordToolResults(stage.context, batch)).map(({ verdict }) => verdict.verdict)).toEqual([
    ...["refused", "committed"],
  ]);
  // Expired, nobody superseded it: still the word of that session alone.
  const late = await granted(other);
  await stage.settle(lostOf(other, "expired"));
  expect(await tell(late, other, { sessionId: held.sessionId })).toBe("refused");
  expect(await tell(late, other)).toBe("committed");
});

test("the lease token: what was granted to a holder that is gone is not answered by it once the next one has its own", async () => {
  const first = await granted();
  await stage.settle(lostOf(held, "expired"));
  const next = (await stage.claimAs("ses_c")).assigned.find(({ task }) => task.id === held.task.id) as Assigned;
  const second = await granted(next);
  expect(second).not.toBe(first);
  await expectRefused(held.task.id, () => tell(first), "refused");
  await expectRefused(held.task.id, () => tell(second), "refused");
  expect(await tell(second, next)).toBe("committed");
});

test("the arguments and the tool's generation are those of the decision", async () => {
  await granted();
  const { generation } = await stage.database.db
    .selectFrom("resource")
    .select("generation")
    .where("name", "=", "look")
    .executeTakeFirstOrThrow();
  const before = await rowOf(held.task.id);
  expect(before).toMatchObject({ tool: "look", tool_generation: Number(generation) });
  // A later generation is for later runs: this one keeps what it was made with.
  await stage.applyAll([tool("look", { description: "another" })]);
  await granted();
  expect(await rowOf(held.task.id)).toMatchObject({
    ...{
      tool_generation: before.tool_generation,
      arguments_digest: before.arguments_digest,
      grant_id: before.grant_id,
    },
  });
  const fresh = await claimed("ses_a");
  await granted(fresh);
  expect((await rowOf(fresh.task.id)).tool_generation).toBe(before.tool_generation + 1);
  await stage.database.pool.query("update tool_call set arguments_digest = 'sha256:other' where task_id = $1", [
    held.task.id,
  ]);
  expect(await ask(callOf(held))).toEqual({ type: "conflict" });
});

test("one attempt: each has its own grant, and an answered one answers nothing more", async () => {
  const failed = { ok: false, class: "Http5xx", message: "503", ambiguous: false } as const;
  const first = await granted();
  expect(await tell(first, held, { result: failed, journalSequence: 0 })).toBe("committed");
  await expectRefused(held.task.id, () => tell(first), "refused");
  const second = await granted();
  expect(second).not.toBe(first);
  await expectRefused(held.task.id, () => tell(first), "refused");
  expect(await tell(second)).toBe("committed");
  await expectRefused(held.task.id, () => tell(second, held, { result: { ok: true, resultJson: "2" } }), "refused");
  expect(await tell(second)).toBe("duplicate");
});

test("a time: the tool's timeout and ten seconds, by the database's clock, and asking again does not put it off", async () => {
  const clock = async () => {
    const { rows } = await stage.database.pool.query("select clock_timestamp() as now");
    return (rows[0] as { now: Date }).now.getTime();
  };
  const asked = await clock();
  const first = await granted();
  const { grant_expire_time: end } = await rowOf(held.task.id);
  expect(end.getTime()).toBeGreaterThanOrEqual(asked + 13 * SECOND);
  expect(end.getTime()).toBeLessThanOrEqual((await clock()) + 13 * SECOND);
  expect(await granted()).toBe(first);
  expect((await rowOf(held.task.id)).grant_expire_time).toEqual(end);
  await stage.database.pool.query("update tool_call set grant_expire_time = clock_timestamp() where task_id = $1", [
    held.task.id,
  ]);
  // Expired: it was decided anew.
  const again = await clock();
  expect(await granted()).toBe(first);
  expect((await rowOf(held.task.id)).grant_expire_time.getTime()).toBeGreaterThanOrEqual(again + 13 * SECOND);
});

test.each([[0], [1], [3], [99]])(
  "the journal: a result that claims entry %i reaches the ledger alone",
  async (sequence) => {
    const grantId = await granted();
    expect(await tell(grantId, held, { journalSequence: sequence })).toBe("committed");
    const journal = await stage.store.read((tx) => tx.ledger.journal([held.task.id]));
    expect(journal.map((entry) => [entry.sequence, entry.kind])).toEqual([[1, "turn"]]);
    // Asked again it is given from the ledger, and takes the entry that is next.
    expect(await ask(callOf(held))).toEqual({ type: "cached", resultJson: "1" });
    expect((await stage.store.read((tx) => tx.ledger.journal([held.task.id]))).at(-1)).toMatchObject({
      ...{ sequence: 2, kind: "result", payload: "1" },
    });
  },
);
