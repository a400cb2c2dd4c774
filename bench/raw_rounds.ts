// Rounds of the raw limit: by the script raw_limit.ts, and by pgbench with the same statements where that is installed.
// Called by throughput.ts in turn with ours and the peers, on a database beside the measured one.

import { execFile } from "node:child_process";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { runMeasured } from "./measured_process.ts";
import { type BenchPostgres, otherDatabase, temporaryHome } from "./postgres.ts";
import { RAW_BATCH, RAW_CLAIM, RAW_COMPLETE, RAW_FILL } from "./raw_sql.ts";
import type { SuiteContext } from "./suite.ts";

/** Connections of pgbench; beyond a few it is the processors that limit. */
const CLIENTS = 4;
/** Stands in place of a figure. */
const NO_PGBENCH = "not run: there is no pgbench in PATH";

/** What one round reached. */
export interface RawLimit {
  readonly tasksPerSecond: number;
  /** Tasks a second, or why there is no figure. */
  readonly pgbench: number | string;
}

/** Measures one round. @throws Error when not every task was completed */
export async function measureRawLimit(postgres: BenchPostgres, context: SuiteContext): Promise<RawLimit> {
  const { settings, clock, cleanup, progress } = context;
  const url = await otherDatabase(postgres, "bench_raw");
  const batches = Math.max(CLIENTS, Math.round(settings.rawTasks / RAW_BATCH / CLIENTS) * CLIENTS);
  const args = [join(import.meta.dirname, "raw_limit.ts"), String(batches * RAW_BATCH)];
  const env = { RAW_DATABASE_URL: url };
  const { code, stdout } = await runMeasured({ args, folder: import.meta.dirname, env }, clock, cleanup);
  if (code !== 0) throw new Error(`the raw limit ended with ${code}: ${stdout.trim()}`);
  const { tasks, seconds } = JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as { tasks: number; seconds: number };
  const pgbench = (await hasPgbench()) ? await runPgbench(url, batches, context) : NO_PGBENCH;
  progress(`raw limit: ${Math.round(tasks / seconds)} tasks/s; pgbench: ${pgbench}`);
  return { tasksPerSecond: tasks / seconds, pgbench };
}

async function hasPgbench(): Promise<boolean> {
  return await promisify(execFile)("pgbench", ["--version"]).then(
    () => true,
    () => false,
  );
}

async function runPgbench(url: string, batches: number, { clock, cleanup }: SuiteContext): Promise<number> {
  const pool = new pg.Pool({ connectionString: url, max: 1 });
  try {
    await pool.query("truncate raw_task");
    await pool.query(RAW_FILL, [batches * RAW_BATCH]);
    await pool.query("vacuum (analyze) raw_task");
    const folder = await temporaryHome(cleanup);
    const script = join(folder, "raw.sql");
    const oneLine = (sql: string) => sql.replaceAll(/\s+/g, " ");
    await writeFile(script, `${oneLine(RAW_CLAIM)} \\gset\n${oneLine(RAW_COMPLETE).replace("%IDS%", ":ids")};\n`);
    const each = String(batches / CLIENTS);
    const how = [
      "--no-vacuum",
      "--protocol=prepared",
      `--client=${CLIENTS}`,
      `--transactions=${each}`,
      `--file=${script}`,
    ];
    const { code, stdout } = await runMeasured({ command: "pgbench", args: [...how, url], folder }, clock, cleanup);
    await rm(folder, { recursive: true, force: true });
    const [, tps] = /^tps = ([\d.]+)/m.exec(stdout) ?? [];
    const { rows } = await pool.query<{ done: number }>(
      "select count(*)::integer as done from raw_task where state = 2",
    );
    if (code !== 0 || tps === undefined || rows[0]?.done !== batches * RAW_BATCH) {
      throw new Error(`pgbench ended with ${code} and ${rows[0]?.done} tasks: ${stdout.trim()}`);
    }
    return Number(tps) * RAW_BATCH;
  } finally {
    await pool.end();
  }
}
