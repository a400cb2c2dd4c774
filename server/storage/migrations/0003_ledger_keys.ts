// 0003: ledger rows of declared keys are shared by tasks: which lineage asked, where in its journal, and how long others may reuse them.
// Lock impact: adds nullable columns and fills two of them, which rewrites tool_call; a partial index.
// Called by migrate.ts under the advisory lock.

import { type Kysely, sql } from "kysely";

const STATEMENTS = [
  `alter table tool_call add column if not exists expire_time timestamptz,
    add column origin_task_id text, add column turn_sequence integer, add column call_index integer`,
  `update tool_call set turn_sequence = split_part(request_id, '/', 2)::integer, call_index = split_part(request_id, '/', 3)::integer`,
  `alter table tool_call alter column turn_sequence set not null, alter column call_index set not null`,
  `create index tool_call_origin_idx on tool_call (origin_task_id) where origin_task_id is not null`,
];

/** Changes the table. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of STATEMENTS) await sql.raw(statement).execute(db);
}
