// Which reason each kind of database failure gets, from real errors of a real server where it can make them.

import { sql } from "kysely";
import { expect, test } from "vitest";
import { DomainError } from "../../kit/errors.ts";
import { openDatabase, transaction } from "../../server/storage/database.ts";
import { brokenConstraint, isRetryable, isStorageDown, toDomainError } from "../../server/storage/sql_errors.ts";
import { testDatabase } from "../harness/database.ts";

const database = await testDatabase({ migrated: false });

async function errorOf(fn: () => Promise<unknown>): Promise<unknown> {
  return fn().then(
    () => undefined,
    (error: unknown) => error,
  );
}

test("a broken constraint is named and is nobody's shared fault", async () => {
  await sql`CREATE TABLE limited (n int CONSTRAINT small CHECK (n < 10))`.execute(database.db);
  const error = await errorOf(() => sql`INSERT INTO limited VALUES (11)`.execute(database.db));
  expect(brokenConstraint(error)).toBe("small");
  expect(isStorageDown(error)).toBe(false);
  expect(toDomainError(error)).toMatchObject({
    reason: "INVARIANT_BROKEN",
    metadata: { sqlstate: "23514", constraint: "small" },
  });
});

test("text that cannot be stored is the request's fault", async () => {
  const error = await errorOf(() => sql`SELECT ${"a\u0000b"}::text`.execute(database.db));
  expect(toDomainError(error)).toMatchObject({ reason: "REQUEST_INVALID", metadata: { sqlstate: "22021" } });
});

test("a pool without a free connection is told from a database that is away", async () => {
  const single = openDatabase({ url: database.url, poolMax: 1 });
  const holder = await single.pool.connect();
  const error = await errorOf(() => sql`SELECT 1`.execute(single.db));
  holder.release();
  await single.close();
  const message = "every database connection of this server is busy; try again";
  expect(toDomainError(error)).toMatchObject({ reason: "STORAGE_UNAVAILABLE", message });
});

test("a deadlock can be retried", async () => {
  await sql`CREATE TABLE account (id int PRIMARY KEY, n int)`.execute(database.db);
  await sql`INSERT INTO account VALUES (1, 0), (2, 0)`.execute(database.db);
  let arrived = 0;
  let open: () => void = () => undefined;
  const both = new Promise<void>((resolve) => {
    open = resolve;
  });
  const cross = (first: number, second: number) =>
    transaction(database.db, async (tx) => {
      await sql`UPDATE account SET n = n + 1 WHERE id = ${first}`.execute(tx);
      arrived += 1;
      if (arrived === 2) open();
      await both;
      await sql`UPDATE account SET n = n + 1 WHERE id = ${second}`.execute(tx);
    });
  const results = await Promise.allSettled([cross(1, 2), cross(2, 1)]);
  const failed = results.filter((result) => result.status === "rejected");
  expect(failed).toHaveLength(1);
  expect(failed[0]?.reason).toMatchObject({
    reason: "VERSION_CHANGED",
    metadata: { sqlstate: "40P01", retry: "true" },
  });
  expect(isRetryable(failed[0]?.reason)).toBe(true);
});

test("no server, an unknown user and a missing database are unavailable storage, shared by a whole batch", async () => {
  const away = new URL(database.url);
  away.pathname = "/no_such_database";
  const wrong = new URL(database.url);
  wrong.username = "no_such_user";
  const urls = [
    "postgres://u:p@127.0.0.1:1/x",
    "postgres://u:p@localhost/x?host=/no/such/folder",
    away.href,
    wrong.href,
  ];
  for (const url of urls) {
    const open = openDatabase({ url });
    const error = await errorOf(() => transaction(open.db, (tx) => sql`SELECT 1`.execute(tx)));
    await open.close();
    expect(error).toBeInstanceOf(DomainError);
    expect(error).toMatchObject({ reason: "STORAGE_UNAVAILABLE" });
    expect(isStorageDown(error)).toBe(true);
  }
});

test("a connection lost while committing says that the outcome is unknown", async () => {
  await sql`CREATE TABLE slow (id int)`.execute(database.db);
  // A deferred trigger keeps COMMIT busy until its connection is cut.
  await sql`CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(5); RETURN NULL; END'`.execute(database.db);
  await sql`CREATE CONSTRAINT TRIGGER cut AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION cut()`.execute(database.db);
  const error = await errorOf(() => transaction(database.db, (tx) => sql`INSERT INTO slow VALUES (1)`.execute(tx)));
  expect(error).toMatchObject({ reason: "STORAGE_UNAVAILABLE", metadata: { commit: "unknown" } });
});

test("an error of ours passes unchanged and rolls back", async () => {
  await sql`CREATE TABLE undone (id int)`.execute(database.db);
  const ours = new DomainError("RUN_FINISHED", "the run is over");
  const error = await errorOf(() =>
    transaction(database.db, async (tx) => {
      await sql`INSERT INTO undone VALUES (1)`.execute(tx);
      throw ours;
    }),
  );
  expect(error).toBe(ours);
  const { rows } = await sql`SELECT * FROM undone`.execute(database.db);
  expect(rows).toEqual([]);
});
