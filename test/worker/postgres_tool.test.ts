// The postgres driver of the database tool, on a real Postgres: what it reads and writes, what no statement reaches, its bounds,
// and that a stopped call stops the statement in the database.

import { createServer } from "node:net";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { Redactor } from "../../kit/redactor.ts";
import { createAddressGuard } from "../../worker/tool/addresses.ts";
import { createDatabaseExecutor } from "../../worker/tool/database.ts";
import type { DatabaseMeans, ToolRun } from "../../worker/tool/executor.ts";
import { databaseUrl, testDatabase, withAdmin } from "../harness/database.ts";
import { overTcp } from "../harness/postgres_bridge.ts";

const ROLE = `tool_${process.pid}`;
const shop = await testDatabase({ migrated: false });
const own = await testDatabase();
let dsn = "";
let admin: pg.Client;

beforeAll(async () => {
  admin = new pg.Client({ connectionString: shop.url });
  await admin.connect();
  await admin.query(`create table orders (id text primary key, cents bigint, paid boolean, note jsonb);
    insert into orders values ('a', 1200, true, '{"x":[1]}'), ('b', 9007199254740993, false, null);
    create role ${ROLE} login password 'canary-4711' nosuperuser;
    grant select, insert, update, delete on orders to ${ROLE}`);
  dsn = await overTcp(shop.url, ROLE, "canary-4711");
});

afterAll(async () => {
  await admin.query(`drop owned by ${ROLE}`);
  await admin.end();
  await withAdmin(inject("postgres").adminUrl, (client) => client.query(`drop role ${ROLE}`));
});

const redactor = new Redactor();
redactor.learn("canary-4711");

interface Bounds {
  timeoutMs?: number;
  resultBytesMax?: number;
  signal?: AbortSignal;
  networks?: string[];
}

function run(means: Partial<DatabaseMeans> & { statement: string }, bounds: Bounds = {}): Promise<ToolRun> {
  const guard = createAddressGuard(bounds.networks ?? ["127.0.0.0/8", "::1/128"]);
  const executor = createDatabaseExecutor({ guard, clock: systemClock(), workDir: "/" });
  return executor.run({
    means: {
      ...{ kind: "database", driver: "postgres", place: dsn, parameters: [], readOnly: true, rowsMax: 100 },
      ...{ allowPrivateNetwork: true, requestId: "auto:task_1/2/0" },
      ...means,
    },
    timeoutMs: bounds.timeoutMs ?? 20_000,
    resultBytesMax: bounds.resultBytesMax ?? 10_000,
    signal: bounds.signal ?? new AbortController().signal,
    redactor,
  });
}

const rowsOf = (ended: ToolRun) => (ended.ok ? (ended.result as { rows: unknown[] }).rows : ended);
const failure = (failureClass: string, ambiguous = false) => ({
  ok: false,
  failure: { class: failureClass, ambiguous },
});
const count = async () => Number((await admin.query("select count(*) as n from orders")).rows[0].n);
/** Statements of the tool's role that the database is running. */
const running = async () =>
  (await admin.query("select pid from pg_stat_activity where usename = $1 and state = 'active'", [ROLE])).rowCount ?? 0;
