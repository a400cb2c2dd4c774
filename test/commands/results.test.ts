// Tool results: once per grant, late ones into the ledger alone, ambiguous failures of writes left to a person.

import { beforeEach, expect, test } from "vitest";
import { authorizeToolCalls } from "../../server/commands/authorize_tool_call.ts";
import type { Assigned } from "../../server/commands/lease_tasks.ts";
import { recordToolResults } from "../../server/commands/record_tool_results.ts";
import type { ToolResultFact } from "../../server/commands/tool_facts.ts";
import { commandStage, lostOf, stopOf } from "./command_stage.ts";

const stage = await commandStage();
let held: Assigned;
const OK = { ok: true, resultJson: '{"id":1}' } as const;
const AMBIGUOUS = { ok: false, class: "Timeout", message: "no answer", ambiguous: true } as const;
const KNOWN = { ok: false, class: "Http4xx", message: "404", ambiguous: false } as const;

beforeEach(async () => {
  await stage.start("calls");
  held = (await stage.claimAs("ses_a")).assigned.at(-1) as Assigned;
});

async function ask(tool: string, by = held) {
  const { token, sessionId, task } = by;
  const call = { turnSequence: 1, callIndex: 0, tool, argumentsJson: '{"n":1}', attempt: 1, worker: "w" };
  const fact = { taskId: task.id, token, sessionId, ...call };
  await stage.journalCall(fact);
  return (await authorizeToolCalls(stage.context, [fact]))[0]?.answer;
}

async function grantOf(tool: string): Promise<string> {
  const answer = await ask(tool);
  if (answer?.type !== "granted") throw new Error(`got ${answer?.type}`);
  return answer.grant.grantId;
}

function fact(grantId: string, result: ToolResultFact["result"], more: Partial<ToolResultFact> = {}): ToolResultFact {
  const { token, sessionId, task } = held;
  return {
    taskId: task.id,
    token,
    sessionId,
    grantId,
    result,
    durationMs: 5,
    journalSequence: 2,
    worker: "w",
    ...more,
  };
}

const record = async (...facts: ToolResultFact[]) => await recordToolResults(stage.context, facts);
const verdicts = async (...facts: ToolResultFact[]) => (await record(...facts)).map(({ verdict }) => verdict.verdict);
/** What is recorded after the turn. */
const journal = async () => await stage.store.read((tx) => tx.ledger.journal([held.task.id], 1));
const row = async () =>
  await stage.database.db
    .selectFrom("tool_call")
    .selectAll()
    .where("task_id", "=", held.task.id)
    .executeTakeFirstOrThrow();
const kinds = async () => (await stage.records(held.task.id)).map((entry) => entry.kind);

test("a result reaches ledger, journal and trail together; resent it is a duplicate, another one is refused", async () => {
  const grant = await grantOf("write");
  expect(await verdicts(fact(grant, OK))).toEqual(["committed"]);
  expect(await row()).toMatchObject({ state: "done", result: OK.resultJson });
  expect(await journal()).toMatchObject([
    { sequence: 2, kind: "result", turn_sequence: 1, call_index: 0, tool: "write" },
  ]);
  const before = await stage.everything();
  expect(await verdicts(fact(grant, OK))).toEqual(["duplicate"]);
  expect(await verdicts(fact(grant, { ok: true, resultJson: "2" }))).toEqual(["refused"]);
  expect(await verdicts(fact(grant, KNOWN))).toEqual(["refused"]);
  expect(await stage.everything()).toBe(before);
  expect((await kinds()).filter((kind) => kind === "tool.result")).toHaveLength(1);
});

test("two answers of one grant in one batch: the first counts", async () => {
  const grant = await grantOf("write");
  expect(await verdicts(fact(grant, OK), fact(grant, OK), fact(grant, { ok: true, resultJson: "2" }))).toEqual([
    ...["committed", "duplicate", "refused"],
  ]);
  expect(await row()).toMatchObject({ state: "done", result: OK.resultJson });
  expect((await kinds()).filter((kind) => kind === "tool.result")).toHaveLength(1);
});

