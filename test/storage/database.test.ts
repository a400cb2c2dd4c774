// The pool and transactions against a real Postgres: column types, session settings, errors, lost connections.

import { sql } from "kysely";
import { expect, test } from "vitest";
import { transaction } from "../../server/storage/database.ts";
import { testDatabase } from "../harness/database.ts";

const database = await testDatabase({ migrated: false });

test("int8 arrives as a bigint and timestamptz as a Date", async () => {
  const { rows } = await sql`SELECT 9007199254740993::int8 AS big, 1::int4 AS small,
    '2024-05-01T10:00:00+02:00'::timestamptz AS at`.execute(database.db);
  expect(rows).toEqual([{ big: 9007199254740993n, small: 1, at: new Date("2024-05-01T08:00:00Z") }]);
});

test("every connection has the timeouts and planner settings of the server", async () => {
  const { rows } =
    await sql`SELECT current_setting('statement_timeout') AS statement, current_setting('lock_timeout') AS lock,
    current_setting('idle_in_transaction_session_timeout') AS idle, current_setting('jit') AS jit,
    current_setting('random_page_cost') AS page, current_setting('application_name') AS name`.execute(database.db);
  expect(rows).toEqual([{ statement: "15s", lock: "5s", idle: "15s", jit: "off", page: "1.1", name: "orloj-test" }]);
});

test("a connection killed while it is checked out or idle fails its query only and is replaced", async () => {
  const failed = transaction(database.db, async (tx) => {
    const { rows } = await sql<{ pid: number }>`SELECT pg_backend_pid() AS pid`.execute(tx);
    await sql`SELECT pg_terminate_backend(${rows[0]?.pid})`.execute(database.db);
    await sql`SELECT 1`.execute(tx);
  });
  await expect(failed).rejects.toMatchObject({ reason: "STORAGE_UNAVAILABLE", metadata: {} });
  await sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()`.execute(database.db);
  await expect
    .poll(() => sql`SELECT 1 AS one`.execute(database.db).then((result) => result.rows))
    .toEqual([{ one: 1 }]);
});
