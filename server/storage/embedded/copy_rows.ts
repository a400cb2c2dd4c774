// Copies all rows of one database of Orloj into another one that has the same schema, on whatever versions of Postgres, and compares them.
// Called by major_upgrade.ts. Rows travel as Postgres itself writes and reads them as text, so that no type is translated.
// Transaction ids mean nothing in another cluster: there, every copied record is older than whatever runs.

import type pg from "pg";
import { DomainError } from "../../../kit/errors.ts";

const ROWS = 100;
/** The oldest id that a row can have; every snapshot sees it. */
const FROZEN = "3";

interface Column {
  readonly name: string;
  readonly type: string;
}

interface Table {
  readonly name: string;
  readonly columns: readonly Column[];
}

/** Copies every table but the list of migrations. @returns rows by table @throws DomainError CONFIG_INVALID if the two differ afterwards */
export async function copyRows(from: pg.Client, to: pg.Client): Promise<ReadonlyMap<string, number>> {
  const tables = await tablesOf(from);
  if (JSON.stringify(tables) !== JSON.stringify(await tablesOf(to))) {
    throw new DomainError(
      "CONFIG_INVALID",
      "the schemas of the two databases differ: run orloj migrate on the old one first",
    );
  }
  const copied = new Map<string, number>();
  await from.query("begin isolation level repeatable read read only");
  await to.query("begin");
  // The copy is no change: neither the triggers of the audit trail nor foreign keys look at it.
  await to.query("set local session_replication_role = replica");
  for (const table of tables) copied.set(table.name, await copyTable(from, to, table));
  await copySequences(from, to);
  for (const table of tables) await compare(from, to, table);
  await to.query("commit");
  await from.query("commit");
  return copied;
}

async function tablesOf(client: pg.Client): Promise<Table[]> {
  const { rows } = await client.query<{ name: string; column: string; type: string }>(
    `select c.relname as name, a.attname as column, format_type(a.atttypid, a.atttypmod) as type
     from pg_class c join pg_attribute a on a.attrelid = c.oid
     where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and c.relname <> 'orloj_migration'
       and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
     order by c.relname, a.attname`,
  );
  const tables = Map.groupBy(rows, ({ name }) => name);
  return [...tables].map(([name, columns]) => ({
    name,
    columns: columns.map(({ column, type }) => ({ name: column, type })),
  }));
}

async function copyTable(from: pg.Client, to: pg.Client, { name, columns }: Table): Promise<number> {
  const table = quoted(name);
  const names = columns.map((column) => quoted(column.name)).join(", ");
  // In one order of columns on both sides, whatever order the tables have.
  const definition = columns.map((column) => `${quoted(column.name)} ${column.type}`).join(", ");
  const values = columns.map((column) =>
    column.type === "xid8" ? `'${FROZEN}'::xid8` : `(s.r).${quoted(column.name)}`,
  );
  await to.query(`delete from ${table}`);
  await to.query(`create type pg_temp.copied_row as (${definition})`);
  await from.query(`declare copied no scroll cursor for select row(${names})::text as row from ${table}`);
  let count = 0;
  for (;;) {
    const { rows } = await from.query<{ row: string }>(`fetch ${ROWS} from copied`);
    if (rows.length === 0) break;
    count += rows.length;
    await to.query(
      `insert into ${table} (${names}) overriding system value
       select ${values.join(", ")} from (select x::pg_temp.copied_row as r from unnest($1::text[]) as x offset 0) s`,
      [rows.map(({ row }) => row)],
    );
  }
  await from.query("close copied");
  await to.query("drop type pg_temp.copied_row");
  return count;
}

async function copySequences(from: pg.Client, to: pg.Client): Promise<void> {
  const { rows } = await from.query<{ name: string }>(
    "select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind = 'S'",
  );
  for (const { name } of rows) {
    const state = await from.query<{ last: string; called: boolean }>(
      `select last_value::text as last, is_called as called from ${quoted(name)}`,
    );
    await to.query("select setval($1::regclass, $2::bigint, $3)", [
      ...[`public.${quoted(name)}`, state.rows[0]?.last, state.rows[0]?.called],
    ]);
  }
}

async function compare(from: pg.Client, to: pg.Client, { name, columns }: Table): Promise<void> {
  const compared = columns.filter(({ type }) => type !== "xid8").map((column) => quoted(column.name));
  // The sum of a digest of each row: the order in which rows lie does not count.
  const text = `select count(*)::text || ' ' || coalesce(sum(('x' || substr(md5(row(${compared.join(", ")})::text), 1, 15))::bit(60)::bigint), 0)::text
    as sum from ${quoted(name)}`;
  const [before, after] = [await from.query<{ sum: string }>(text), await to.query<{ sum: string }>(text)];
  if (before.rows[0]?.sum === after.rows[0]?.sum) return;
  throw new DomainError(
    "CONFIG_INVALID",
    `table ${name} is not the same after it was copied: nothing was put in place`,
  );
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
