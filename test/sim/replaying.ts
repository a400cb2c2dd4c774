// What a replay goes on with, in memory: the mirror of commands/begin_replay.ts and of the ledger's lineages.

import { keptEntries } from "../../server/queue/journal.ts";
import type { LineageCall } from "../../server/queue/replay.ts";
import { TOOLS } from "./flows.ts";
import type { TaskRow } from "./rows.ts";
import type { Tables } from "./tables.ts";

/** What is on record of a lineage. */
export function lineage(tables: Tables, origin: string): LineageCall[] {
  const calls = [...tables.ledger.values()].filter((call) => call.request_id.startsWith(`${origin}/`));
  return calls.map(({ request_id: requestId, tool, state }) => {
    return { requestId, tool, state, effect: TOOLS[tool]?.effect ?? "" };
  });
}

/** The task in place of a parked one: its journal without what made that one end, its calls with new budgets. */
export function beginReplay(tables: Tables, parked: TaskRow): TaskRow {
  const task = tables.newTask(parked.run, parked.node, parked);
  // It has a journal from its first claim on.
  tables.claimed.add(task.id);
  const journal = tables.journal(parked.id);
  const callOf = (turn: number | undefined) => tables.ledger.get(`${parked.origin}/${turn}/0`);
  let kept = keptEntries(journal, (turn) => callOf(turn) !== undefined);
  const last = journal.at(-1);
  if (kept === journal.length && last?.kind === "failure" && callOf(last.turnSequence)?.state !== "done") kept -= 1;
  if (kept > 0) tables.journal(task.id).push(...journal.slice(0, kept));
  for (const call of tables.ledger.values()) {
    if (!call.request_id.startsWith(`${parked.origin}/`)) continue;
    if (call.state !== "failed" && call.state !== "unknown" && call.state !== "granted") continue;
    call.state = "failed";
    call.attempt = 0;
  }
  return task;
}
