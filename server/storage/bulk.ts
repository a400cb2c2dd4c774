// Many rows in one statement of fixed text and one parameter: insert and update from a JSON record set.
// Called by the query files of this room. The text does not depend on the number of rows, so plans and parsing stay cheap.
// Column names and types come from constants of this room, never from input.

import { type Kysely, type RawBuilder, sql } from "kysely";
import type { Database } from "./schema.ts";

/** A database handle or an open transaction. */
export type Queryable = Kysely<Database>;

/** Columns of a table with their SQL types. */
export type Columns = Readonly<Record<string, string>>;

/** A value that a record set may hold; Dates become ISO text, bigints become text. */
export type Cell = string | number | boolean | null | undefined | bigint | Date | readonly string[] | object;

/** JSON text of rows for json_to_recordset. */
export function recordSet(rows: readonly object[]): string {
  return JSON.stringify(rows, (_key, value) => (typeof value === "bigint" ? value.toString() : value));
}

/** `x(column type, …)` for json_to_recordset. */
export function recordShape(columns: Columns): RawBuilder<unknown> {
  return sql.raw(
    Object.entries(columns)
      .map(([name, type]) => `${name} ${type}`)
      .join(", "),
  );
}

/** Inserts rows; absent members are null. Conflict: what follows `on conflict`, if anything. */
export async function bulkInsert(
  db: Queryable,
  table: keyof Database,
  columns: Columns,
  rows: readonly object[],
  conflict = "",
): Promise<void> {
  if (rows.length === 0) return;
  const names = sql.raw(Object.keys(columns).join(", "));
  await sql`insert into ${sql.raw(table)} (${names})
    select ${names} from json_to_recordset(${recordSet(rows)}::json) as x(${recordShape(columns)})
    ${sql.raw(conflict)}`.execute(db);
}

/** Updates rows by key columns; every other column is set. Rows that are not there are left out. */
export async function bulkUpdate(
  db: Queryable,
  table: keyof Database,
  keys: readonly string[],
  columns: Columns,
  rows: readonly object[],
): Promise<void> {
  if (rows.length === 0) return;
  const set = Object.keys(columns).filter((name) => !keys.includes(name));
  await sql`update ${sql.raw(table)} as t
    set ${sql.raw(set.map((name) => `${name} = x.${name}`).join(", "))}
    from json_to_recordset(${recordSet(rows)}::json) as x(${recordShape(columns)})
    where ${sql.raw(keys.map((key) => `t.${key} = x.${key}`).join(" and "))}`.execute(db);
}
