// 0033: what workers log about tasks, and whether the spans of a run are recorded. Lock impact: a new table, and a short lock of run: the
// default is a constant, so nothing is rewritten.
// Called by migrate.ts under the advisory lock. Rows of task_log refer to no task, so that a log line never waits for one; retention
// deletes them with their run.

import { type Kysely, sql } from "kysely";

const STATEMENTS = [
  `alter table run add column trace_sampled boolean not null default true`,
  `create table task_log (
    id bigint generated always as identity, transaction_id xid8 not null default pg_current_xact_id(),
    run_id text not null, task_id text not null,
    attempt integer not null, delivery integer not null, worker text not null,
    lines text not null, line_count integer not null, bytes integer not null, dropped integer not null,
    create_time timestamptz not null default clock_timestamp(), primary key (run_id, id))`,
  `create index task_log_task_idx on task_log (task_id, id)`,
];

/** Adds the table, its indexes, and the column. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of STATEMENTS) await sql.raw(statement).execute(db);
}
