// The benchmark: `npm run bench`. Progress goes to stderr; the last line on stdout is one JSON object.
// Driver (this process), servers, workers and Postgres are processes of their own, nothing is switched off for it; but the suites
// `decide`, which measures policies in this process alone, and `audit`, which runs the server's sealer here.
// Ends by itself; leaves no process, port or file behind, however it ends.

import { join } from "node:path";
import { Cleanup } from "../demo/fleet.ts";
import { systemClock } from "../kit/clock.ts";
import { messageOf } from "../kit/errors.ts";
import { SECOND } from "../kit/units.ts";
import { measureAudit } from "./audit_suite.ts";
import { failuresIn, tableOf } from "./comparison_table.ts";
import { measureDecisions } from "./decide.ts";
import { measureFanout } from "./fanout.ts";
import { measureGrowth } from "./growth.ts";
import { measureIdle } from "./idle.ts";
import { measureLatency } from "./latency.ts";
import { thisCommit, thisMachine } from "./machine.ts";
import { measureMemory } from "./mem.ts";
import { HELP, readOptions, type Settings, type SuiteName } from "./options.ts";
import { startPostgres } from "./postgres.ts";
import { measureScale } from "./scale.ts";
import type { Suite } from "./suite.ts";
import { measureThroughput } from "./throughput.ts";

const clock = systemClock();
const progress = (line: string) => void process.stderr.write(`${line}\n`);
const cleanup = new Cleanup();

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    progress(`bench: ${signal}, cleaning up`);
    void cleanup.run().then(() => process.exit(signal === "SIGINT" ? 130 : 143));
  });
}

const MEASURE: Readonly<Record<SuiteName, Suite>> = {
  noop: (context) => measureThroughput("noop", context),
  steps3: (context) => measureThroughput("steps3", context),
  tools: (context) => measureThroughput("tools", context),
  fanout: measureFanout,
  latency: measureLatency,
  idle: measureIdle,
  growth: measureGrowth,
  scale: measureScale,
  mem: measureMemory,
  decide: async ({ settings: { samples } }) => ({ decisions: measureDecisions(samples, { clock, progress }), samples }),
  async audit({ settings: { records, seconds } }) {
    progress("audit: starting an embedded Postgres");
    const { url: databaseUrl, home, facts } = await startPostgres({ clock }, cleanup);
    const sizes = { records, windowMs: seconds * SECOND };
    const setting = { databaseUrl, home: join(home, "audit"), ...sizes, clock, progress, cleanup };
    return { ...(await measureAudit(setting)), postgres: facts };
  },
};

try {
  const settings = readOptions(process.argv.slice(2));
  if (settings === undefined) process.stdout.write(HELP);
  else await bench(settings);
} catch (error) {
  progress(`bench: ${messageOf(error)}`);
  process.exitCode = 1;
} finally {
  await cleanup.run();
}

async function bench(settings: Settings): Promise<void> {
  const figures = await MEASURE[settings.suite]({ settings, clock, progress, cleanup });
  const result = { suite: settings.suite, ...figures, machine: thisMachine(), commit: await thisCommit() };
  for (const line of tableOf(result)) progress(line);
  if (!settings.json) process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
  process.stdout.write(`${JSON.stringify(result)}\n`);
  const failures = failuresIn(result);
  if (failures.length > 0) throw new Error(failures.join("; "));
}
