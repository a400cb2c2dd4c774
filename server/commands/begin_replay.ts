// Gives the task of a replay what it goes on with: the journal of the one that it replays, and calls that may be made again.
// Called in the transaction that makes the task: settle.ts for a run that goes on, restart_run.ts for a new one.
// A replay that begins anew has a lineage of its own and takes nothing along.

import type { StoreQueries } from "../storage/store.ts";
import type { ReplayedTask } from "./settlement.ts";

/** See the file header; the new task's row is there already. */
export async function beginReplay(
  tx: StoreQueries,
  { from, to, originTaskId, calls, plan }: ReplayedTask,
): Promise<void> {
  if (plan.anew !== undefined) return;
  const { results } = plan;
  // The journal first: it ends before the call that somebody now tells the result of.
  await tx.ledger.inherit(from, to, originTaskId);
  await tx.ledger.tellResults([...results].map(([request_id, result]) => ({ request_id, result })));
  // Its budgets begin anew; what somebody lets be repeated is sent again with the same key.
  const again = calls.filter((call) => call.state === "failed" || call.state === "unknown" || call.state === "granted");
  await tx.ledger.renewAttempts(again.map((call) => call.requestId).filter((id) => !results.has(id)));
}
