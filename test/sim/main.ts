// The simulator: `npm run sim`. Progress goes to stderr; the last line on stdout is one JSON object. Exit 1 for a violation.
// Two lanes search histories of the world in memory, then two hold the SQL layer to it. Ends by itself and leaves nothing behind.

import { performance } from "node:perf_hooks";
import { parseArgs } from "node:util";
import { Cleanup } from "../../demo/fleet.ts";
import { messageOf } from "../../kit/errors.ts";
import { runPlanted } from "../planted/main.ts";
import { FAULT_KINDS } from "./driver.ts";
import { runLane } from "./lane.ts";
import { makeDatabase, startPostgres } from "./postgres_home.ts";
import { medianOf, type SearchReport } from "./search.ts";

const HELP = `Usage: npm run sim -- [options]

  --histories N  histories of the world in memory; default 210000
  --sql N        histories that the SQL layer is held to as well; default 400
  --seed N       repeats a search; printed by every run
  --path P       only the counterexample of a seed: the path that was printed with it
  --planted      instead: plants each bug of test/planted in a copy of the tree, and demands that it is caught
  --json         nothing but the JSON line on stdout
`;

const LANES = 2;
const SQL_TIME_MS = 22_000;

interface SimOptions {
  readonly histories: number;
  readonly sql: number;
  readonly seed: number;
  readonly path?: string;
}

const cleanup = new Cleanup();
const progress = (line: string) => void process.stderr.write(`${line}\n`);

/** Searches both layers; lanes that found nothing, and those that found something. */
async function simulate(options: SimOptions): Promise<{ memory: SearchReport[]; sql: SearchReport[] }> {
  const { seed, path } = options;
  const lanes = path === undefined ? LANES : 1;
  const share = (total: number) => Math.ceil(total / lanes);
  const at = path === undefined ? {} : { path };
  const memory = await Promise.all(
    Array.from({ length: lanes }, (_, lane) =>
      runLane({ layer: "memory", seed: seed + lane, histories: share(options.histories), ...at }),
    ),
  );
  if (options.sql === 0 || memory.some((report) => report.broken !== undefined)) return { memory, sql: [] };
  progress(`sim: ${memory.reduce((sum, report) => sum + report.histories, 0)} histories in memory; now the SQL layer`);
  const home = await startPostgres();
  cleanup.add(() => home.stop());
  const databases = await Promise.all(Array.from({ length: lanes }, () => makeDatabase(home.adminUrl)));
  try {
    const sql = await Promise.all(
      databases.map(({ url }, lane) =>
        runLane({ layer: "sql", url, seed: seed + lane, histories: share(options.sql), timeMs: SQL_TIME_MS, ...at }),
      ),
    );
    return { memory, sql };
  } finally {
    await Promise.all(databases.map((database) => database.drop()));
  }
}

function tell(report: SearchReport): void {
  const { broken } = report;
  if (broken === undefined) return;
  progress(`\nVIOLATED: ${broken.rule}`);
  for (const line of broken.witness) progress(`  ${line}`);
  progress(`words, for test/sim/regressions.ts: ${JSON.stringify(broken.words)}`);
  progress(`again: npm run sim -- --seed ${broken.seed} --path ${broken.path}`);
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      ...{ histories: { type: "string", default: "210000" }, sql: { type: "string", default: "400" } },
      ...{ seed: { type: "string" }, path: { type: "string" }, help: { type: "boolean", default: false } },
      ...{ planted: { type: "boolean", default: false }, json: { type: "boolean", default: false } },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const startedMs = performance.now();
  const seconds = () => Math.round((performance.now() - startedMs) / 100) / 10;
  if (values.planted) {
    const { planted, caught, problems } = await runPlanted(progress, cleanup);
    process.stdout.write(`${JSON.stringify({ planted, caught, problems, seconds: seconds() })}\n`);
    return caught === planted ? 0 : 1;
  }
  const seed = numberOf(values.seed ?? String(Date.now() % 2 ** 31), "seed");
  const { path } = values;
  const found = await simulate({
    ...{ histories: numberOf(values.histories, "histories"), sql: numberOf(values.sql, "sql"), seed },
    ...(path !== undefined && { path }),
  });
  const all = [...found.memory, ...found.sql];
  for (const report of all) tell(report);
  const violations = all.filter((report) => report.broken !== undefined).length;
  const sum = (reports: readonly SearchReport[]) => reports.reduce((total, report) => total + report.histories, 0);
  const faults = Object.fromEntries(
    FAULT_KINDS.map((kind) => [kind, found.memory.reduce((total, report) => total + report.faults[kind], 0)]),
  );
  const summary = {
    ...{ histories: sum(found.memory), violations, commands_median: medianOf(found.memory), faults },
    ...{ sql_histories: sum(found.sql), seconds: seconds(), seed },
  };
  if (!values.json) process.stdout.write(`${told(found.memory)}\n`);
  process.stdout.write(`${JSON.stringify(summary)}\n`);
  return violations === 0 ? 0 : 1;
}

// What was seen how often, so that a search that tries nothing shows.
function told(reports: readonly SearchReport[]): string {
  const seen = new Map<string, number>();
  for (const report of reports) {
    for (const [name, times] of Object.entries(report.seen)) seen.set(name, (seen.get(name) ?? 0) + times);
  }
  const lines = [...seen].sort(([, a], [, b]) => b - a).map(([name, times]) => `  ${name}: ${times}`);
  return ["seen:", ...lines].join("\n");
}

function numberOf(text: string, option: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${option} takes a whole number, not "${text}"`);
  return value;
}

if (import.meta.main) {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      progress(`sim: ${signal}, cleaning up`);
      void cleanup.run().then(() => process.exit(signal === "SIGINT" ? 130 : 143));
    });
  }
  try {
    process.exitCode = await main();
  } catch (error) {
    progress(`sim: ${messageOf(error)}`);
    process.exitCode = 2;
  } finally {
    await cleanup.run();
  }
}