test("a result that is not final stays out of the journal", async () => {
  expect(await verdicts(fact(await grantOf("look"), KNOWN, { journalSequence: 0 }))).toEqual(["committed"]);
  expect(await journal()).toEqual([]);
  expect(await row()).toMatchObject({ state: "failed", failure_class: "Http4xx" });
});

test("a grant of another task, or none at all, is refused and recorded", async () => {
  const grant = await grantOf("write");
  const before = await stage.everything();
  expect(await verdicts(fact("gra_none", OK), fact(grant, OK, { taskId: "task_other" }))).toEqual([
    "refused",
    "refused",
  ]);
  expect((await row()).state).toBe("granted");
  expect(await stage.everything()).toBe(before);
});

test("a late true result reaches the ledger, never the journal of the next holder, who is given it without a call", async () => {
  const grant = await grantOf("write");
  await stage.settle(lostOf(held, "expired"));
  const next = (await stage.claimAs("ses_b")).assigned.at(-1) as Assigned;
  expect(await verdicts(fact(grant, OK))).toEqual(["lease_lost"]);
  expect(await journal()).toEqual([]);
  expect(await row()).toMatchObject({ state: "done", result: OK.resultJson });
  expect((await kinds()).at(-1)).toBe("tool.late_result");
  expect(await ask("write", next)).toEqual({ type: "cached", resultJson: OK.resultJson });
});

test("an ambiguous failure of a write parks the task as UnknownOutcome; resent it stays unknown", async () => {
  const grant = await grantOf("write");
  const [recorded] = await record(fact(grant, AMBIGUOUS));
  expect(recorded?.settle).toMatchObject({ type: "park", failure: { class: "UnknownOutcome" } });
  if (recorded?.settle !== undefined) await stage.settle(recorded.settle);
  expect(await stage.task(held.task.id)).toMatchObject({ state: "DEAD_LETTERED" });
  expect((await stage.records(held.task.id)).at(-1)).toMatchObject({ detail: { cause: "unknown_outcome" } });
  expect(await verdicts(fact(grant, AMBIGUOUS))).toEqual(["duplicate"]);
  expect(await row()).toMatchObject({ state: "unknown" });
});

test("an ambiguous failure that comes late is unknown too: the next holder does not send the write again", async () => {
  const grant = await grantOf("write");
  await stage.settle(lostOf(held, "expired"));
  const next = (await stage.claimAs("ses_b")).assigned.at(-1) as Assigned;
  expect(await verdicts(fact(grant, AMBIGUOUS))).toEqual(["lease_lost"]);
  expect(await row()).toMatchObject({ state: "unknown" });
  expect(await ask("write", next)).toEqual({ type: "unknown_outcome" });
});

test("an ambiguous failure while the run stops is kept as unknown, and the task just ends", async () => {
  const grant = await grantOf("write");
  await stage.settle(stopOf(held.task.run_id));
  const [recorded] = await record(fact(grant, AMBIGUOUS));
  expect(recorded).toEqual({ verdict: { verdict: "committed" } });
  expect(await row()).toMatchObject({ state: "unknown" });
});

test.each(["look", "rewrite"])("an ambiguous failure of %s is an ordinary failure", async (tool) => {
  expect(await record(fact(await grantOf(tool), AMBIGUOUS))).toEqual([{ verdict: { verdict: "committed" } }]);
  expect(await row()).toMatchObject({ state: "failed" });
});

test("what is known after all settles an unknown outcome", async () => {
  const grant = await grantOf("write");
  await record(fact(grant, AMBIGUOUS));
  expect(await verdicts(fact(grant, OK))).toEqual(["committed"]);
  expect(await row()).toMatchObject({ state: "done" });
});
