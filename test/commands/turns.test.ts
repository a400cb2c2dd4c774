// Turns: one journal without gaps, idempotent by sequence, fenced by token.

import { beforeEach, expect, test } from "vitest";
import type { Assigned } from "../../server/commands/lease_tasks.ts";
import { recordTurns } from "../../server/commands/record_turns.ts";
import { commandStage, lostOf } from "./command_stage.ts";

const stage = await commandStage();
let held: Assigned;

beforeEach(async () => {
  await stage.start("calls");
  held = (await stage.claimAs("ses_a")).assigned.at(-1) as Assigned;
});

const turn = (sequence: number, text = "hi", by = held) => ({
  ...{ taskId: by.task.id, token: by.token, sessionId: by.sessionId, worker: "w", sequence },
  turnJson: JSON.stringify({ text, toolCalls: [{ name: "look", arguments: {} }] }),
});
const record = async (...facts: ReturnType<typeof turn>[]) =>
  (await recordTurns(stage.context, facts)).map((verdict) => verdict.verdict);
const journal = async () => await stage.store.read((tx) => tx.ledger.journal([held.task.id]));

test("a turn is recorded once: resent it is a duplicate, with other content it is refused", async () => {
  expect(await record(turn(1))).toEqual(["committed"]);
  expect(await record(turn(1))).toEqual(["duplicate"]);
  expect(await record(turn(1, "other"))).toEqual(["refused"]);
  expect(await journal()).toMatchObject([{ sequence: 1, payload: turn(1).turnJson }]);
  const records = (await stage.records(held.task.id)).filter((entry) => entry.kind === "turn.recorded");
  expect(records).toMatchObject([{ detail: { sequence: 1, toolCalls: 1 } }]);
  expect(records[0]?.record).not.toContain("hi");
});

test("twice in one batch is once: the second is a duplicate, or refused when it differs", async () => {
  expect(await record(turn(1), turn(1), turn(1, "other"), turn(2))).toEqual([
    "committed",
    "duplicate",
    "refused",
    "committed",
  ]);
  expect((await journal()).map((row) => row.sequence)).toEqual([1, 2]);
  expect((await stage.records(held.task.id)).filter((entry) => entry.kind === "turn.recorded")).toHaveLength(2);
});

test("a turn out of order is refused, and says which entry comes next", async () => {
  const [verdict] = await recordTurns(stage.context, [turn(2)]);
  expect(verdict).toEqual({ verdict: "refused", error: "journal entry 2 would leave a gap; the next one is 1" });
  expect(await journal()).toEqual([]);
});

test("a stale token records nothing but the refusal", async () => {
  await stage.settle(lostOf(held, "revoked"));
  const before = await stage.everything();
  expect(await record(turn(1))).toEqual(["lease_lost"]);
  expect(await stage.everything()).toBe(before);
  expect((await stage.records(held.task.id)).at(-1)).toMatchObject({ kind: "fact.refused", detail: { fact: "turn" } });
});

test("an expired token that nobody superseded records its turn, and holds the lease again", async () => {
  await stage.settle(lostOf(held, "expired"));
  expect(await record(turn(1))).toEqual(["committed"]);
  expect(await stage.leases(held.task.run_id)).toMatchObject([{ token: held.token, session_id: "ses_a" }]);
  expect(await stage.queued(held.task.run_id)).toEqual([]);
});

test("progress forgets earlier losses", async () => {
  await stage.settle(lostOf(held, "expired"));
  const next = (await stage.claimAs("ses_b")).assigned.at(-1) as Assigned;
  expect((await stage.task(held.task.id)).deliveries).toBe(1);
  expect(await record(turn(1, "hi", next))).toEqual(["committed"]);
  expect((await stage.task(held.task.id)).deliveries).toBe(0);
});
