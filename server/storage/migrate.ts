// Brings the schema of a database to this release, or checks that it is there.
// Called by main (--migrate=auto|check), by `orloj migrate` and by the test harness.
// Each migration commits alone with its row in orloj_migration, under an advisory lock, so that replicas may start together.
// Never goes back: migrations are forward only, and a database of a newer release is refused.

import { type Kysely, sql } from "kysely";
import { DomainError } from "../../kit/errors.ts";
import { MINUTE } from "../../kit/units.ts";
import { transaction } from "./database.ts";
import { type Migration, migrations as ourMigrations } from "./migrations/list.ts";

/** How to migrate. */
export interface MigrateOptions {
  /** auto applies what is missing; check only refuses a database that lacks something. */
  readonly mode: "auto" | "check";
  /** Those of this release by default. */
  readonly migrations?: readonly Migration[];
}

/** Advisory lock under which schema and rights change. Any constant does; every release must use the same one. */
export const MIGRATION_LOCK_KEY = 7_301_946_502_118n;
// A migration may rewrite a table, and waits for the replica that migrates first.
const MIGRATION_TIMEOUT_MS = 10 * MINUTE;

/**
 * Applies or checks migrations.
 *
 * @returns the names applied by this call, in order; none when the schema was up to date.
 * @throws DomainError CONFIG_INVALID if something is missing in check mode, or the database is newer than this release.
 * Two callers at once: one applies, the other waits and finds the work done.
 */
export async function migrate<DB>(database: Kysely<DB>, options: MigrateOptions): Promise<string[]> {
  const db = database as unknown as Kysely<unknown>;
  const wanted = options.migrations ?? ourMigrations;
  const missing = missingFrom(await appliedNames(db), wanted);
  if (options.mode === "check") {
    if (missing.length === 0) return [];
    const names = missing.map((migration) => migration.name).join(", ");
    throw new DomainError(
      "CONFIG_INVALID",
      `the database lacks migrations ${names}; run \`orloj migrate\` or start the server with --migrate=auto`,
    );
  }
  const applied: string[] = [];
  for (const migration of missing) if (await applyOne(db, migration, wanted)) applied.push(migration.name);
  return applied;
}

// Lock impact: an advisory lock until commit, then whatever the migration itself locks.
async function applyOne(db: Kysely<unknown>, migration: Migration, wanted: readonly Migration[]): Promise<boolean> {
  return transaction(db, async (tx) => {
    await sql`SET LOCAL statement_timeout = ${sql.lit(MIGRATION_TIMEOUT_MS)}`.execute(tx);
    await sql`SET LOCAL lock_timeout = ${sql.lit(MIGRATION_TIMEOUT_MS)}`.execute(tx);
    await sql`SELECT pg_advisory_xact_lock(${sql.lit(MIGRATION_LOCK_KEY.toString())}::int8)`.execute(tx);
    await sql`CREATE TABLE IF NOT EXISTS orloj_migration (
      name text PRIMARY KEY,
      applied_at timestamptz NOT NULL DEFAULT clock_timestamp())`.execute(tx);
    const pending = missingFrom(await appliedNames(tx), wanted);
    if (!pending.includes(migration)) return false;
    await migration.up(tx);
    await sql`INSERT INTO orloj_migration (name) VALUES (${migration.name})`.execute(tx);
    return true;
  });
}

/** What a database lacks of this release, and what it has of a later one. Changes nothing. */
export async function comparedMigrations<DB>(
  database: Kysely<DB>,
): Promise<{ readonly missing: readonly string[]; readonly newer: readonly string[] }> {
  const applied = await appliedNames(database as unknown as Kysely<unknown>);
  const known = ourMigrations.map(({ name }) => name);
  return {
    missing: known.filter((name) => !applied.includes(name)),
    newer: applied.filter((name) => !known.includes(name)),
  };
}

async function appliedNames(db: Kysely<unknown>): Promise<string[]> {
  const table = await sql<{ found: boolean }>`SELECT to_regclass('orloj_migration') IS NOT NULL AS found`.execute(db);
  if (table.rows[0]?.found !== true) return [];
  const { rows } = await sql<{ name: string }>`SELECT name FROM orloj_migration ORDER BY name`.execute(db);
  return rows.map((row) => row.name);
}

function missingFrom(applied: readonly string[], wanted: readonly Migration[]): readonly Migration[] {
  const known = new Set(wanted.map((migration) => migration.name));
  const newer = applied.filter((name) => !known.has(name));
  if (newer.length > 0) {
    throw new DomainError(
      "CONFIG_INVALID",
      `the database has migrations that this release does not know (${newer.join(", ")}): it was used by a newer release; ` +
        "run that release or a later one",
    );
  }
  return wanted.filter((migration) => !applied.includes(migration.name));
}
