// Migrations on empty databases: repeated, at the same time, checked only, failing, and made by a newer release.

import { type Kysely, sql } from "kysely";
import { expect, test } from "vitest";
import { openDatabase } from "../../server/storage/database.ts";
import { migrate } from "../../server/storage/migrate.ts";
import { type Migration, migrations } from "../../server/storage/migrations/list.ts";
import { atEndOfFile } from "../harness/cleanup.ts";
import { testDatabase } from "../harness/database.ts";

const one: Migration = { name: "0001_one", up: (db) => run(db, "CREATE TABLE one (id int)") };
const two: Migration = { name: "0002_two", up: (db) => run(db, "CREATE TABLE two (id int)") };

async function run(db: Kysely<unknown>, text: string): Promise<void> {
  await sql.raw(text).execute(db);
}

test("the migrations of this release apply once, in the order of their names", async () => {
  const { db } = await testDatabase({ migrated: false });
  const names = migrations.map((migration) => migration.name);
  expect(names).toEqual([...names].sort());
  expect(await migrate(db, { mode: "auto" })).toEqual(names);
  expect(await migrate(db, { mode: "auto" })).toEqual([]);
  expect(await migrate(db, { mode: "check" })).toEqual([]);
});

test("replicas that migrate at the same time apply each migration once", async () => {
  const database = await testDatabase({ migrated: false });
  const other = openDatabase({ url: database.url, poolMax: 1 });
  atEndOfFile(() => other.close());
  const slow: Migration = {
    name: "0000_slow",
    up: (db) => run(db, "CREATE TABLE slow AS SELECT 1 AS one FROM pg_sleep(0.2)"),
  };
  const list = { mode: "auto", migrations: [slow, one, two] } as const;
  const applied = await Promise.all([migrate(database.db, list), migrate(other.db, list), migrate(database.db, list)]);
  expect(applied.flat().sort()).toEqual(["0000_slow", "0001_one", "0002_two"]);
});

test("check refuses a database that lacks a migration and changes nothing", async () => {
  const { db } = await testDatabase({ migrated: false });
  await migrate(db, { mode: "auto", migrations: [one] });
  await expect(migrate(db, { mode: "check", migrations: [one, two] })).rejects.toMatchObject({
    reason: "CONFIG_INVALID",
    message: expect.stringMatching(/lacks migrations 0002_two.*orloj migrate/),
  });
  const { rows } = await sql`SELECT to_regclass('two') AS found`.execute(db);
  expect(rows).toEqual([{ found: null }]);
});

test("a failing migration leaves nothing of itself and keeps those before it", async () => {
  const { db } = await testDatabase({ migrated: false });
  const broken: Migration = { name: "0002_broken", up: (tx) => run(tx, "CREATE TABLE half (id int); SELECT 1 / 0") };
  await expect(migrate(db, { mode: "auto", migrations: [one, broken] })).rejects.toMatchObject({
    reason: "INVARIANT_BROKEN",
    metadata: { sqlstate: "22012" },
  });
  const { rows } = await sql`SELECT to_regclass('one')::text AS one, to_regclass('half') AS half,
    (SELECT string_agg(name, ',') FROM orloj_migration) AS names`.execute(db);
  expect(rows).toEqual([{ one: "one", half: null, names: "0001_one" }]);
});

test("a database of a newer release is refused in both modes", async () => {
  const { db } = await testDatabase({ migrated: false });
  await migrate(db, { mode: "auto", migrations: [one, two] });
  for (const mode of ["auto", "check"] as const) {
    await expect(migrate(db, { mode, migrations: [one] })).rejects.toMatchObject({
      reason: "CONFIG_INVALID",
      message: expect.stringMatching(/does not know \(0002_two\).*newer release/),
    });
  }
});
