// 0023: tokens that people make: an id to speak of them, rights and roles in namespaces, an expiry, and who made them.
// Lock impact: the small access_token table is rewritten under its own lock; a unique index on it is built.
// Called by migrate.ts under the advisory lock. What holds in a namespace alone stands in grants, never in roles, so that a replica of an
// earlier version gives a token too few rights rather than too many.

import { type Kysely, sql } from "kysely";

const STATEMENTS = [
  `alter table access_token
    add column id text not null default 'tok_' || replace(gen_random_uuid()::text, '-', ''),
    add column grants jsonb not null default '[]',
    add column expire_time timestamptz,
    add column create_by text not null default 'server'`,
  `create unique index access_token_id_idx on access_token (id)`,
];

/** Adds the columns and the index. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of STATEMENTS) await sql.raw(statement).execute(db);
}
