// 0031: how far a mapped node is, and tasks that wait for their turn in a map: WAITING without a time. Lock impact: short locks of
// node_state and task; the index holds such tasks only, so it is empty when it is made, and the new check is not tried on old rows.
// Called by migrate.ts under the advisory lock.

import { type Kysely, sql } from "kysely";

const STATEMENTS = [
  `alter table node_state add column items_total integer, add column items_next integer`,
  // The check has a name that Postgres gave it.
  `do $$ declare found name; begin
    select conname into strict found from pg_constraint where conrelid = 'task'::regclass and contype = 'c'
      and pg_get_constraintdef(oid) like '%WAITING%due_time IS NOT NULL%';
    execute format('alter table task drop constraint %I', found); end $$`,
  `alter table task add check (due_time is null or state = 'WAITING') not valid`,
  `create index task_held_idx on task (run_id, node, iteration, item) where state = 'WAITING' and due_time is null`,
];

/** Adds the columns and the index. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of STATEMENTS) await sql.raw(statement).execute(db);
}
