// pg-boss 12: batches as large as what may be in flight, fetched without a pause while they come back full. Called by main.ts.
// Without LISTEN/NOTIFY, which is there for latency: commits that notify wait for each other, and that costs more than what it wakes.
// By itself a worker waits between two fetches, however much there is to do: half a second, or 30 s with LISTEN/NOTIFY.

import { PgBoss } from "pg-boss";
import { CONNECTIONS, countOf, type Engine, type EngineSetting, inLanes, until } from "./engine.ts";

const QUEUE = "noop";
/** Between two fetches once one was not full; the least that it takes. */
const POLL_SECONDS = 0.5;
const OPEN = `select count(*) from pgboss.job where name = '${QUEUE}' and state <> 'completed'`;

/** Starts it. */
export async function startPgBoss({ work, url, pool }: EngineSetting): Promise<Engine> {
  const boss = new PgBoss({ connectionString: url, max: CONNECTIONS });
  let handled = 0;
  let failed: string | undefined;
  boss.on("error", ({ message }) => {
    failed = message;
  });
  await boss.start();
  await boss.createQueue(QUEUE);
  const pace = { pollingIntervalSeconds: POLL_SECONDS, burstWhenBatchFull: true };
  await boss.work(QUEUE, { batchSize: work.inFlight, ...pace }, async (batch) => {
    handled += batch.length;
  });
  return {
    async execute(runs) {
      const wanted = handled + runs;
      await inLanes(runs, work.inFlight, () => boss.send(QUEUE, { n: 1 }));
      await until(work, "pg-boss works on all", () => handled >= wanted || failed !== undefined);
      await until(work, "pg-boss completes all", async () => (await countOf(pool, OPEN)) === 0 || failed !== undefined);
      if (failed !== undefined) throw new Error(`pg-boss: ${failed}`);
      if (handled !== wanted) throw new Error(`pg-boss ran ${handled - wanted} tasks twice`);
    },
    stop: () => boss.stop({ graceful: false }),
  };
}
