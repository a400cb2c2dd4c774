// 0024: groups of runs that are counted together, and what each run has of its group: a slot, or a place in the queue.
// Lock impact: a new table; short locks of run for columns without a default; the index holds waiting runs only, so it is empty when it
// is made, and the new checks are not tried on old rows.
// Called by migrate.ts under the advisory lock.

import { type Kysely, sql } from "kysely";

const STATEMENTS = [
  // Counts change in place; room on the page keeps that from touching the indexes. Null: the limit was taken away.
  `create table concurrency_group (
    id text primary key, namespace text not null, workflow text not null, key text not null,
    max_running integer check (max_running >= 1), running integer not null check (running >= 0),
    waiting integer not null check (waiting >= 0)) with (fillfactor = 70)`,
  `create index concurrency_group_workflow_idx on concurrency_group (namespace, workflow)`,
  `create index concurrency_group_waiting_idx on concurrency_group (id) where waiting > 0`,
  `alter table run add column concurrency_group text, add column slot text, add column queue_order bigint`,
  `alter table run add check (slot in ('held', 'waiting')) not valid`,
  `alter table run add check (slot is null or concurrency_group is not null) not valid`,
  `alter table run add check ((queue_order is not null) = (slot is not null and slot = 'waiting')) not valid`,
  `create index run_queue_idx on run (concurrency_group, queue_order, id) where slot = 'waiting'`,
];

/** Makes the table, the columns and the indexes. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of STATEMENTS) await sql.raw(statement).execute(db);
}
