// 0021: counters of the limits of policies, one row for each limit, key and window.
// Lock impact: a new table.
// Called by migrate.ts under the advisory lock.

import { type Kysely, sql } from "kysely";

const STATEMENTS = [
  // Rows are counted up in place; room on the page keeps that from touching the indexes.
  `create table policy_limit (
    policy text not null, limit_name text not null, checkpoint text not null check (checkpoint in ('workflow.run', 'tool.call')),
    key_digest text not null, window_ms bigint not null check (window_ms > 0), window_start timestamptz not null,
    expire_time timestamptz not null, count integer not null check (count >= 0),
    primary key (policy, limit_name, checkpoint, key_digest, window_ms, window_start)) with (fillfactor = 70)`,
  `create index policy_limit_expire_idx on policy_limit (expire_time)`,
];

/** Makes the table. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of STATEMENTS) await sql.raw(statement).execute(db);
}
