// 0022: which tools the model of a leased task does not hear of.
// Lock impact: a column with a constant default (no rewrite) under a short lock of lease.
// Called by migrate.ts under the advisory lock.

import { type Kysely, sql } from "kysely";

/** Makes the column. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql.raw("alter table lease add column withheld text[] not null default '{}'").execute(db);
}
