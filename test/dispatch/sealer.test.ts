// The sealer on a real database: no record skipped or sealed twice, in order of ids, whoever else writes, seals or dies.

import { beforeEach, expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { recordHash } from "../../server/audit/chain.ts";
import { SEGMENT_RECORDS_MAX, sealAudit } from "../../server/commands/seal_audit.ts";
import { Sealer } from "../../server/dispatch/sealer.ts";
import { migrate } from "../../server/storage/migrate.ts";
import { migrations } from "../../server/storage/migrations/list.ts";
import { createStore, type Store } from "../../server/storage/store.ts";
import { problemsOf } from "../audit/trail_lines.ts";
import { commandStage } from "../commands/command_stage.ts";
import { storeEvents, turnEvent } from "../commands/stored_run.ts";
import { testDatabase } from "../harness/database.ts";

const stage = await commandStage();
const { store, database } = stage;
const sealerOver = (on: Store = store) => new Sealer({ ...stage.context, store: on }, systemClock());

async function trail() {
  return await store.read(async ({ segments }) => {
    const start = await segments.beginning();
    const list = await segments.list(start.number, 10_000);
    return { start, segments: list, records: await segments.records("0", "999999999999999999", 100_000) };
  });
}

async function sealedWhole(): Promise<string[]> {
  const { start, segments, records } = await trail();
  expect(problemsOf({ start, segments, records })).toEqual([]);
  const ids = segments.flatMap((segment) => segment.ids);
  expect(ids).toEqual(records.map(({ id }) => id));
  return ids;
}

// Looks until nothing is left; the transactions of other test files may hold the horizon for a moment.
async function sealAll(sealer = sealerOver()): Promise<void> {
  while ((await sealer.once()) !== "idle");
}

beforeEach(() => sealAll());

test("records are sealed in order of their ids, in segments of a bounded size, and an idle look writes nothing", async () => {
  const events = Array.from({ length: SEGMENT_RECORDS_MAX + 7 }, (_, index) => turnEvent("run_a", index));
  await storeEvents(store, events);
  await sealAll();
  await sealedWhole();
  const { segments } = await trail();
  expect(Math.max(...segments.map(({ ids }) => ids.length))).toBe(SEGMENT_RECORDS_MAX);
  expect(await sealerOver().once()).toBe("idle");
  expect((await trail()).segments).toHaveLength(segments.length);
});

test("a writer that commits after later ones is waited for, and its records come first by their ids", async () => {
  const late = await database.pool.connect();
  await late.query("begin");
  await late.query(`with started as materialized (select pg_current_xact_id() as x)
    insert into audit_event (transaction_id, kind, namespace, run_id, task_id, actor, record)
    select x, 'decision', '', 'late', '', 'server', '{}' from started`);
  await storeEvents(store, [turnEvent("early", 1)]);
  const before = (await trail()).segments.length;
  const sealer = sealerOver();
  for (let looks = 0; looks < 5; looks += 1) expect(await sealer.once()).toBe("busy");
  expect((await trail()).segments).toHaveLength(before);
  await late.query("commit");
  late.release();
  await sealAll(sealer);
  const ids = await sealedWhole();
  const { rows } = await database.pool.query(
    "select id::text from audit_event where run_id in ('late', 'early') order by id",
  );
  expect(ids.slice(-2)).toEqual(rows.map(({ id }) => id));
});

test("with 50 writers at once and two sealers, every record is sealed once", async () => {
  let writing = true;
  const one = sealerOver();
  const two = sealerOver();
  const sealing = [one, two].map(async (sealer) => {
    while (writing) await sealer.once();
  });
  const writers = Array.from({ length: 50 }, async (_, writer) => {
    for (let turn = 0; turn < 6; turn += 1) {
      await storeEvents(store, [turnEvent(`run_${writer}`, turn), turnEvent(`run_${writer}`, turn + 100)]);
    }
  });
  await Promise.all(writers);
  writing = false;
  await Promise.all(sealing);
  await Promise.all([sealAll(one), sealAll(two)]);
  const ids = await sealedWhole();
  expect(new Set(ids).size).toBe(ids.length);
});

test("two sealers of one stretch: one segment, the other is outrun and changes nothing", async () => {
  await storeEvents(store, [turnEvent("both", 1), turnEvent("both", 2)]);
  const { newestId } = await store.read((queries) => queries.segments.look());
  const before = (await trail()).segments.length;
  const results = await Promise.all([sealAudit(store, newestId), sealAudit(store, newestId)]);
  expect(results).toContain("through");
  expect(results.every((result) => ["through", "outrun", "nothing"].includes(result))).toBe(true);
  expect((await trail()).segments).toHaveLength(before + 1);
  await sealedWhole();
});

test.each(["head", "hashed", "insert"] as const)(
  "a sealer that dies after %s leaves nothing half done",
  async (method) => {
    await storeEvents(store, [turnEvent("dies", 1)]);
    const { newestId } = await store.read((queries) => queries.segments.look());
    const before = await trail();
    const real = createStore(database.db);
    const dying: Store = {
      ...real,
      transaction: (fn) =>
        real.transaction(async (tx) => {
          const dies = async (...values: unknown[]) => {
            await (tx.segments[method] as (...all: unknown[]) => Promise<unknown>)(...values);
            throw new Error("killed");
          };
          return await fn({ ...tx, segments: { ...tx.segments, [method]: dies } });
        }),
    };
    await expect(sealAudit(dying, newestId)).rejects.toThrow();
    expect((await trail()).segments).toEqual(before.segments);
    await sealAll();
    await sealedWhole();
  },
);

test("a sealer stops at once while it sleeps, and a wake ends an idle pause", async () => {
  const sealer = sealerOver();
  sealer.start();
  await storeEvents(store, [turnEvent("wake", 1)]);
  sealer.wake();
  const { rows } = await database.pool.query("select max(id)::text as id from audit_event");
  while (BigInt((await store.read(({ segments }) => segments.head())).lastId) < BigInt(rows[0].id)) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  await sealer.stop();
  await sealedWhole();
});

test("records of a database that was there before sealing are sealed from the first one on", async () => {
  const old = await testDatabase({ migrated: false });
  await migrate(old.db, { mode: "auto", migrations: migrations.slice(0, 1) });
  await old.pool.query(`insert into audit_event (kind, namespace, run_id, task_id, actor, record)
    select 'decision', '', 'before', '', 'server', '{}' from generate_series(1, 2)`);
  await migrate(old.db, { mode: "auto" });
  const upgraded = createStore(old.db);
  await sealAll(sealerOver(upgraded));
  const segments = await upgraded.read((queries) => queries.segments.list(0, 10));
  expect(segments.map(({ number, ids }) => ({ number, ids }))).toEqual([{ number: 1, ids: ["1", "2"] }]);
});

test("the database hashes a record as its verifier does, whatever characters its columns hold", async () => {
  const ends = await testDatabase();
  const controls = Array.from({ length: 0x9f }, (_, index) => String.fromCharCode(index + 1)).join("");
  const hostile = [
    "",
    "a",
    controls,
    String.raw`"\/\u0000 ',"id":"7"}`,
    "\u2028\u2029\ufeff\uffff\u0301e\u{1f600}\u{10ffff}",
    "long ".repeat(13_000),
  ];
  const columns = ["kind", "namespace", "run_id", "task_id", "actor", "on_behalf_of", "trace_id", "record"];
  for (const [at, text] of hostile.entries()) {
    for (const [which] of columns.entries()) {
      const values = columns.map((_, index) => (index === which ? text : (hostile[(at + index) % 2] as string)));
      await ends.pool.query(
        `insert into audit_event (${columns.join(", ")}) values ($1, $2, $3, $4, $5, $6, $7, $8)`,
        values,
      );
    }
  }
  const all = ["0", "9".repeat(18), 1_000] as const;
  const { records, hashed } = await createStore(ends.db).read(async ({ segments }) => {
    return { records: await segments.records(...all), hashed: await segments.hashed(...all) };
  });
  expect(records).toHaveLength(hostile.length * columns.length);
  expect(hashed.records).toEqual(records.map((record) => ({ id: record.id, hash: recordHash(record) })));
  expect(hashed.latestTime).toBe(
    records
      .map(({ time }) => time)
      .sort()
      .at(-1),
  );
});
