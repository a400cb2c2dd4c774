// When lost leases may be taken away: only while some replica has been looking all along. The database keeps that watch.

import { sql } from "kysely";
import { beforeEach, expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { dispatchStage } from "./dispatch_stage.ts";

const stage = await dispatchStage();
const { tick, timing } = stage;
const other = stage.otherTick();

/** A task whose worker is gone for good: its lease is old, its session expired. */
async function abandoned(): Promise<string> {
  const runId = await stage.start("one");
  await stage.claimAs("ses_gone");
  await sql`update lease set claim_time = claim_time - interval '1 hour', accepted = true where run_id = ${runId}`.execute(
    stage.database.db,
  );
  return runId;
}

async function watch() {
  const { rows } = await stage.database.pool.query(
    `select extract(epoch from sweep_from - clock_timestamp()) * 1000 as "waitMs",
       extract(epoch from clock_timestamp() - seen_time) * 1000 as "agoMs" from sweep`,
  );
  return { waitMs: Number(rows[0].waitMs), agoMs: Number(rows[0].agoMs) };
}

const moveWatch = (ms: number) =>
  stage.database.pool.query(
    "update sweep set seen_time = seen_time - $1 * interval '1 ms', sweep_from = sweep_from - $1 * interval '1 ms'",
    [ms],
  );

beforeEach(() => sql`delete from lease`.execute(stage.database.db));

test("after the very first start nothing is taken away for one ttl, then everything that is still lost", async () => {
  const runId = await abandoned();
  await tick.once();
  expect(await stage.leases(runId)).toHaveLength(1);
  const { waitMs } = await watch();
  expect(waitMs).toBeGreaterThan(timing.leaseTtlMs - 10_000);
  expect(waitMs).toBeLessThanOrEqual(timing.leaseTtlMs);
  // The ttl passes with ticks in between.
  for (let part = 0; part < 3; part += 1) {
    await moveWatch(timing.leaseTtlMs / 3);
    await tick.once();
  }
  expect(await stage.leases(runId)).toEqual([]);
  expect(await stage.queued(runId)).toHaveLength(1);
});

test("an outage of all replicas puts the sweep off by a ttl, whoever is back first", async () => {
  await stage.watched(timing.sweepGapMs + 1_000);
  const runId = await abandoned();
  await other.once();
  await tick.once();
  expect(await stage.leases(runId)).toHaveLength(1);
  expect((await watch()).waitMs).toBeGreaterThan(timing.leaseTtlMs - 10_000);
});

test("a replica that starts beside one that looked all along puts nothing off", async () => {
  await stage.watched();
  await other.once();
  const runId = await abandoned();
  await stage.otherTick().once();
  expect(await stage.leases(runId)).toEqual([]);
});

test("a replica that was paused longer than the gap sweeps at once when another one looked meanwhile", async () => {
  await stage.watched(timing.sweepGapMs - 1_000);
  await other.once();
  const runId = await abandoned();
  await tick.once();
  expect(await stage.leases(runId)).toEqual([]);
});

test("a tick that waits for its locks goes on watching: what it waits for is no outage", async () => {
  await stage.watched();
  const runId = await abandoned();
  const release = await stage.hold("select 1 from run where id = $1 for update", [runId]);
  const ticking = stage.otherTick({ clock: systemClock(), timing: { ...timing, tickMs: 20 } }).once();
  await stage.waiting(1);
  await moveWatch(timing.sweepGapMs - 1_000);
  await expect.poll(async () => (await watch()).agoMs).toBeLessThan(1_000);
  expect((await watch()).waitMs).toBeLessThan(0);
  await release();
  await ticking;
  expect(await stage.leases(runId)).toEqual([]);
});

test("a session that was seen within the ttl keeps its leases even while the sweep goes on", async () => {
  await stage.watched();
  const worker = await stage.connected();
  const runId = await abandoned();
  await sql`update lease set session_id = ${worker.session.id} where run_id = ${runId}`.execute(stage.database.db);
  await tick.once();
  expect(await stage.leases(runId)).toHaveLength(1);
  worker.session.closed();
});

test("the watch is written once in a tenth of a ttl, however many replicas look", async () => {
  await stage.watched();
  const writes = async () =>
    (await stage.database.pool.query("select xmin::text as xmin from sweep")).rows[0].xmin as string;
  const before = await writes();
  for (const one of [tick, other, tick, other]) await one.once();
  expect(await writes()).toBe(before);
  await stage.watched(timing.leaseTtlMs / 10 + 500);
  const marked = await writes();
  await tick.once();
  expect(await writes()).not.toBe(marked);
  expect((await watch()).agoMs).toBeLessThan(timing.leaseTtlMs / 10);
});
