// The schema as Postgres has it after all migrations, against the committed listing: a change of the schema shows in a review.
// After a new migration: npx vitest run test/storage/schema_listing.test.ts -u

import { expect, test } from "vitest";
import { testDatabase } from "../harness/database.ts";

const COLUMNS = `
  select c.table_name as "table", c.column_name as "column", c.data_type as type, c.is_nullable = 'YES' as nullable,
    coalesce(c.column_default, '') as "default"
  from information_schema.columns c where c.table_schema = 'public' order by c.table_name, c.ordinal_position`;
const INDEXES = `select indexdef as text from pg_indexes where schemaname = 'public' order by tablename, indexname`;
const CHECKS = `
  select conrelid::regclass::text || ': ' || pg_get_constraintdef(oid) as text from pg_constraint
  where connamespace = 'public'::regnamespace and contype in ('c', 'f') order by 1`;
const TRIGGERS = `
  select pg_get_triggerdef(oid) as text from pg_trigger where not tgisinternal order by tgrelid::regclass::text, tgname`;

test("the schema is the one that is committed", async () => {
  const { pool } = await testDatabase();
  const lines: string[] = [];
  let table = "";
  for (const row of (await pool.query(COLUMNS)).rows) {
    if (row.table !== table) lines.push("", `table ${row.table}`);
    table = row.table;
    const optional = row.nullable ? "" : " not null";
    lines.push(`  ${row.column} ${row.type}${optional}${row.default === "" ? "" : ` default ${row.default}`}`);
  }
  for (const [title, query] of Object.entries({ indexes: INDEXES, constraints: CHECKS, triggers: TRIGGERS })) {
    lines.push("", title);
    for (const { text } of (await pool.query(query)).rows) lines.push(`  ${text}`);
  }
  await expect(`${lines.join("\n").trim()}\n`).toMatchFileSnapshot("schema_listing.txt");
});
