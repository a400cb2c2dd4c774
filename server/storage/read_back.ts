// Finds out what became of a transaction whose COMMIT was not answered: Postgres keeps the fate of each transaction id.
// Called by store.ts. A backend may still be committing when its client has lost it, and the database may be away for a moment.
// An id alone proves nothing: what a crash lost, and what a lagging standby never got, has its id given to another transaction. So
// "committed" counts only together with a record that the transaction wrote.

import { type Kysely, sql } from "kysely";
import type { Clock } from "../../kit/clock.ts";
import { SECOND } from "../../kit/units.ts";
import type { Database } from "./schema.ts";
import { sqlState } from "./sql_errors.ts";
import type { WrittenRecord } from "./written_records.ts";

/** How long the fate is asked for. */
export const READ_BACK_MS_MAX = 5 * SECOND;
const ASK_EVERY_MS = 100;
// What pg_xact_status says of an id that was not given out yet.
const IN_THE_FUTURE = "22023";

type Fate = "committed" | "aborted" | undefined;

/** Whether the transaction of a record committed; undefined when that cannot be found out in time. Never rejects. */
export async function isCommitted(
  db: Kysely<Database>,
  written: WrittenRecord,
  clock: Clock,
): Promise<boolean | undefined> {
  const late = new AbortController();
  const deadline = clock.sleep(READ_BACK_MS_MAX, late.signal).then((): Fate => {
    late.abort();
    return undefined;
  });
  while (!late.signal.aborted) {
    // A database that hangs answers much later than anybody waits.
    const fate = await Promise.race([fateOf(db, written), deadline]);
    if (fate !== undefined) {
      late.abort();
      return fate === "committed";
    }
    await clock.sleep(ASK_EVERY_MS, late.signal);
  }
  return undefined;
}

// Undefined while it is under way, or the database does not answer or is a standby, which may still learn of the commit.
// By primary key, or by audit_event_run_idx.
async function fateOf(db: Kysely<Database>, { transactionId, id, runId, record }: WrittenRecord): Promise<Fate> {
  const place = id === undefined ? sql`run_id = ${runId} and run_id <> ''` : sql`id = ${id}::bigint`;
  try {
    const { rows } = await sql<{ status: string | null; found: boolean }>`
      select case when not pg_is_in_recovery() then pg_xact_status(${transactionId}::xid8) end as status,
        exists (select from audit_event
          where ${place} and transaction_id = ${transactionId}::xid8 and record = ${record}) as found`.execute(db);
    const row = rows[0];
    if (row?.status === "aborted") return "aborted";
    if (row?.status !== "committed") return undefined;
    return row.found ? "committed" : "aborted";
  } catch (error) {
    return sqlState(error) === IN_THE_FUTURE ? "aborted" : undefined;
  }
}
