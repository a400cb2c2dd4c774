// What the roles of a server may do in its database: the server's own role reads and writes, but of the audit trail it only adds to it;
// the maintenance role removes old segments and nothing else. Both own nothing, so neither can change a table or switch a trigger off.
// Called by upgrade.ts for `orloj migrate`, and for the embedded Postgres at each start. The grants are the whole truth: what a role had is revoked.

import { type Kysely, type RawBuilder, sql } from "kysely";
import { DomainError } from "../../kit/errors.ts";
import { transaction } from "./database.ts";
import { MIGRATION_LOCK_KEY } from "./migrate.ts";

/** Names of roles that exist. */
export interface Roles {
  readonly server?: string;
  readonly maintenance?: string;
}

// Of tables that begin with audit_ the server reads and adds; of these it only reads; every other one is its to write.
const READ_ONLY = ["audit_removal", "orloj_migration"];
// Retention marks segments in audit_removal, deletes what they hold, and records that it did; a record looks at its run.
const MAINTENANCE: readonly (readonly [rights: string, tables: readonly string[]])[] = [
  ["select", ["audit_event", "audit_segment", "audit_checkpoint", "audit_removal", "run"]],
  ["delete", ["audit_event", "audit_segment", "audit_checkpoint"]],
  ["insert", ["audit_event"]],
  ["update", ["audit_removal"]],
];

/**
 * Gives roles exactly the rights that they need on the tables of this release, in one transaction. Run it after each migration.
 *
 * @throws DomainError CONFIG_INVALID for a role that is not there, or that rights do not bind: the owner, its members, superusers.
 * Locks: the advisory lock of migrations; changes no table.
 */
export async function grantRights<DB>(database: Kysely<DB>, { server, maintenance }: Roles): Promise<void> {
  const db = database as unknown as Kysely<unknown>;
  await transaction(db, async (tx) => {
    await sql`SELECT pg_advisory_xact_lock(${sql.lit(MIGRATION_LOCK_KEY.toString())}::int8)`.execute(tx);
    const tables = await ownTables(tx);
    const audit = tables.filter((name) => name.startsWith("audit_"));
    const others = tables.filter((name) => !audit.includes(name) && !READ_ONLY.includes(name));
    for (const role of [server, maintenance]) if (role !== undefined) await startWithNothing(tx, role, tables);
    if (server !== undefined) {
      await grant(tx, "select, insert, update, delete", others, server);
      await grant(tx, "select", [...audit, ...READ_ONLY], server);
      await grant(
        tx,
        "insert",
        audit.filter((name) => !READ_ONLY.includes(name)),
        server,
      );
    }
    if (maintenance === undefined) return;
    for (const [rights, on] of MAINTENANCE) await grant(tx, rights, on, maintenance);
  });
}

/** True if the connection's role may remove old audit segments. */
export async function mayRemoveAudit<DB>(db: Kysely<DB>): Promise<boolean> {
  const { rows } = await sql<{ may: boolean }>`
    select has_table_privilege('audit_event', 'delete') and has_table_privilege('audit_removal', 'update') as may`.execute(
    db,
  );
  return rows[0]?.may === true;
}

async function ownTables(db: Kysely<unknown>): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`
    select c.relname as name from pg_class c
      join pg_class m on m.relname = 'orloj_migration' and m.relnamespace = c.relnamespace and m.relowner = c.relowner
    where c.relnamespace = current_schema()::regnamespace and c.relkind = 'r'
    order by c.relname`.execute(db);
  return rows.map(({ name }) => name);
}

async function startWithNothing(db: Kysely<unknown>, role: string, tables: readonly string[]): Promise<void> {
  const { rows } = await sql<{ bound: boolean }>`
    select not pg_has_role(oid, current_user, 'member') as bound from pg_roles where rolname = ${role}`.execute(db);
  if (rows[0] === undefined) {
    throw new DomainError("CONFIG_INVALID", `role "${role}" is not there: create it first, with login and a password`);
  }
  if (!rows[0].bound) {
    const message = `role "${role}" owns the tables, is a member of their owner, or is a superuser: rights do not bind it; name another one`;
    throw new DomainError("CONFIG_INVALID", message);
  }
  await sql`revoke all on ${list(tables)} from ${sql.id(role)}`.execute(db);
  await sql`grant usage on schema ${sql.id(await schemaName(db))} to ${sql.id(role)}`.execute(db);
}

async function schemaName(db: Kysely<unknown>): Promise<string> {
  const { rows } = await sql<{ name: string }>`select current_schema() as name`.execute(db);
  return (rows[0] as { name: string }).name;
}

async function grant(db: Kysely<unknown>, rights: string, tables: readonly string[], role: string): Promise<void> {
  await sql`grant ${sql.raw(rights)} on ${list(tables)} to ${sql.id(role)}`.execute(db);
}

function list(tables: readonly string[]): RawBuilder<unknown> {
  return sql.join(tables.map((name) => sql.id(name)));
}
