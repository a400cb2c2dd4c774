// graphile-worker: with its defaults, where a worker fetches each task by itself, and batched, as its own page on performance sets it.
// Called by main.ts.

import { Logger, run } from "graphile-worker";
import { CONNECTIONS, countOf, type Engine, type EngineSetting, inLanes, until } from "./engine.ts";

/** Prefetched tasks, and completions that are gathered: what its page on performance uses. */
const BATCHED = { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 };
/** What its table holds is not done yet: a task that is done is deleted. */
const LEFT = "select count(*) from graphile_worker._private_jobs";

/** Starts it. @param batched with its local queue and batched completion */
export async function startGraphile({ work, url, pool }: EngineSetting, batched: boolean): Promise<Engine> {
  let handled = 0;
  const runner = await run({
    taskList: {
      noop: async () => {
        handled += 1;
      },
    },
    noHandleSignals: true,
    // Its own logger writes a line a task.
    logger: new Logger(() => () => undefined),
    preset: {
      worker: {
        connectionString: url,
        concurrentJobs: work.inFlight,
        maxPoolSize: CONNECTIONS,
        ...(batched && BATCHED),
      },
    },
  });
  return {
    async execute(runs) {
      const wanted = handled + runs;
      await inLanes(runs, work.inFlight, () => runner.addJob("noop", { n: 1 }));
      await until(work, "graphile-worker works on all", () => handled >= wanted);
      await until(work, "graphile-worker completes all", async () => (await countOf(pool, LEFT)) === 0);
      if (handled !== wanted) throw new Error(`graphile-worker ran ${handled - wanted} tasks twice`);
    },
    stop: () => runner.stop(),
  };
}
