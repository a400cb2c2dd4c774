// A change of a policy against decisions of two replicas, a thousand times: once it is acknowledged, every grant that was decided without it
// is on record already, and none is made any more.

import { expect, test } from "vitest";
import { seededRandom } from "../../kit/random.ts";
import { authorizeToolCalls } from "../../server/commands/authorize_tool_call.ts";
import type { CommandContext } from "../../server/commands/context.ts";
import type { Assigned } from "../../server/commands/lease_tasks.ts";
import { recordTurns } from "../../server/commands/record_turns.ts";
import { policy } from "./command_manifests.ts";
import { commandStage } from "./command_stage.ts";

const stage = await commandStage();
const replicas = [stage.context, stage.replica()];
const ROUNDS = 1_000;
const TASKS = 20;
const CALLS = (ROUNDS * 4) / TASKS;

async function tasks(): Promise<readonly Assigned[]> {
  for (let count = 0; count < TASKS; count += 1) await stage.start("calls");
  const { assigned } = await stage.claimAs("ses_a");
  const toolCalls = Array.from({ length: CALLS }, () => ({ name: "look", arguments: { n: 1 } }));
  const turnJson = JSON.stringify({ text: "", toolCalls });
  for (const { task, token, sessionId } of assigned) {
    await recordTurns(stage.context, [{ taskId: task.id, token, sessionId, worker: "w", sequence: 1, turnJson }]);
  }
  return assigned;
}

const gate = (isOpen: boolean) =>
  stage.applyAll([policy("look-gate", "Tool", "look", isOpen ? ["engineering"] : ["nobody"], "tool.call")]);
const revision = async () => BigInt((await stage.store.read((tx) => tx.bundles.revisions())).policy);
const lastRecord = async () =>
  String((await stage.database.pool.query("select coalesce(max(id), 0) as id from audit_event")).rows[0].id);

/** On which revision each grant was decided, of those whose records came after one. */
async function decided(afterId: string): Promise<Map<string, bigint>> {
  const { rows } = await stage.database.pool.query(
    "select record from audit_event where kind = 'tool.granted' and id > $1",
    [afterId],
  );
  const details = rows.map(({ record }: { record: string }) => JSON.parse(record).detail as Granted);
  return new Map(details.map(({ grantId, decision }) => [grantId, BigInt(decision.policyRevision)]));
}

interface Granted {
  readonly grantId: string;
  readonly decision: { readonly policyRevision: string };
}

test("1,000 changes: no grant of an older decision is recorded after the acknowledgement, and what is asked then is decided anew", async () => {
  await gate(true);
  const held = await tasks();
  const random = seededRandom(4_101);
  const totals = { granted: 0, denied: 0, late: 0, split: 0 };
  // How many reads a question waits, so that it meets the change: more after one that came too early, fewer after one that came too late.
  let aim = 4;
  let place = 0;
  const ask = async (replica: CommandContext) => {
    const { task, token, sessionId } = held[place % TASKS] as Assigned;
    const callIndex = Math.floor(place / TASKS);
    place += 1;
    const at = { taskId: task.id, token, sessionId, worker: "w", turnSequence: 1, callIndex };
    const [answered] = await authorizeToolCalls(replica, [
      { ...at, tool: "look", argumentsJson: '{"n":1}', attempt: 1 },
    ]);
    return answered?.answer.type ?? "";
  };
  for (let round = 0; round < ROUNDS; round += 1) {
    const isOpen = round % 2 === 1;
    const before = await lastRecord();
    const asked = replicas.map(async (replica) => {
      for (let reads = aim - 1 + Math.floor(random.next() * 3); reads > 0; reads -= 1) await lastRecord();
      return await ask(replica);
    });
    await gate(isOpen);
    const visible = await decided(before);
    const acknowledged = await revision();
    const after = await Promise.all(replicas.map(ask));
    expect(after).toEqual(after.map(() => (isOpen ? "granted" : "denied")));
    const during = await Promise.all(asked);
    for (const [grantId, decidedOn] of await decided(before)) {
      if (!visible.has(grantId) && decidedOn < acknowledged) totals.late += 1;
    }
    for (const type of [...during, ...after]) {
      if (type === "granted") totals.granted += 1;
      if (type === "denied") totals.denied += 1;
    }
    const early = during.filter((type) => type === (isOpen ? "denied" : "granted")).length;
    if (early === 1) totals.split += 1;
    else aim = Math.max(0, aim + (early === 2 ? 1 : -1));
  }
  expect(totals.late).toBe(0);
  expect(totals.granted + totals.denied).toBe(4 * ROUNDS);
  // Not vacuous: changes did meet decisions, before some and after others.
  expect(totals.split).toBeGreaterThan(ROUNDS / 50);
}, 400_000);
