// The measurements: throughput of no-op runs in a closed loop, and the time from Invoke to the start of the agent when idle.
// Called by bench/main.ts over a running fleet. Each warms up first and measures a window after it.

import type { Clock } from "../kit/clock.ts";
import type { OrlojClient } from "../sdk/index.ts";
import { type FinishedRuns, followFinishedRuns } from "./finished.ts";
import type { Fleet } from "./fleet.ts";
import { NOOP, START } from "./manifests.ts";

/** Runs before the measured window of the throughput suite: code is compiled and caches are filled by then. */
const WARM_UP_RUNS = 2_000;
const PROGRESS_MS = 2_000;
const LATENCY_WARM_UP = 20;
/** Pause between two invocations of the latency suite, so that each meets an idle system. */
const PAUSE_MS = 20;

/** What the suites are given. */
export interface SuiteOptions {
  readonly clock: Clock;
  readonly progress: (line: string) => void;
}

/** Throughput of a window. */
export interface Throughput {
  readonly runs: number;
  readonly seconds: number;
  readonly tasksPerSecond: number;
}

/** Keeps inFlight runs between Invoke and their end, and counts runs of them. */
export async function measureThroughput(
  fleet: Fleet,
  { runs, inFlight }: { readonly runs: number; readonly inFlight: number },
  { clock, progress }: SuiteOptions,
): Promise<Throughput> {
  const finished = followFinishedRuns(fleet.client);
  try {
    progress(`noop: warming up with ${WARM_UP_RUNS} runs, ${inFlight} in flight`);
    await runMany(fleet.client, finished, WARM_UP_RUNS, inFlight, () => undefined);
    progress(`noop: measuring ${runs} runs`);
    const begin = clock.monotonic();
    let shown = begin;
    await runMany(fleet.client, finished, runs, inFlight, (done) => {
      const now = clock.monotonic();
      if (now - shown < PROGRESS_MS) return;
      shown = now;
      progress(`noop: ${done} of ${runs}, ${Math.round(done / ((now - begin) / 1_000))} tasks/s`);
    });
    const seconds = (clock.monotonic() - begin) / 1_000;
    await checkTrail(fleet.client);
    return { runs, seconds, tasksPerSecond: runs / seconds };
  } finally {
    finished.close();
  }
}

async function runMany(
  client: OrlojClient,
  finished: FinishedRuns,
  runs: number,
  inFlight: number,
  onDone: (done: number) => void,
): Promise<void> {
  const workflow = client.workflow(NOOP);
  let begun = 0;
  let done = 0;
  const lane = async () => {
    while (begun < runs) {
      begun += 1;
      const run = await workflow.invoke();
      await finished.of(run.id);
      done += 1;
      onDone(done);
    }
  };
  await Promise.race([Promise.all(Array.from({ length: inFlight }, lane)), finished.broken]);
}

// What was measured must have been the whole way: each of these is committed for every run.
async function checkTrail(client: OrlojClient): Promise<void> {
  const { runs } = await client.workflows.listRuns({ workflow: NOOP, pageSize: 1 });
  const runId = runs[0]?.id ?? "";
  const { records } = await client.audit.listAuditRecords({ filter: { runId } });
  const kinds = new Set(records.map((record) => record.kind));
  const missing = ["run.created", "task.leased", "turn.recorded", "task.succeeded"].filter((kind) => !kinds.has(kind));
  if (missing.length > 0) throw new Error(`the audit trail of ${runId} has no ${missing.join(", ")}`);
}

/** Milliseconds from the call of invoke() to the first request of the agent at its model, one run at a time. */
export async function measureStartLatency(
  fleet: Fleet,
  samples: number,
  { clock, progress }: SuiteOptions,
): Promise<number[]> {
  const finished = followFinishedRuns(fleet.client);
  const workflow = fleet.client.workflow(START);
  const latencies: number[] = [];
  try {
    progress(`latency: ${LATENCY_WARM_UP} runs to warm up, then ${samples} one by one`);
    for (let index = 0; index < LATENCY_WARM_UP + samples; index += 1) {
      let started = 0;
      fleet.onStart = () => {
        started ||= clock.monotonic();
      };
      const begin = clock.monotonic();
      const run = await workflow.invoke();
      await Promise.race([finished.of(run.id), finished.broken]);
      if (started === 0) throw new Error(`run ${run.id} ended without asking its model`);
      if (index >= LATENCY_WARM_UP) latencies.push(started - begin);
      await clock.sleep(PAUSE_MS);
    }
    return latencies;
  } finally {
    finished.close();
  }
}
