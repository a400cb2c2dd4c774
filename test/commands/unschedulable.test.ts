// A run whose task no connected worker may take says so, until one comes: when it is read, listed, and watched.

import { sql } from "kysely";
import { beforeEach, expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { Caches } from "../../server/commands/caches.ts";
import { Changes } from "../../server/commands/changes.ts";
import { listRuns, readRun, UNSCHEDULABLE_MS } from "../../server/commands/read_runs.ts";
import { watchRun } from "../../server/commands/watch_run.ts";
import { createStore } from "../../server/storage/store.ts";
import { testDatabase } from "../harness/database.ts";
import { storeBundle, storeRun, storeTasks } from "./stored_run.ts";

const database = await testDatabase();
const store = createStore(database.db);
const context = { store, caches: new Caches() };
const digest = await storeBundle(store);
await store.transaction((tx) =>
  tx.bundles.insertRoutes([{ route: "route", requirements: { runtime: "model", labels: { region: "eu" } } }]),
);

let count = 0;
/** A run with a task that was queued so long ago. */
async function queued(ageMs: number): Promise<string> {
  count += 1;
  const id = `run_u${count}`;
  await storeRun(store, digest, { id });
  await storeTasks(store, id, [`task_u${count}`]);
  await sql`insert into ready (task_id, run_id, route, claim_order, fresh)
    select id, run_id, route, claim_order, true from task where run_id = ${id}`.execute(database.db);
  await sql`update task set create_time = clock_timestamp() - ${ageMs} * interval '1 ms' where run_id = ${id}`.execute(
    database.db,
  );
  return id;
}

async function connect(
  labels: Record<string, string>,
  more: { runtimes?: string[]; handlers?: string[]; ttlMs?: number } = {},
) {
  count += 1;
  const names = { id: `ses_u${count}`, instance_id: `instance-of-${count}-0000`, name: `w${count}`, identity: "wrk" };
  const session = {
    ...names,
    labels,
    slots: 1,
    runtimes: more.runtimes ?? ["model"],
    handlers: more.handlers ?? [],
    version: "1",
    replica_id: "rep_1",
  };
  await store.transaction((tx) => tx.sessions.open(session, "", more.ttlMs ?? 60_000));
  return session.id;
}

const conditions = async (runId: string) => (await readRun(context, runId)).conditions;
const LONG_AGO = UNSCHEDULABLE_MS + 1_000;

beforeEach(async () => {
  await sql`delete from worker_session`.execute(database.db);
});

test("a task that waits for longer than half a minute for nobody makes its run unschedulable, in lists as well", async () => {
  const late = await queued(LONG_AGO);
  const fresh = await queued(UNSCHEDULABLE_MS - 5_000);
  expect(await conditions(late)).toEqual(["Unschedulable"]);
  expect(await conditions(fresh)).toEqual([]);
  const { items } = await listRuns(context, { states: ["RUNNING"] }, { pageSize: 0, pageToken: "" });
  const listed = Object.fromEntries(items.map((run) => [run.id, run.conditions]));
  expect(listed).toMatchObject({ [late]: ["Unschedulable"], [fresh]: [] });
});

test.each<[string, boolean, () => Promise<unknown>]>([
  ["with the labels", false, () => connect({ region: "eu", zone: "a" })],
  ["with another label", true, () => connect({ region: "us" })],
  ["with another runtime", true, () => connect({ region: "eu" }, { runtimes: ["other"] })],
  ["that is gone", true, () => connect({ region: "eu" }, { ttlMs: -1 })],
  [
    "that drains",
    true,
    async () => {
      const id = await connect({ region: "eu" });
      await store.transaction((tx) => tx.sessions.setState(id, "draining"));
    },
  ],
])("a worker %s leaves it unschedulable: %s", async (_which, expected, arrange) => {
  const run = await queued(LONG_AGO);
  await arrange();
  expect(await conditions(run)).toEqual(expected ? ["Unschedulable"] : []);
});

test("a task of a handler that no worker registered names it, and waits for one that did", async () => {
  const requirements = { runtime: "handler", handler: "refunds", labels: { region: "eu" } };
  await store.transaction((tx) => tx.bundles.insertRoutes([{ route: "refunds", requirements }]));
  const run = await queued(LONG_AGO);
  await sql`update ready set route = 'refunds' where run_id = ${run}`.execute(database.db);
  const able = { runtimes: ["model", "handler"], handlers: ["billing"] };
  await connect({ region: "eu" }, able);
  expect(await readRun(context, run)).toMatchObject({
    conditions: ["Unschedulable"],
    waitingFor: ["runtime handler, handler refunds, label region=eu"],
  });
  await connect({ region: "eu" }, { ...able, handlers: ["billing", "refunds"] });
  expect(await readRun(context, run)).toMatchObject({ conditions: [], waitingFor: [] });
});

test("a leased task waits for nobody", async () => {
  const run = await queued(LONG_AGO);
  await sql`delete from ready where run_id = ${run}`.execute(database.db);
  expect(await conditions(run)).toEqual([]);
});

test("who watches is told, and told again when a worker comes", async () => {
  const run = await queued(UNSCHEDULABLE_MS - 1_000);
  const stop = new AbortController();
  const seen: (readonly string[])[] = [];
  for await (const snapshot of watchRun({ ...context, changes: new Changes(systemClock()) }, run, stop.signal)) {
    seen.push(snapshot.run.conditions);
    if (seen.length === 2) await connect({ region: "eu" });
    if (seen.length === 3) stop.abort();
  }
  expect(seen).toEqual([[], ["Unschedulable"], []]);
});
