// 0026: the handlers that a worker registered, so that a run can tell that nobody has the one it waits for.
// Lock impact: the small worker_session table under its own lock, without a rewrite: the default is a constant.
// Called by migrate.ts under the advisory lock. A replica of an earlier version writes none: it sends no task to a handler either.

import { type Kysely, sql } from "kysely";

/** Adds the column. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`alter table worker_session add column handlers text[] not null default '{}'`.execute(db);
}
