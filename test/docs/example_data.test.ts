// The databases of the examples are what their texts say: a binary file cannot be read in a review, the text beside it can.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, test } from "vitest";

const EXAMPLES = join(import.meta.dirname, "../../examples");
const TEXTS = (readdirSync(EXAMPLES, { recursive: true }) as string[]).filter((name) => name.endsWith(".sql")).sort();

function contents(database: DatabaseSync): unknown {
  const tables = database.prepare("select name, sql from sqlite_schema where type = 'table' order by name").all();
  const rows = tables.map(({ name }) => database.prepare(`select * from "${name}"`).all());
  database.close();
  return { tables, rows };
}

test("there are some", () => expect(TEXTS).toEqual(["incident-triage/services.sql", "support-desk/orders.sql"]));

test.each(TEXTS)("%s: the database beside it is made from it", (name) => {
  const made = new DatabaseSync(":memory:");
  made.exec(readFileSync(join(EXAMPLES, name), "utf8"));
  const shipped = new DatabaseSync(join(EXAMPLES, name.replace(/\.sql$/, ".db")), { readOnly: true });
  expect(contents(shipped)).toEqual(contents(made));
});
