// The suite latency: how long an idle system takes from Invoke to the start of the agent's code, to the result, and from one node of a
// chain to the next. Called by main.ts; growth.ts measures the first as well.
// One run at a time. The agent says itself when it began and ended, on the clock that all processes of the machine share.

import type { OrlojClient } from "../sdk/index.ts";
import { timesOf } from "./figures.ts";
import { startFleet } from "./fleet.ts";
import { machineMs } from "./machine_time.ts";
import { CHAIN, WORKFLOWS } from "./manifests.ts";
import type { SuiteContext } from "./suite.ts";
import { checkTrail, newestRecord } from "./trail.ts";

/** Pause between two invocations, in ms, so that each meets an idle system. */
const PAUSE_MS = 20;

interface Stamp {
  readonly begin: number;
  readonly end: number;
}

/** Measures. */
export async function measureLatency(context: SuiteContext): Promise<object> {
  const { settings, clock, cleanup, progress } = context;
  progress("latency: starting Postgres, a server and a worker");
  const { client, postgres } = await startFleet({ clock, slots: settings.inFlight }, cleanup);
  const afterId = await newestRecord(postgres.pool);
  const { samples, warmUp } = settings;
  const starts = await measureStarts(client, { samples, warmUp }, context);
  const hops = await measureHops(client, { samples, warmUp }, context);
  for (const [workflow, tasks] of [
    [WORKFLOWS.start, 1],
    [WORKFLOWS.chain, CHAIN.length],
  ] as const) {
    const records = { "run.created": 1, "task.leased": tasks, "task.succeeded": tasks };
    await checkTrail(postgres.pool, { workflow, runs: samples + warmUp, afterId, records });
  }
  return {
    start_ms: timesOf(starts.map(({ start }) => start)),
    result_ms: timesOf(starts.map(({ result }) => result)),
    chain_hop_ms: timesOf(hops),
    ...{ samples, postgres: postgres.facts },
  };
}

/** How many invocations are measured, and how many come before them. */
export interface Samples {
  readonly samples: number;
  readonly warmUp: number;
}

/** Times of one invocation, in ms from the call of invoke(). */
export interface StartTimes {
  /** To the first line of the agent's code. */
  readonly start: number;
  /** To the result in the caller's hands. */
  readonly result: number;
}

/** Invocations of one node, one by one. @throws Error when a run does not succeed */
export async function measureStarts(client: OrlojClient, of: Samples, context: SuiteContext): Promise<StartTimes[]> {
  return await oneByOne("start", of, context, async () => {
    const begin = machineMs();
    const run = await client.workflow(WORKFLOWS.start).invoke();
    const { only } = await run.result<{ only: Stamp }>();
    return { start: only.begin - begin, result: machineMs() - begin };
  });
}

// From the end of the code of one node to the begin of that of the next one.
async function measureHops(client: OrlojClient, of: Samples, context: SuiteContext): Promise<number[]> {
  const hops = await oneByOne("chain", of, context, async () => {
    const run = await client.workflow(WORKFLOWS.chain).invoke();
    const stamps = await run.result<Record<string, Stamp>>();
    return CHAIN.slice(1).map((node, index) => {
      const [before, after] = [stamps[CHAIN[index] as string], stamps[node]];
      if (before === undefined || after === undefined) throw new Error(`run ${run.id} has no times of ${node}`);
      return after.begin - before.end;
    });
  });
  return hops.flat();
}

async function oneByOne<Sample>(
  title: string,
  { samples, warmUp }: Samples,
  { clock, progress }: SuiteContext,
  sample: () => Promise<Sample>,
): Promise<Sample[]> {
  progress(`latency: ${title}, ${warmUp} runs to warm up, then ${samples} one by one`);
  const found: Sample[] = [];
  for (let index = 0; index < warmUp + samples; index += 1) {
    const one = await sample();
    if (index >= warmUp) found.push(one);
    await clock.sleep(PAUSE_MS);
  }
  return found;
}
