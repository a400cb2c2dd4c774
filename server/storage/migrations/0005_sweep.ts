// 0005: the one row by which all replicas know whether lost leases may be taken away now. Lock impact: none, a new table.
// Called by migrate.ts under the advisory lock.

import { type Kysely, sql } from "kysely";

const STATEMENTS = [
  `create table sweep (
    id boolean primary key default true check (id),
    seen_time timestamptz not null, sweep_from timestamptz not null) with (fillfactor = 20)`,
  `insert into sweep (seen_time, sweep_from) values ('-infinity', '-infinity')`,
];

/** Makes the table. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of STATEMENTS) await sql.raw(statement).execute(db);
}
