// 0025: which grants count against the concurrency of their tool, and the calls that wait for one.
// Lock impact: a new table; a short lock of tool_call for a column without a default. The index holds open grants of limited tools only, so
// it is empty when it is made; writers of tool_call wait while it is built, which reads the table once.
// Called by migrate.ts under the advisory lock.

import { type Kysely, sql } from "kysely";

const STATEMENTS = [
  `alter table tool_call add column limited_tool text`,
  `create index tool_call_limited_idx on tool_call (limited_tool, grant_expire_time)
    where state = 'granted' and limited_tool is not null`,
  `create table tool_waiter (
    tool text not null, request_id text not null, since timestamptz not null default clock_timestamp(),
    seen_time timestamptz not null default clock_timestamp(), primary key (tool, request_id)) with (fillfactor = 70)`,
  `create index tool_waiter_turn_idx on tool_waiter (tool, since, request_id)`,
];

/** Makes the column, the table and the indexes. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of STATEMENTS) await sql.raw(statement).execute(db);
}
