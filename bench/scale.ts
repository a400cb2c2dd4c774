// The suite scale: throughput with one, two and three replicas on one database, each with a worker of its own. Called by main.ts.
// Every number of replicas has a fleet of its own, from empty. The driver speaks to all replicas in turn.

import { Cleanup } from "../demo/fleet.ts";
import { hundredths } from "./figures.ts";
import { followFinishedRuns } from "./finished.ts";
import { startFleet } from "./fleet.ts";
import { keepRunning } from "./load.ts";
import { WORKFLOWS } from "./manifests.ts";
import { SHAPES } from "./shapes.ts";
import type { SuiteContext } from "./suite.ts";
import { checkTrail, newestRecord } from "./trail.ts";

/** Measures. */
export async function measureScale(context: SuiteContext): Promise<object> {
  const numbers = context.settings.replicas;
  const measured = [];
  for (const replicas of numbers) measured.push(await measureReplicas(replicas, context));
  const [first] = measured;
  return {
    replicas: measured.map((one) => ({ ...one, ratio: hundredths(one.runs_per_s / (first?.runs_per_s ?? 1)) })),
    in_flight_a_replica: context.settings.inFlight,
  };
}

async function measureReplicas(replicas: number, { settings, clock, cleanup: outer, progress }: SuiteContext) {
  const cleanup = new Cleanup();
  outer.add(() => cleanup.run());
  const { inFlight, runs, warmUp } = settings;
  try {
    progress(`scale: starting Postgres and ${replicas} replicas, a worker each`);
    const fleet = await startFleet({ clock, slots: inFlight, replicas }, cleanup);
    const finished = followFinishedRuns(fleet.client);
    cleanup.add(async () => finished.close());
    const load = {
      ...{ clients: fleet.replicas.map(({ client }) => client), finished, workflow: WORKFLOWS.noop },
      ...{ inFlight: inFlight * replicas, clock, progress, title: `scale: ${replicas} replicas` },
    };
    await keepRunning(load, { runs: warmUp });
    const afterId = await newestRecord(fleet.postgres.pool);
    const done = await keepRunning(load, { runs });
    await checkTrail(fleet.postgres.pool, { workflow: WORKFLOWS.noop, runs, afterId, records: SHAPES.noop.records });
    return { replicas, runs_per_s: Math.round(done.runs / done.seconds), postgres: fleet.postgres.facts };
  } finally {
    await cleanup.run();
  }
}
