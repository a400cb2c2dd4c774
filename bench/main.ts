// The benchmark: `npm run bench`. Progress goes to stderr; the last line on stdout is one JSON object.
// Driver (this process), server, worker and Postgres are processes of their own, nothing is switched off for it; but the suite
// `decide`, which measures policies in this process alone.
// Ends by itself; leaves no process, port or file behind, however it ends.

import { parseArgs } from "node:util";
import { Cleanup } from "../demo/fleet.ts";
import { systemClock } from "../kit/clock.ts";
import { messageOf } from "../kit/errors.ts";
import { measureAudit } from "./audit_suite.ts";
import { measureDecisions } from "./decide.ts";
import { startFleet, startPostgres } from "./fleet.ts";
import { thisCommit, thisMachine } from "./machine.ts";
import { percentile } from "./percentile.ts";
import { measureStartLatency, measureThroughput } from "./suites.ts";

const HELP = `Usage: npm run bench -- [options]

  --suite NAME          noop (default): throughput and start latency; latency: the second alone;
                        decide: decisions of 100, 10 and 1 policies, in process; audit: a long audit trail
  --runs N              measured runs of the throughput window; default 10000
  --in-flight N         runs between Invoke and their end at the same time, and slots of the worker; default 50
  --samples N           invocations of the latency measurement, default 300; decisions of each number, default 20000
  --records N           records of the audit trail; default 1000000
  --profile DIR         write CPU profiles of server and worker there; the numbers are then lower
  --json                nothing but the JSON line on stdout
`;

interface Options {
  readonly suite: "noop" | "latency" | "decide" | "audit";
  readonly runs: number;
  readonly inFlight: number;
  readonly samples: number;
  readonly records: number;
  readonly profileFolder?: string;
  readonly json: boolean;
}

const clock = systemClock();
const progress = (line: string) => void process.stderr.write(`${line}\n`);
const cleanup = new Cleanup();

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    progress(`bench: ${signal}, cleaning up`);
    void cleanup.run().then(() => process.exit(signal === "SIGINT" ? 130 : 143));
  });
}

const RESULTS: Readonly<Record<Options["suite"], (options: Options) => Promise<object>>> = {
  noop: fleetResult,
  latency: fleetResult,
  decide: decideResult,
  audit: auditResult,
};

try {
  const options = readOptions();
  if (options === undefined) process.stdout.write(HELP);
  else await bench(options);
} catch (error) {
  progress(`bench: ${messageOf(error)}`);
  process.exitCode = 1;
}

async function bench(options: Options): Promise<void> {
  const result = await RESULTS[options.suite](options);
  if (!options.json) process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
  process.stdout.write(`${JSON.stringify(result)}\n`);
}

async function decideResult({ suite, samples }: Options): Promise<object> {
  const decisions = measureDecisions(samples, { clock, progress });
  return { suite, decisions, samples, machine: thisMachine(), commit: await thisCommit() };
}

async function auditResult({ suite, records }: Options): Promise<object> {
  progress("bench: starting an embedded Postgres");
  try {
    const { databaseUrl, home } = await startPostgres(clock, cleanup);
    const figures = await measureAudit({ databaseUrl, home, records, clock, progress });
    return { suite, ...figures, machine: thisMachine(), commit: await thisCommit() };
  } finally {
    await cleanup.run();
  }
}

async function fleetResult({ suite, runs, inFlight, samples, profileFolder }: Options): Promise<object> {
  progress("bench: starting an embedded Postgres, a server and a worker");
  try {
    const fleet = await startFleet(
      { clock, slots: inFlight, ...(profileFolder !== undefined && { profileFolder }) },
      cleanup,
    );
    const latencies = await measureStartLatency(fleet, samples, { clock, progress });
    const window =
      suite === "noop" ? await measureThroughput(fleet, { runs, inFlight }, { clock, progress }) : undefined;
    return {
      suite,
      ...(window && { tasks_per_s: Math.round(window.tasksPerSecond) }),
      start_latency_ms: { p50: tenths(percentile(latencies, 0.5)), p99: tenths(percentile(latencies, 0.99)) },
      in_flight: window ? inFlight : 1,
      runs: window ? window.runs : latencies.length,
      ...(window && { seconds: tenths(window.seconds) }),
      machine: thisMachine(),
      commit: await thisCommit(),
    };
  } finally {
    await cleanup.run();
  }
}

function readOptions(): Options | undefined {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    options: {
      ...{ suite: text, runs: text, "in-flight": text, samples: text, records: text, profile: text },
      json: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return undefined;
  const suite = values.suite ?? "noop";
  if (suite !== "noop" && suite !== "latency" && suite !== "decide" && suite !== "audit") {
    throw new Error(`--suite: "${suite}" is not noop, latency, decide or audit`);
  }
  return {
    suite,
    runs: count("--runs", values.runs, 10_000, 10_000_000),
    inFlight: count("--in-flight", values["in-flight"], 50, 1_000),
    samples: count("--samples", values.samples, suite === "decide" ? 20_000 : 300, 1_000_000),
    records: count("--records", values.records, 1_000_000, 50_000_000),
    ...(values.profile !== undefined && { profileFolder: values.profile }),
    json: values.json,
  };
}

function count(name: string, text: string | undefined, otherwise: number, most: number): number {
  if (text === undefined) return otherwise;
  const value = /^\d{1,8}$/.test(text) ? Number(text) : 0;
  if (value < 1 || value > most) throw new Error(`${name}: "${text}" is not a whole number from 1 to ${most}`);
  return value;
}

function tenths(value: number): number {
  return Math.round(value * 10) / 10;
}
