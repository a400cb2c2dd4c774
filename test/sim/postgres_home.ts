// The Postgres of one run of the simulator: the one named by ORLOJ_TEST_DATABASE_URL, or an embedded one without fsync.
// Gives databases with every migration applied, whose time stands still until it is moved. Leaves nothing behind.

import { randomBytes } from "node:crypto";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { systemClock } from "../../kit/clock.ts";
import { openDatabase } from "../../server/storage/database.ts";
import { startEmbedded } from "../../server/storage/embedded/start.ts";
import { migrate } from "../../server/storage/migrate.ts";

export interface PostgresHome {
  readonly adminUrl: string;
  stop(): Promise<void>;
}

const SETTINGS = { fsync: "off", synchronous_commit: "off", full_page_writes: "off" };

export async function startPostgres(): Promise<PostgresHome> {
  const given = process.env["ORLOJ_TEST_DATABASE_URL"];
  if (given !== undefined) return { adminUrl: given, stop: async () => undefined };
  const folder = await mkdtemp(join(tmpdir(), "orloj-sim-"));
  // Postgres may run as another user, who must be able to pass through.
  await chmod(folder, 0o711);
  const home = join(folder, "home");
  const embedded = await startEmbedded({ home, clock: systemClock(), log: () => undefined, settings: SETTINGS });
  return {
    adminUrl: embedded.url,
    stop: async () => {
      await embedded.stop();
      await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    },
  };
}

// The product asks the database for the time, by this name; `public` is searched before pg_catalog here. So no stall of the
// machine and no step of its clock brings a deadline nearer.
const STOPPED_CLOCK = [
  "create table simulated_time (at timestamptz not null)",
  "insert into simulated_time values (pg_catalog.clock_timestamp())",
  `create function public.clock_timestamp() returns timestamptz language sql volatile
    as 'select at from public.simulated_time'`,
];

/** Makes a migrated database with a stopped clock; the result drops it. */
export async function makeDatabase(adminUrl: string): Promise<{ url: string; drop(): Promise<void> }> {
  const name = `orloj_sim_${randomBytes(5).toString("hex")}`;
  await administer(adminUrl, `CREATE DATABASE ${name} TEMPLATE template0 ENCODING 'UTF8'`);
  await administer(adminUrl, `ALTER DATABASE ${name} SET search_path = public, pg_catalog`);
  const url = new URL(adminUrl);
  url.pathname = `/${name}`;
  for (const statement of STOPPED_CLOCK) await administer(url.href, statement);
  const open = openDatabase({ url: url.href, poolMax: 1, patient: true });
  try {
    await migrate(open.db, { mode: "auto" });
  } finally {
    await open.close();
  }
  return { url: url.href, drop: () => administer(adminUrl, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`) };
}

async function administer(connectionString: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString, connectionTimeoutMillis: 10_000 });
  client.on("error", () => undefined);
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
