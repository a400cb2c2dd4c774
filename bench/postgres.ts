// The Postgres that is measured: the embedded one, in a temporary home, with its durable settings.
// Started by fleet.ts and main.ts. That fsync and its like are on is asked of the server itself, also for single roles and databases:
// a benchmark without them says nothing, and fails.

import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import type { Cleanup } from "../demo/fleet.ts";
import type { Clock } from "../kit/clock.ts";
import { startEmbedded } from "../server/storage/embedded/start.ts";

/** What makes a commit survive a loss of power. */
const DURABLE = ["fsync", "synchronous_commit", "full_page_writes"] as const;
/** Connections of the driver: counters, checks, one snapshot that stays open. */
const POOL_MAX = 4;

/** What stands in the result. */
export type PostgresFacts = { readonly version: string } & Readonly<Record<(typeof DURABLE)[number], "on">>;

/** A running Postgres. */
export interface BenchPostgres {
  /** As its owner; never shown. */
  readonly url: string;
  /** Home of a server that is to work on it. */
  readonly home: string;
  readonly logFile: string;
  /** The driver's own connections, as the owner. */
  readonly pool: pg.Pool;
  readonly facts: PostgresFacts;
}

/** Starts one. @param settings over the durable ones, such as what it logs @throws Error if a setting is not durable */
export async function startPostgres(
  { clock, settings = {} }: { readonly clock: Clock; readonly settings?: Readonly<Record<string, string>> },
  cleanup: Cleanup,
): Promise<BenchPostgres> {
  const home = await temporaryHome(cleanup);
  const embedded = await startEmbedded({ home, clock, settings, log: () => undefined });
  cleanup.add(() => embedded.stop());
  const pool = openPool(embedded.url, cleanup);
  return { url: embedded.url, home, logFile: `${embedded.data}.log`, pool, facts: await requireDurable(pool) };
}

/** A folder that is removed at the end. */
export async function temporaryHome(cleanup: Cleanup): Promise<string> {
  const home = await mkdtemp(join(tmpdir(), "orloj-bench-"));
  cleanup.add(() => rm(home, { recursive: true, force: true, maxRetries: 3 }));
  // Postgres refuses to run as root; the user it then runs as has to pass through.
  await chmod(home, 0o711);
  return home;
}

/** Makes a database beside the measured one, if it is not there yet, and returns its URL. */
export async function otherDatabase({ pool, url }: Pick<BenchPostgres, "url" | "pool">, name: string): Promise<string> {
  const { rowCount } = await pool.query("select from pg_database where datname = $1", [name]);
  if (rowCount === 0) await pool.query(`create database ${name}`);
  return Object.assign(new URL(url), { pathname: `/${name}` }).href;
}

function openPool(url: string, cleanup: Cleanup): pg.Pool {
  const pool = new pg.Pool({ connectionString: url, max: POOL_MAX, application_name: "bench-driver" });
  pool.on("error", () => undefined);
  cleanup.add(() => pool.end());
  return pool;
}

/** What the server says of its commits. @throws Error if a loss of power could take one back, also for one role or database */
export async function requireDurable(pool: pg.Pool): Promise<PostgresFacts> {
  const { rows } = await pool.query<{ name: string; setting: string }>(
    `select name, setting from pg_settings where name = any($1)
     union all select split_part(entry, '=', 1), split_part(entry, '=', 2)
       from pg_db_role_setting, unnest(setconfig) entry where split_part(entry, '=', 1) = any($1)`,
    [DURABLE],
  );
  const off = rows.filter(({ setting }) => setting !== "on").map(({ name, setting }) => `${name} = ${setting}`);
  if (off.length > 0) throw new Error(`Postgres does not commit durably: ${off.join(", ")}`);
  const known = new Set(rows.map(({ name }) => name));
  const missing = DURABLE.filter((name) => !known.has(name));
  if (missing.length > 0) throw new Error(`Postgres does not tell ${missing.join(", ")}`);
  const version = await pool.query<{ server_version: string }>("show server_version");
  return {
    version: version.rows[0]?.server_version ?? "unknown",
    ...{ fsync: "on", synchronous_commit: "on", full_page_writes: "on" },
  };
}
