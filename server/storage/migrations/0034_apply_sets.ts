// 0034: the set of manifests that a resource was applied with, so that `apply --prune` knows what is its to delete.
// Lock impact: a short lock of resource; the index holds members of sets only, so it is empty when it is made.
// Called by migrate.ts under the advisory lock.

import { type Kysely, sql } from "kysely";

const STATEMENTS = [
  `alter table resource add column apply_set text`,
  `create index resource_set_idx on resource (apply_set) where apply_set is not null`,
];

/** Adds the column and the index. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of STATEMENTS) await sql.raw(statement).execute(db);
}
