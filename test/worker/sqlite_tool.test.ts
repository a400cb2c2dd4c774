// The sqlite driver of the database tool, on real files in real processes: what it reads and writes, what it refuses, its bounds.

import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { Redactor } from "../../kit/redactor.ts";
import { createAddressGuard } from "../../worker/tool/addresses.ts";
import { createDatabaseExecutor } from "../../worker/tool/database.ts";
import type { DatabaseMeans, ToolRun } from "../../worker/tool/executor.ts";
import { MemoryWatch } from "../../worker/tool/memory_watch.ts";

let root = "";
let folder = "";
beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), "sqlite-")));
  folder = join(root, "work");
  mkdirSync(folder);
  const database = new DatabaseSync(join(folder, "shop.db"));
  database.exec(`create table orders (id text primary key, cents integer, note text, seen blob);
    insert into orders values ('a', 1200, 'first', x'0102'), ('b', 9007199254740993, null, null), ('c', 3, 'third', null)`);
  database.close();
});
afterEach(() => rmSync(root, { recursive: true }));

const redactor = new Redactor();
redactor.learn("canary-4711");

interface Bounds {
  timeoutMs?: number;
  resultBytesMax?: number;
  signal?: AbortSignal;
  memory?: MemoryWatch;
}

function run(means: Partial<DatabaseMeans> & { statement: string }, bounds: Bounds = {}): Promise<ToolRun> {
  const places = { guard: createAddressGuard([]), workDir: folder };
  const { memory } = bounds;
  const executor = createDatabaseExecutor({ ...places, clock: systemClock(), ...(memory && { memory }) });
  return executor.run({
    means: {
      ...{ kind: "database", driver: "sqlite", place: "shop.db", parameters: [], readOnly: true, rowsMax: 100 },
      ...{ allowPrivateNetwork: false, requestId: "auto:task_1/2/0" },
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
const count = () => {
  const database = new DatabaseSync(join(folder, "shop.db"));
  const { n } = database.prepare("select count(*) as n from orders").get() as { n: number };
  database.close();
  return n;
};

test("rows are JSON: exact integers, base64, null", async () => {
  const result = await run({ statement: "select * from orders where id <> $1 order by id", parameters: ["c"] });
  expect(result).toEqual({
    ok: true,
    result: {
      rows: [
        { id: "a", cents: 1200, note: "first", seen: "AQI=" },
        { id: "b", cents: "9007199254740993", note: null, seen: null },
      ],
      rowCount: 2,
    },
  });
});

test("parameters are values of every JSON type, never text of the statement", async () => {
  const hostile = "'; drop table orders; --";
  const result = await run({
    statement: "select $1 as a, $2 as b, $3 as c, $4 as d, $5 as e, json_extract($6, '$.x') as f, typeof($2) as t",
    parameters: [hostile, 7, 0.5, true, null, { x: [1] }],
  });
  expect(rowsOf(result)).toEqual([{ a: hostile, b: 7, c: 0.5, d: 1, e: null, f: "[1]", t: "integer" }]);
  expect(count()).toBe(3);
});

test("a statement that may write is committed, and can read the request id", async () => {
  const statement = "insert into orders (id, note) values ($1, orloj_request_id()) returning id, note";
  expect(rowsOf(await run({ statement, parameters: ["d"], readOnly: false }))).toEqual([
    { id: "d", note: "auto:task_1/2/0" },
  ]);
  expect(await run({ statement: "delete from orders where cents > $1", parameters: [1], readOnly: false })).toEqual({
    ok: true,
    result: { rows: [], rowCount: 3 },
  });
  expect(count()).toBe(1);
});

test.each([
  "insert into orders (id) values ('x')",
  "with x as (select 1) insert into orders (id) values ('x')",
  "select 1; delete from orders",
  "attach database 'other.db' as other",
  "pragma writable_schema = 1",
  "vacuum into 'copy.db'",
  "select load_extension('x')",
  "select writefile('out', 'x')",
])("a readOnly tool has no effect by: %s", async (statement) => {
  const result = await run({ statement });
  expect(result.ok).toBe(false);
  expect(count()).toBe(3);
  expect(rowsOf(await run({ statement: "select count(*) as n from orders" }))).toEqual([{ n: 3 }]);
});

test("rows and bytes are capped", async () => {
  const many = "with recursive n(i) as (values (1) union all select i + 1 from n where i < 1000) select i from n";
  expect(await run({ statement: many, rowsMax: 2 })).toEqual({
    ok: true,
    result: { rows: [{ i: 1 }, { i: 2 }], rowCount: 2, truncated: true },
  });
  expect(await run({ statement: "select id from orders order by id", rowsMax: 3 })).toMatchObject({
    ok: true,
    result: { rowCount: 3 },
  });
  expect(await run({ statement: many, rowsMax: 1_000 }, { resultBytesMax: 500 })).toMatchObject(
    failure("ResponseTooLarge"),
  );
  expect(await run({ statement: "select hex(zeroblob(900000)) as a" })).toMatchObject(failure("ResponseTooLarge"));
  expect(await run({ statement: "select zeroblob(900000000) as a" })).toMatchObject(failure("ResponseTooLarge"));
});

test("a statement that holds too much memory ends, what it sorts included", async () => {
  const memory = new MemoryWatch(systemClock(), 200_000_000);
  const sorts = (rows: number) =>
    `with recursive n(i) as (values (1) union all select i + 1 from n where i < ${rows}),
     s as (select randomblob(500000) as b from n order by b limit ${rows}) select count(*) as n from s`;
  expect(rowsOf(await run({ statement: sorts(4) }, { memory }))).toEqual([{ n: 4 }]);
  expect(await run({ statement: sorts(4_000) }, { memory })).toMatchObject(failure("MemoryExceeded"));
});

test("a statement without end is stopped at its time, and at once when the call is", async () => {
  const endless = "with recursive n(i) as (values (1) union all select i + 1 from n) select count(*) as n from n";
  expect(await run({ statement: endless }, { timeoutMs: 500 })).toMatchObject(failure("Timeout"));
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 400);
  const startMs = performance.now();
  expect(await run({ statement: endless }, { signal: controller.signal })).toMatchObject(failure("Cancelled"));
  expect(performance.now() - startMs).toBeLessThan(10_000);
});

test("a statement that SQLite refuses is SqlError with its message, a locked file SqlConflict", async () => {
  expect(await run({ statement: "select missing from orders" })).toMatchObject({
    failure: { class: "SqlError", message: expect.stringContaining("no such column: missing"), ambiguous: false },
  });
  expect(await run({ statement: "select 1 as a, 2 as a" })).toMatchObject({
    failure: { message: expect.stringContaining("AS") },
  });
  const holder = new DatabaseSync(join(folder, "shop.db"));
  holder.exec("begin exclusive");
  const locked = await run({ statement: "update orders set cents = 1", readOnly: false }, { timeoutMs: 1_500 });
  holder.close();
  expect(locked).toMatchObject({ ok: false, failure: { class: expect.stringMatching(/^(SqlConflict|Timeout)$/) } });
  expect(count()).toBe(3);
});

test("the file lies in the work directory: no path, link, or other kind of file leads out", async () => {
  const outside = new DatabaseSync(join(root, "secret.db"));
  outside.exec("create table t (a)");
  outside.close();
  symlinkSync(join(root, "secret.db"), join(folder, "link.db"));
  writeFileSync(join(folder, "text.txt"), "this is no database at all, but a text that is long enough to be read");
  for (const place of [
    "../secret.db",
    join(root, "secret.db"),
    "link.db",
    "missing.db",
    ":memory:",
    "file:shop.db?mode=rw",
  ]) {
    expect(await run({ statement: "select 1 as a", place })).toMatchObject(failure("WorkDirForbidden"));
  }
  expect(await run({ statement: "select * from sqlite_master", place: "text.txt" })).toMatchObject(failure("SqlError"));
});
