// Statements that have a name: which, what is done when Postgres knows the name no more, and that their plans need no statistics.

import { sql } from "kysely";
import { afterEach, expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { Changes } from "../../server/commands/changes.ts";
import { readRun } from "../../server/commands/read_runs.ts";
import { watchRun } from "../../server/commands/watch_run.ts";
import { openDatabase, transaction } from "../../server/storage/database.ts";
import { auditReads } from "../../server/storage/read_audit.ts";
import { StatementNames } from "../../server/storage/statement_names.ts";
import { createStore } from "../../server/storage/store.ts";
import { commandStage, DONE, outcomeOf } from "../commands/command_stage.ts";
import { atEndOfFile } from "../harness/cleanup.ts";
import { testDatabase } from "../harness/database.ts";

const database = await testDatabase();
await sql`create table step (n integer primary key)`.execute(database.db);
await sql`insert into step values (1)`.execute(database.db);

// One connection, so that a name is known to it or not.
function single() {
  const opened = openDatabase({ url: database.url, poolMax: 1 });
  atEndOfFile(() => opened.close());
  return opened;
}
type Opened = ReturnType<typeof single>;

const steps = (opened: Opened) =>
  transaction(opened.db, async (tx) => (await sql`select * from step where n = ${1}`.execute(tx)).rows);
// As a command reads: what may be tried again, is.
const repeating = (opened: Opened, how: "transaction" | "atOnce") => {
  const store = createStore(opened.db);
  return () => store[how](async (tx) => (await sql`select * from step where n = ${1}`.execute(tx.db)).rows);
};
const WAYS = ["transaction", "atOnce"] as const;
const names = async (opened: Opened) =>
  (await opened.pool.query("select name from pg_prepared_statements order by name")).rows.map(({ name }) => name);
const times = async (count: number, act: () => Promise<unknown>) => {
  for (let index = 0; index < count; index += 1) await act();
};

afterEach(() => sql`alter table step drop column if exists more`.execute(database.db));

test("a text has a name from the third time on, in transactions alone, also when it is the first statement of one", async () => {
  const opened = single();
  await times(2, () => steps(opened));
  expect(await names(opened)).toEqual([]);
  await times(4, () => steps(opened));
  expect(await names(opened)).toEqual(["orloj_1"]);
  await times(5, () => sql`select n + ${1} from step`.execute(opened.db));
  expect(await names(opened)).toEqual(["orloj_1"]);
  expect(await steps(opened)).toEqual([{ n: 1 }]);
});

test("its plan is made without values, for the transaction alone", async () => {
  const opened = single();
  await times(5, () => steps(opened));
  const { rows } = await opened.pool.query("select generic_plans, custom_plans from pg_prepared_statements");
  expect(rows).toEqual([{ generic_plans: 3n, custom_plans: 0n }]);
  const settings = await opened.pool.query(
    "select current_setting('plan_cache_mode') as mode, current_setting('enable_seqscan') as scan",
  );
  expect(settings.rows).toEqual([{ mode: "auto", scan: "on" }]);
});

test.each(WAYS)(
  "a statement whose result is another one since a migration is repeated under another name: %s",
  async (how) => {
    const opened = single();
    const read = repeating(opened, how);
    await times(4, read);
    await sql`alter table step add column more text not null default 'new'`.execute(database.db);
    for (const _ of [1, 2, 3]) expect(await read()).toEqual([{ n: 1, more: "new" }]);
    expect(await names(opened)).toContain("orloj_2");
  },
);

test.each(WAYS)(
  "behind a pooler that changes connections nothing has a name any more, and all goes on: %s",
  async (how) => {
    const opened = single();
    const read = repeating(opened, how);
    await times(4, read);
    await opened.pool.query("deallocate all");
    expect(await read()).toEqual([{ n: 1 }]);
    await times(4, read);
    expect(await names(opened)).toEqual([]);
  },
);

test("a first statement that fails keeps its name out of use only as long as Postgres does not know it", async () => {
  const opened = single();
  const insert = () => transaction(opened.db, (tx) => sql`insert into step values (${1})`.execute(tx));
  await times(5, () => expect(insert()).rejects.toMatchObject({ metadata: { constraint: "step_pkey" } }));
  const missing = () => transaction(opened.db, (tx) => sql`select * from missing where n = ${1}`.execute(tx));
  await times(5, () => expect(missing()).rejects.toMatchObject({ metadata: { sqlstate: "42P01" } }));
  await sql`create table missing (n integer)`.execute(database.db);
  expect((await missing()).rows).toEqual([]);
  await sql`drop table missing`.execute(database.db);
});

test("names are few, however many texts there are", () => {
  const of = new StatementNames();
  const thrice = (text: string) => [1, 2, 3].map(() => of.nameOf(text)).at(-1);
  const given = new Set(Array.from({ length: 300 }, (_, index) => thrice(`select ${index}`)));
  expect(given.size).toBe(101);
  expect(given.has(undefined)).toBe(true);
  expect(of.nameOf("select 0")).toBe("orloj_1");
});

test("neither the way of a task nor a look at the trail reads a whole table, though nothing was ever analyzed", async () => {
  const stage = await commandStage();
  const { pool, db } = stage.database;
  const run = async () => {
    await stage.start("one");
    const { assigned } = await stage.claimAs("ses_a");
    await stage.settle(...assigned.map((one) => outcomeOf(one, DONE)));
  };
  await times(8, run);
  await pool.query(`insert into audit_event (transaction_id, kind, namespace, run_id, task_id, actor, record)
    select '3', 'test.written', '', 'run_old', '', 'test', '{}' from generate_series(1, 20000)`);
  const { rows } = await pool.query<{ id: string }>("select max(id)::text as id from audit_event");
  const floor = rows[0]?.id ?? "0";
  const before = await scans();
  await times(8, run);
  await times(8, () => auditReads(db).look({ kinds: ["task.succeeded"] }, { transaction: "0", id: "0", floor }, 100));
  expect(await scans()).toEqual(before);

  async function scans() {
    await pool.query("select pg_stat_force_next_flush()");
    await pool.query("select pg_sleep(0.1)");
    const found = await pool.query(
      `select relname, seq_scan from pg_stat_user_tables
        where relname in ('run', 'task', 'lease', 'ready', 'node_state', 'audit_event') order by relname`,
    );
    return found.rows;
  }
});

test("a look at a run reads its rows and no others, though its statements are planned without values", async () => {
  const stage = await commandStage();
  const { pool } = stage.database;
  const context = { ...stage.context, changes: new Changes(systemClock()) };
  const look = async (runId: string) => {
    await readRun(context, runId);
    for await (const _ of watchRun(context, runId, new AbortController().signal));
  };
  const finished = async () => {
    const runId = await stage.start("one");
    const { assigned } = await stage.claimAs("ses_a");
    await stage.settle(...assigned.map((one) => outcomeOf(one, DONE)));
    return runId;
  };
  // Of one run that is as large as the whole table nearly, before and after the others.
  const others = () =>
    pool.query(`insert into audit_event (transaction_id, kind, namespace, run_id, task_id, actor, record)
      select '3', 'test.written', '', 'run_old', '', 'test', '{}' from generate_series(1, 20000)`);
  await others();
  const runIds = [await finished(), await finished()];
  await others();
  await times(20, () => look(runIds[0] as string));
  const before = await fetched();
  await times(10, () => look(runIds[1] as string));
  const rowsRead = (await fetched()) - before;
  expect(rowsRead).toBeGreaterThan(50);
  expect(rowsRead).toBeLessThan(1_000);

  // A connection tells what it read once a second, when something else ends on it.
  async function fetched() {
    await pool.query("select pg_sleep(1.1)");
    await look(runIds[1] as string);
    await pool.query("select pg_stat_force_next_flush()");
    await pool.query("select pg_sleep(0.1)");
    const { rows } = await pool.query<{ n: string }>(
      "select sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) as n from pg_stat_user_tables where relname <> 'worker_session'",
    );
    return Number(rows[0]?.n);
  }
});
