// The suite growth: whether the queue stays as fast when the database is full, old rows cannot be removed, or another route has a long
// queue. Called by main.ts. Throughput, time to the claim, and time to the start are measured from empty to full, on one database.

import { SECOND } from "../kit/units.ts";
import { addFinishedRuns, settleDatabase } from "./aged_database.ts";
import { type ClaimTimes, claimTimes } from "./claim_times.ts";
import { hundredths, type Times, timesOf } from "./figures.ts";
import { type FinishedRuns, followFinishedRuns } from "./finished.ts";
import { type Fleet, startFleet } from "./fleet.ts";
import { measureStarts } from "./latency.ts";
import { keepRunning, type Load } from "./load.ts";
import { WORKFLOWS } from "./manifests.ts";
import { SHAPES } from "./shapes.ts";
import type { SuiteContext } from "./suite.ts";
import { checkTrail, newestRecord } from "./trail.ts";

/** Runs in flight for each slot: some always wait, for what finds a free slot passes the queue by. */
const IN_FLIGHT_A_SLOT = 2;
/** Slots of the worker that serves the backlog, slowly. */
const BACKLOG_SLOTS = 2;
/** Part of the time of the open snapshot after which its claims are measured: it has to have aged. */
const AGED = 0.75;

/** What is measured at each stage. */
interface Stage {
  readonly stage: string;
  readonly runs_per_s: number;
  readonly claim_ms: ClaimTimes;
  readonly start_ms?: Times;
}

/** Measures. */
export async function measureGrowth(context: SuiteContext): Promise<object> {
  const { settings, clock, cleanup, progress } = context;
  progress("growth: starting Postgres, a server and a worker");
  const fleet = await startFleet({ clock, slots: Math.ceil(settings.inFlight / IN_FLIGHT_A_SLOT) }, cleanup);
  const base = { clients: [fleet.client], workflow: WORKFLOWS.noop, inFlight: settings.inFlight, clock, progress };
  await followed(fleet, (finished) =>
    keepRunning({ ...base, finished, title: "growth: warming up" }, { runs: settings.warmUp }),
  );
  const stages: Stage[] = [];
  const measure = async (stage: string) => {
    const measured = await measureStage(fleet, { ...base, title: `growth: ${stage}` }, stage, context);
    stages.push(measured);
    return measured;
  };
  let old = 0;
  for (const runs of [...settings.finished].sort((a, b) => a - b)) {
    await addFinishedRuns(fleet.postgres.pool, { count: runs - old, begin: old, clock, progress });
    old = runs;
    await settleDatabase(fleet.postgres.pool, clock, progress);
    await measure(`${runs} finished runs`);
  }
  const [empty, full] = [stages[0] as Stage, stages.at(-1) as Stage];
  const snapshot = await measureSnapshot(fleet, base, context);
  await addBacklog(fleet, context);
  const beside = await measure(`${settings.backlog} tasks queued on another route`);
  return {
    stages: [...stages.slice(0, -1), snapshot, beside],
    throughput_full_to_empty: hundredths(full.runs_per_s / empty.runs_per_s),
    claim_p99_with_snapshot_to_without: hundredths(snapshot.claim_ms.p99 / full.claim_ms.p99),
    start_p50_beside_backlog_to_without: hundredths((beside.start_ms?.p50 ?? 0) / (full.start_ms?.p50 ?? 1)),
    ...{ runs_a_stage: settings.runs, in_flight: settings.inFlight, postgres: fleet.postgres.facts },
  };
}

type Unfollowed = Omit<Load, "finished">;

// Follows from here on only: what was copied into the trail before would come first otherwise.
async function followed<Result>(fleet: Fleet, work: (finished: FinishedRuns) => Promise<Result>): Promise<Result> {
  const finished = followFinishedRuns(fleet.client, BigInt(await newestRecord(fleet.postgres.pool)));
  return await work(finished).finally(() => finished.close());
}

async function measureStage(fleet: Fleet, load: Unfollowed, stage: string, context: SuiteContext): Promise<Stage> {
  const { runs, samples } = context.settings;
  const { pool } = fleet.postgres;
  const afterId = await newestRecord(pool);
  const done = await followed(fleet, (finished) => keepRunning({ ...load, finished }, { runs }));
  await checkTrail(pool, { workflow: WORKFLOWS.noop, runs, afterId, records: SHAPES.noop.records });
  const starts = await measureStarts(fleet.client, { samples, warmUp: 5 }, context);
  return {
    ...{ stage, runs_per_s: Math.round(done.runs / done.seconds) },
    claim_ms: await claimTimes(pool, WORKFLOWS.noop, afterId),
    start_ms: timesOf(starts.map(({ start }) => start)),
  };
}

// A transaction that stays open keeps every row version that the queue leaves behind meanwhile.
async function measureSnapshot(
  fleet: Fleet,
  base: Omit<Unfollowed, "title">,
  { settings }: SuiteContext,
): Promise<Stage> {
  const { pool } = fleet.postgres;
  const ms = settings.snapshotSeconds * SECOND;
  const reader = await pool.connect();
  try {
    await reader.query("begin isolation level repeatable read");
    await reader.query("select count(*) from ready");
    const load = { ...base, title: "growth: open snapshot" };
    const afterId = await newestRecord(pool);
    const first = await followed(fleet, (finished) => keepRunning({ ...load, finished }, { ms: ms * AGED }));
    const agedId = await newestRecord(pool);
    const aged = await followed(fleet, (finished) => keepRunning({ ...load, finished }, { ms: ms * (1 - AGED) }));
    await reader.query("commit");
    const runs = first.runs + aged.runs;
    await checkTrail(pool, { workflow: WORKFLOWS.noop, runs, afterId, records: SHAPES.noop.records });
    const stage = `a snapshot that is open for ${settings.snapshotSeconds} s, its last quarter`;
    const claim_ms = await claimTimes(pool, WORKFLOWS.noop, agedId);
    return { stage, runs_per_s: Math.round(aged.runs / aged.seconds), claim_ms };
  } finally {
    reader.release(true);
  }
}

// Invoked as anything else, and served by a worker of its own that has two slots: a queue that moves, and stays long.
async function addBacklog(fleet: Fleet, { settings, progress }: SuiteContext): Promise<void> {
  const { backlog } = settings;
  await fleet.replicas[0]?.startWorker({ name: "backlog", slots: BACKLOG_SLOTS, handlers: "hold" });
  const workflow = fleet.client.workflow(WORKFLOWS.backlog);
  let begun = 0;
  const lane = async () => {
    while (begun < backlog) {
      begun += 1;
      if (begun % 10_000 === 0) progress(`growth: ${begun} of ${backlog} tasks queued on another route`);
      await workflow.invoke();
    }
  };
  await Promise.all(Array.from({ length: 200 }, lane));
  const { rows } = await fleet.postgres.pool.query<{ queued: number }>(
    "select count(*)::integer as queued from ready where route in (select route from task where run_id in (select id from run where workflow = $1))",
    [WORKFLOWS.backlog],
  );
  const queued = rows[0]?.queued ?? 0;
  if (queued < backlog / 2) throw new Error(`of ${backlog} tasks only ${queued} are queued`);
}
