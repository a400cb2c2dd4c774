// The suites noop, steps3 and tools: runs a second in a closed loop, in rounds; with --peers, other engines in turn with them.
// Called by main.ts. After each round the audit trail is checked; of noop the cost in Postgres is counted as well.

import { between, type CounterReader, type Counters, readCounters } from "./counters.ts";
import { hundredths, median, thousandths } from "./figures.ts";
import { followFinishedRuns } from "./finished.ts";
import type { Fleet } from "./fleet.ts";
import { startFleet } from "./fleet.ts";
import { keepRunning, type Load } from "./load.ts";
import { openPeers, type PeerRounds } from "./peer_rounds.ts";
import { type ProcessorTime, processorTime } from "./processor_time.ts";
import { measureRawLimit, type RawLimit } from "./raw_rounds.ts";
import { SHAPES, type Shape } from "./shapes.ts";
import type { SuiteContext } from "./suite.ts";
import { checkTrail, newestRecord } from "./trail.ts";

/** Reads at a time that reach every connection of the server's pool. */
const NUDGES = 48;

/** Measures one shape. */
export async function measureThroughput(name: keyof typeof SHAPES, context: SuiteContext): Promise<object> {
  const { settings, clock, progress, cleanup } = context;
  const { runs, inFlight, warmUp, rounds, profileFolder } = settings;
  const shape: Shape = SHAPES[name];
  const peers = settings.peers ? openPeers(shape.peers, context) : undefined;
  progress(`${name}: starting Postgres, a server and a worker`);
  const fleet = await startFleet({ clock, slots: inFlight, ...(profileFolder && { profileFolder }) }, cleanup);
  const finished = followFinishedRuns(fleet.client);
  cleanup.add(async () => finished.close());
  const load = { clients: [fleet.client], finished, workflow: shape.workflow, inFlight, clock, progress };
  await keepRunning({ ...load, title: `${name}: warming up` }, { runs: warmUp });
  const ours: OurRound[] = [];
  const raw: RawLimit[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    const title = `${name}: round ${round} of ${rounds}`;
    const ourRound = async () => void ours.push(await measureRound(fleet, shape, { ...load, title }, runs));
    const others = peers?.contestants(fleet.postgres) ?? [];
    const rawRound = async () => void raw.push(await measureRawLimit(fleet.postgres, context));
    const all = peers === undefined ? [ourRound] : [ourRound, ...others, rawRound];
    // Each round begins with another one, so that none always comes first, or last.
    for (const [index] of all.entries()) await all[(index + round - 1) % all.length]?.();
  }
  const { facts } = fleet.postgres;
  return { ours: ourFigures(ours, shape, settings), ...withPeers(ours, shape, peers, raw), postgres: facts };
}

interface OurRound {
  readonly runsPerSecond: number;
  readonly runs: number;
  readonly cost: Counters;
  /** Before and after; absent where the system does not tell. */
  readonly time: readonly (ProcessorTime | undefined)[];
}

async function measureRound(fleet: Fleet, shape: Shape, load: Load, runs: number): Promise<OurRound> {
  const { pool } = fleet.postgres;
  const reader: CounterReader = {
    ...{ pool, clock: load.clock },
    nudge: () => Promise.all(Array.from({ length: NUDGES }, () => fleet.client.workflows.listRuns({ pageSize: 1 }))),
  };
  const calls = fleet.toolCalls();
  const afterId = await newestRecord(pool);
  const before = await readCounters(reader);
  const busyBefore = await processorTime(fleet);
  const done = await keepRunning(load, { runs });
  const time = [busyBefore, await processorTime(fleet)];
  const after = await readCounters(reader);
  await checkTrail(pool, { workflow: shape.workflow, runs, afterId, records: shape.records });
  const called = fleet.toolCalls() - calls;
  if (called !== runs * shape.toolCallsARun) throw new Error(`the tool was called ${called} times in ${runs} runs`);
  load.progress(`${load.title}: ${Math.round(done.runs / done.seconds)} runs/s`);
  return { runsPerSecond: done.runs / done.seconds, runs: done.runs, cost: between(before, after), time };
}

function ourFigures(rounds: readonly OurRound[], { tasksARun, workflow }: Shape, settings: SuiteContext["settings"]) {
  const speed = median(rounds.map(({ runsPerSecond }) => runsPerSecond));
  const tasks = rounds.reduce((sum, { runs }) => sum + runs, 0) * tasksARun;
  const aTask = (of: keyof Counters) => rounds.reduce((sum, { cost }) => sum + cost[of], 0) / tasks;
  return {
    ...{ workflow, runs_per_s: Math.round(speed), tasks_per_s: Math.round(speed * tasksARun) },
    rounds_runs_per_s: rounds.map(({ runsPerSecond }) => Math.round(runsPerSecond)),
    ...{ runs_a_round: settings.runs, in_flight: settings.inFlight },
    row_writes_a_task: hundredths(aTask("rows")),
    wal_bytes_a_task: Math.round(aTask("walBytes")),
    write_transactions_a_task: hundredths(aTask("transactions")),
    ...timeATask(rounds, tasks),
  };
}

function timeATask(rounds: readonly OurRound[], tasks: number): object {
  const total = { servers: 0, workers: 0, postgres: 0, driver: 0 };
  for (const { time } of rounds) {
    const [before, after] = time;
    if (before === undefined || after === undefined) return {};
    for (const name of Object.keys(total) as (keyof ProcessorTime)[]) total[name] += after[name] - before[name];
  }
  return {
    processor_ms_a_task: Object.fromEntries(Object.entries(total).map(([name, ms]) => [name, thousandths(ms / tasks)])),
  };
}

function withPeers(
  ours: readonly OurRound[],
  { tasksARun }: Shape,
  peers: PeerRounds | undefined,
  raw: readonly RawLimit[],
): object {
  if (peers === undefined) return {};
  const speed = median(ours.map(({ runsPerSecond }) => runsPerSecond));
  const figures = peers.figures();
  const ratios = Object.fromEntries(
    Object.entries(figures).flatMap(([name, { end }]) =>
      "median" in end ? [[name, hundredths(speed / end.median)]] : [],
    ),
  );
  const limit = median(raw.map(({ tasksPerSecond }) => tasksPerSecond));
  const { pgbench } = raw.at(-1) as RawLimit;
  const pgbenchRounds = raw.flatMap((round) => (typeof round.pgbench === "number" ? [round.pgbench] : []));
  return {
    peers: Object.fromEntries(
      Object.entries(figures).map(([name, { version, end, rounds }]) => {
        const figure = "median" in end ? { runs_per_s: Math.round(end.median) } : end;
        return [name, { version, ...figure, rounds_runs_per_s: rounds.map(Math.round) }];
      }),
    ),
    ratios,
    raw_limit: {
      ...{ tasks_per_s: Math.round(limit), ours: thousandths((speed * tasksARun) / limit) },
      rounds_tasks_per_s: raw.map(({ tasksPerSecond }) => Math.round(tasksPerSecond)),
      pgbench_tasks_per_s: typeof pgbench === "number" ? Math.round(median(pgbenchRounds)) : pgbench,
    },
  };
}
