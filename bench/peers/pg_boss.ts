// pg-boss 12: batches as large as what may be in flight, and LISTEN/NOTIFY on, which is how it is fastest.
// Called by main.ts.

import { PgBoss } from "pg-boss";
import { CONNECTIONS, countOf, type Engine, type EngineSetting, inLanes, until } from "./engine.ts";

const QUEUE = "noop";
/** Between two looks without a notification; the least that it takes. */
const POLL_SECONDS = 0.5;
const OPEN = `select count(*) from pgboss.job where name = '${QUEUE}' and state <> 'completed'`;

/** Starts it. */
export async function startPgBoss({ work, url, pool }: EngineSetting): Promise<Engine> {
  const boss = new PgBoss({ connectionString: url, max: CONNECTIONS, useListenNotify: true });
  let handled = 0;
  let failed: unknown;
  boss.on("error", (error) => {
    failed = error;
  });
  await boss.start();
  await boss.createQueue(QUEUE, { notify: true });
  await boss.work(QUEUE, { batchSize: work.inFlight, pollingIntervalSeconds: POLL_SECONDS }, async (batch) => {
    handled += batch.length;
  });
  return {
    async execute(runs) {
      const wanted = handled + runs;
      await inLanes(runs, work.inFlight, () => boss.send(QUEUE, { n: 1 }));
      await until("pg-boss works on all", () => handled >= wanted || failed !== undefined);
      await until("pg-boss completes all", async () => (await countOf(pool, OPEN)) === 0 || failed !== undefined);
      if (failed !== undefined) throw failed;
      if (handled !== wanted) throw new Error(`pg-boss ran ${handled - wanted} tasks twice`);
    },
    stop: () => boss.stop({ graceful: false }),
  };
}
