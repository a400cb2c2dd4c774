// 0030: which edges of a node were taken, and how often the loops into it went round. Lock impact: none worth noting; columns without a
// default are added under a short lock of node_state.
// Called by migrate.ts under the advisory lock.

import { type Kysely, sql } from "kysely";

/** Adds the columns. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql
    .raw(`alter table node_state add column routes integer[], add column loop_taken text, add column loop_last text`)
    .execute(db);
}
