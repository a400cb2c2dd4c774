// Finds out what became of a transaction whose COMMIT was not answered: Postgres keeps the fate of each transaction id.
// Called by store.ts. A backend may still be committing when its client has lost it, and the database may be away for a moment.
// Holds as long as the database is the same one: after a failover to a standby that lags, a fate may be told that was another's.

import { type Kysely, sql } from "kysely";
import type { Clock } from "../../kit/clock.ts";
import { SECOND } from "../../kit/units.ts";
import type { Database } from "./schema.ts";

/** How long the fate is asked for. */
export const READ_BACK_MS_MAX = 5 * SECOND;
const ASK_EVERY_MS = 100;

/** Whether a transaction committed; undefined when that cannot be found out in time. Never rejects. */
export async function isCommitted(
  db: Kysely<Database>,
  transactionId: string,
  clock: Clock,
): Promise<boolean | undefined> {
  const deadline = clock.monotonic() + READ_BACK_MS_MAX;
  for (;;) {
    const status = await statusOf(db, transactionId);
    if (status === "committed") return true;
    if (status === "aborted") return false;
    if (clock.monotonic() + ASK_EVERY_MS > deadline) return undefined;
    await clock.sleep(ASK_EVERY_MS);
  }
}

// Undefined while the database does not answer.
async function statusOf(db: Kysely<Database>, transactionId: string): Promise<string | null | undefined> {
  try {
    const result = await sql<{
      status: string | null;
    }>`select pg_xact_status(${transactionId}::xid8) as status`.execute(db);
    return result.rows[0]?.status;
  } catch {
    return undefined;
  }
}