async function until(what: () => Promise<boolean>): Promise<void> {
  const giveUp = performance.now() + 10_000;
  while (!(await what())) {
    if (performance.now() > giveUp) throw new Error("it did not come true in time");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test("rows are JSON: exact integers, booleans, JSON, and text for what JSON has not", async () => {
  expect(await run({ statement: "select * from orders where id <> $1 order by id", parameters: ["c"] })).toEqual({
    ok: true,
    result: {
      rows: [
        { id: "a", cents: 1200, paid: true, note: { x: [1] } },
        { id: "b", cents: "9007199254740993", paid: false, note: null },
      ],
      rowCount: 2,
    },
  });
  const others =
    "select 1.50::numeric as n, 'NaN'::float8 as f, 0.5::float8 as g, '\\x01'::bytea as b, date '2026-01-02' as d";
  expect(rowsOf(await run({ statement: others }))).toEqual([
    { n: "1.50", f: "NaN", g: 0.5, b: "\\x01", d: "2026-01-02" },
  ]);
});

test("parameters are values of every JSON type, never text of the statement", async () => {
  const hostile = "'; drop table orders; --";
  const result = await run({
    statement:
      "select $1::text as a, $2::int + 1 as b, $3::boolean as c, $4::text as d, $5::jsonb -> 'x' as e, $6::jsonb as f",
    parameters: [hostile, 7, true, null, { x: 1 }, [1, "a"]],
  });
  expect(rowsOf(result)).toEqual([{ a: hostile, b: 8, c: true, d: null, e: 1, f: [1, "a"] }]);
  expect(await count()).toBe(2);
});

test("a statement that may write is committed, and can read the request id", async () => {
  const statement =
    "insert into orders (id, note) values ($1, to_jsonb(current_setting('orloj.request_id'))) returning note";
  expect(rowsOf(await run({ statement, parameters: ["d"], readOnly: false }))).toEqual([{ note: "auto:task_1/2/0" }]);
  const remove = { statement: "delete from orders where id = $1", parameters: ["d"], readOnly: false };
  expect(await run(remove)).toEqual({ ok: true, result: { rows: [], rowCount: 1 } });
  expect(await count()).toBe(2);
});

describe("no statement of a readOnly tool has an effect", () => {
  test.each([
    "insert into orders (id) values ('x')",
    "with x as (insert into orders (id) values ('x') returning id) select * from x",
    "with x as (delete from orders returning id) select * from x",
    "select 1; delete from orders",
    "select id from orders for update",
    "select 1 as a into copied",
    "copy orders to program 'touch /tmp/orloj-copied'",
    "copy (select 1) to '/tmp/orloj-copied'",
    "select pg_read_file('/etc/passwd')",
    "select \"pg_read_file\"('/etc/passwd')",
    "select * from dblink('dbname=postgres', 'select 1') as t(a int)",
    "select set_config('transaction_read_only', 'off', true)",
    "set role postgres",
    "reset session authorization",
    "do $$ begin delete from orders; end $$",
    "commit",
    "select lo_import('/etc/passwd')",
    "select query_to_xml('delete from orders', true, true, '')",
    "select pg_terminate_backend(pg_backend_pid())",
  ])("%s", async (statement) => {
    expect((await run({ statement })).ok).toBe(false);
    expect(await count()).toBe(2);
    expect((await admin.query("select to_regclass('copied') as t")).rows).toEqual([{ t: null }]);
  });
});

test("what the text does not give away, the role and the protocol refuse", async () => {
  // As if the check of the text were not there: functions under other names, and a second statement.
  await admin.query("create function innocent() returns text language sql as $$ select pg_read_file('/etc/passwd') $$");
  await admin.query("create function writes() returns void language sql as $$ delete from orders $$");
  expect(await run({ statement: "select innocent()" })).toMatchObject({
    failure: { class: "SqlError", message: expect.stringContaining("42501") },
  });
  expect(await run({ statement: "select writes()" })).toMatchObject({
    failure: { class: "SqlError", message: expect.stringContaining("25006") },
  });
  await expect(admin.query({ text: "select 1; select 2", queryMode: "extended" } as pg.QueryConfig)).rejects.toThrow(
    /multiple commands/,
  );
  expect(await count()).toBe(2);
});

test("a superuser and a control plane's database are refused, before the statement runs", async () => {
  const place = await overTcp(shop.url);
  const statement = "insert into orders (id) values ('never')";
  expect(await run({ statement, readOnly: false, place })).toMatchObject({
    failure: { class: "DatabaseForbidden", message: expect.stringContaining("superuser"), ambiguous: false },
  });
  expect(await count()).toBe(2);
  const control = await run({ statement: "select 1 as a", place: databaseUrl(dsn, own.name) });
  expect(control).toMatchObject({
    failure: { class: "DatabaseForbidden", message: expect.stringContaining("control plane") },
  });
});

test("rows and bytes are capped where they come from", async () => {
  const many = "select generate_series(1, 100000000) as i";
  expect(await run({ statement: many, rowsMax: 2 })).toEqual({
    ok: true,
    result: { rows: [{ i: 1 }, { i: 2 }], rowCount: 2, truncated: true },
  });
  const exact = await run({ statement: "select i from generate_series(1, 3) as i", rowsMax: 3 });
  expect(exact).toEqual({ ok: true, result: { rows: [{ i: 1 }, { i: 2 }, { i: 3 }], rowCount: 3 } });
  expect(await run({ statement: many, rowsMax: 10_000 }, { resultBytesMax: 500 })).toMatchObject(
    failure("ResponseTooLarge"),
  );
  const huge = "select repeat('x', 50000000) as a from generate_series(1, 100)";
  expect(await run({ statement: huge })).toMatchObject(failure("ResponseTooLarge"));
});

test("a statement ends in the database at its time, and at once when the call is stopped", async () => {
  expect(await run({ statement: "select pg_sleep(60)" }, { timeoutMs: 500 })).toMatchObject(failure("Timeout"));
  await until(async () => (await running()) === 0);
  const controller = new AbortController();
  const sleeping = run({ statement: "select pg_sleep(60)" }, { signal: controller.signal });
  await until(async () => (await running()) === 1);
  const startMs = performance.now();
  controller.abort();
  expect(await sleeping).toMatchObject(failure("Cancelled"));
  expect(performance.now() - startMs).toBeLessThan(10_000);
  await until(async () => (await running()) === 0);
  expect(performance.now() - startMs).toBeLessThan(20_000);
});

test("a stopped write leaves nothing behind, and says so", async () => {
  const controller = new AbortController();
  const statement = "insert into orders (id) select 'slow' from (select pg_sleep(60)) as s";
  const writing = run({ statement, readOnly: false }, { signal: controller.signal });
  await until(async () => (await running()) === 1);
  controller.abort();
  expect(await writing).toMatchObject(failure("Cancelled", false));
  await until(async () => (await running()) === 0);
  expect(await count()).toBe(2);
});

test("a refused statement is SqlError with code and message, a conflict SqlConflict; nothing quotes the password", async () => {
  expect(await run({ statement: "select missing from orders" })).toMatchObject({
    failure: { class: "SqlError", message: expect.stringMatching(/\(42703\).*missing/), ambiguous: false },
  });
  expect(await run({ statement: "select 1 as a, 2 as a" })).toMatchObject({
    failure: { message: expect.stringContaining("AS") },
  });
  await admin.query("begin");
  await admin.query("update orders set cents = 1 where id = 'a'");
  const waiting = { statement: "update orders set cents = 2 where id = 'a'", readOnly: false };
  const locked = await run(waiting, { timeoutMs: 700 });
  await admin.query("rollback");
  expect(locked).toMatchObject({
    failure: { class: expect.stringMatching(/^(SqlConflict|Timeout)$/), ambiguous: false },
  });
  const wrong = new URL(dsn);
  wrong.username = "nobody_at_all";
  const denied = await run({ statement: "select 1", place: wrong.href });
  expect(denied.ok ? denied : denied.failure.class).toMatch(/DatabaseForbidden|SqlError/);
  expect(JSON.stringify([locked, denied])).not.toContain("canary");
});

describe("the network", () => {
  test("of an address that is not allowed sees no connection", async () => {
    const connections: unknown[] = [];
    const server = createServer((socket) => connections.push(socket)).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as { port: number };
    for (const host of ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"]) {
      const place = `postgres://u:p@${host}:${port}/d`;
      expect(await run({ statement: "select 1", place }, { networks: ["10.0.0.0/8"] })).toMatchObject(
        failure("AddressForbidden"),
      );
      expect(await run({ statement: "select 1", place, allowPrivateNetwork: false })).toMatchObject(
        failure("AddressForbidden"),
      );
    }
    server.close();
    expect(connections).toEqual([]);
  });

  test.each([
    "postgres:///d",
    "postgres://u@%2Ftmp/d",
    "postgres://127.0.0.1/d",
    "postgres://u@127.0.0.1/d?host=/tmp",
    "postgres://u@127.0.0.1/d?sslrootcert=/etc/passwd",
    "postgres://u@127.0.0.1/d?options=-c%20role%3Dpostgres",
    "postgres://u@127.0.0.1/d?sslmode=prefer",
    "http://u@127.0.0.1/d",
  ])("is not even tried for %s", async (place) => {
    const result = await run({ statement: "select 1", place });
    expect(result).toMatchObject({
      ok: false,
      failure: { class: expect.stringMatching(/RequestInvalid/), ambiguous: false },
    });
  });

  test("that refuses or does not answer has its class, and the worker's own variables are not used", async () => {
    expect(await run({ statement: "select 1", place: "postgres://u:p@127.0.0.1:1/d" })).toMatchObject(
      failure("ConnectionRefused"),
    );
    const seen: Buffer[] = [];
    const server = createServer((socket) => {
      socket.on("error", () => {});
      socket.on("data", (chunk) => {
        seen.push(chunk);
        // Asks for a password in the clear.
        socket.write(Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 3]));
      });
    }).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as { port: number };
    process.env["PGPASSWORD"] = "canary-own";
    try {
      const place = `postgres://u@127.0.0.1:${port}/d`;
      expect(await run({ statement: "select 1", place }, { timeoutMs: 700 })).toMatchObject({ ok: false });
    } finally {
      delete process.env["PGPASSWORD"];
      server.close();
    }
    expect(seen.length).toBeGreaterThan(0);
    expect(Buffer.concat(seen).toString("latin1")).not.toContain("canary-own");
  });
});
