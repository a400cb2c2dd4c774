// The suite fanout: one run whose node is mapped over many items, several times. Called by main.ts.
// Each item is a task with its own lease, decision and record.

import { SECOND } from "../kit/units.ts";
import { median, tenths } from "./figures.ts";
import { followFinishedRuns } from "./finished.ts";
import { startFleet } from "./fleet.ts";
import { WORKFLOWS } from "./manifests.ts";
import type { SuiteContext } from "./suite.ts";
import { checkTrail, newestRecord } from "./trail.ts";

/** Measures. */
export async function measureFanout({ settings, clock, cleanup, progress }: SuiteContext): Promise<object> {
  const { rounds, items, inFlight } = settings;
  progress("fanout: starting Postgres, a server and a worker");
  const { client, postgres } = await startFleet({ clock, slots: inFlight }, cleanup);
  const finished = followFinishedRuns(client);
  cleanup.add(async () => finished.close());
  const seconds: number[] = [];
  // The first round warms up.
  for (let round = 0; round <= rounds; round += 1) {
    const afterId = await newestRecord(postgres.pool);
    const begin = clock.monotonic();
    const run = await client
      .workflow(WORKFLOWS.fanout)
      .invoke({ items: Array.from({ length: items }, (_, item) => item) });
    await Promise.race([finished.of(run.id), finished.broken]);
    const took = (clock.monotonic() - begin) / SECOND;
    const records = { "run.created": 1, "task.leased": items, "task.succeeded": items };
    await checkTrail(postgres.pool, { workflow: WORKFLOWS.fanout, runs: 1, afterId, records });
    const { each } = await run.result<{ each: number }>();
    if (each !== items) throw new Error(`run ${run.id} has ${each} outputs of ${items} items`);
    if (round > 0) seconds.push(took);
    progress(
      `fanout: ${round === 0 ? "warming up" : `round ${round} of ${rounds}`}, ${items} items in ${tenths(took)} s`,
    );
  }
  return {
    ...{ items, items_at_a_time: inFlight, run_seconds: median(seconds) },
    tasks_per_s: Math.round(items / median(seconds)),
    rounds_tasks_per_s: seconds.map((took) => Math.round(items / took)),
    postgres: postgres.facts,
  };
}
