// DBOS: workflows of one durable step, or of three, taken from its queue with a poll of 10 ms, or started in process.
// Called by main.ts.

import { DBOS } from "@dbos-inc/dbos-sdk";
import { CONNECTIONS, countOf, type Engine, type EngineSetting, inLanes, until } from "./engine.ts";

const QUEUE = "noop";
const POLL_MS = 10;
const STEPS = { noop: 1, steps3: 3 } as const;
const OPEN = "select count(*) from dbos.workflow_status where status <> 'SUCCESS'";

/** Starts it with a queue. */
export async function startDbosQueue(setting: EngineSetting): Promise<Engine> {
  const { work, pool } = setting;
  const started = await start(setting);
  await DBOS.registerQueue(QUEUE, { workerConcurrency: work.inFlight, minPollingIntervalMs: POLL_MS });
  return {
    async execute(runs) {
      const wanted = started.handled() + runs;
      await inLanes(runs, work.inFlight, () => DBOS.startWorkflow(started.workflow, { queueName: QUEUE })());
      await until(work, "DBOS works on all", () => started.handled() >= wanted);
      await until(work, "DBOS completes all", async () => (await countOf(pool, OPEN)) === 0);
    },
    stop: () => DBOS.shutdown(),
  };
}

/** Starts it without a queue: what is started runs at once, and so many at a time are started. */
export async function startDbosInProcess(setting: EngineSetting): Promise<Engine> {
  const { work, pool } = setting;
  const started = await start(setting);
  return {
    async execute(runs) {
      await inLanes(runs, work.inFlight, async () => (await DBOS.startWorkflow(started.workflow)()).getResult());
      const open = await countOf(pool, OPEN);
      if (open > 0) throw new Error(`${open} workflows of DBOS did not succeed`);
    },
    stop: () => DBOS.shutdown(),
  };
}

async function start({ work, url }: EngineSetting) {
  let handled = 0;
  DBOS.setConfig({ name: "bench", systemDatabaseUrl: url, systemDatabasePoolSize: CONNECTIONS, logLevel: "error" });
  const workflow = DBOS.registerWorkflow(
    async () => {
      for (let step = 0; step < STEPS[work.shape]; step += 1)
        await DBOS.runStep(async () => step, { name: `step${step}` });
      handled += 1;
    },
    { name: "bench" },
  );
  await DBOS.launch();
  return { workflow, handled: () => handled };
}
