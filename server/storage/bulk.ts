// Many rows in one statement of fixed text and one parameter: insert and update from a JSON record set.
// Called by the query files of this room. The text does not depend on the number of rows, so plans and parsing stay cheap.
// Column names and types come from constants of this room, never from input.

import { CompiledQuery, type Kysely, type RawBuilder, sql } from "kysely";
import type { Database } from "./schema.ts";

/** A database handle or an open transaction. */
export type Queryable = Kysely<Database>;

/** Columns of a table with their SQL types. */
export type Columns = Readonly<Record<string, string>>;

/** A value that a record set may hold; Dates become ISO text, bigints become text. */
export type Cell = string | number | boolean | null | undefined | bigint | Date | readonly string[] | object;

/** JSON text of rows for json_to_recordset, which takes a member that is absent to be null: most of a new row is. */
export function recordSet(rows: readonly object[]): string {
  return JSON.stringify(rows.map(withoutNulls));
}

// A replacer would be called for every member of every value.
function withoutNulls(row: object): object {
  const copy: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(row)) {
    if (value === null || value === undefined) continue;
    copy[name] = typeof value === "bigint" ? value.toString() : value;
  }
  return copy;
}

// Made once for each constant: columns are many, and these statements are most of what a server sends.
const SHAPES = new WeakMap<Columns, string>();
const TEXTS = new WeakMap<Columns, Map<string, string>>();

function shapeOf(columns: Columns): string {
  const known = SHAPES.get(columns);
  if (known !== undefined) return known;
  const shape = Object.entries(columns)
    .map(([name, type]) => `${name} ${type}`)
    .join(", ");
  SHAPES.set(columns, shape);
  return shape;
}

function textOf(columns: Columns, key: string, make: () => string): string {
  const texts = TEXTS.get(columns) ?? new Map<string, string>();
  TEXTS.set(columns, texts);
  const text = texts.get(key) ?? make();
  texts.set(key, text);
  return text;
}

/** `x(column type, …)` for json_to_recordset. */
export function recordShape(columns: Columns): RawBuilder<unknown> {
  return sql.raw(shapeOf(columns));
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
  const text = textOf(columns, `insert ${table} ${conflict}`, () => {
    const names = Object.keys(columns).join(", ");
    const from = `json_to_recordset($1::json) as x(${shapeOf(columns)})`;
    return `insert into ${table} (${names}) select ${names} from ${from} ${conflict}`;
  });
  await db.executeQuery(CompiledQuery.raw(text, [recordSet(rows)]));
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
  const text = textOf(columns, `update ${table} ${keys.join()}`, () => {
    const names = Object.keys(columns).filter((name) => !keys.includes(name));
    const set = names.map((name) => `${name} = x.${name}`).join(", ");
    const on = keys.map((key) => `t.${key} = x.${key}`).join(" and ");
    return `update ${table} as t set ${set} from json_to_recordset($1::json) as x(${shapeOf(columns)}) where ${on}`;
  });
  await db.executeQuery(CompiledQuery.raw(text, [recordSet(rows)]));
}
