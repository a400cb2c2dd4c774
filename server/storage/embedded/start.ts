// The embedded Postgres of a home: made on first use, started, adopted if it still runs, stopped by its last user.
// Called by main when ORLOJ_DATABASE_URL is not set, and by the test harness.
// The data directory is made beside its place and moved there whole, so a start that was cut off is simply repeated.
// Never removes a data directory and never opens it to the network: a socket inside it, or 127.0.0.1 when its path is too long.

import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import type { Clock } from "../../../kit/clock.ts";
import { DomainError, messageOf } from "../../../kit/errors.ts";
import { SECOND } from "../../../kit/units.ts";
import { choosePlace, giveTo, type Place } from "./account.ts";
import { addMark, countMarks, withLock } from "./ownership.ts";
import { findPostmaster, type Postmaster, SOCKET_PORT, startPostmaster, stopPostmaster } from "./postmaster.ts";
import { findSoftware, prepareSoftware, type Software, thisPlatform } from "./software.ts";

/** What to start. */
export interface EmbeddedOptions {
  /** ORLOJ_HOME; the data goes to its folder postgres. Made if missing. */
  readonly home: string;
  readonly clock: Clock;
  /** Told, in one line each, what an operator should know: the user it runs as, where the data is, copies made. */
  readonly log: (line: string) => void;
  /** Server settings over the defaults, such as fsync=off for tests. Only for a server that this call starts. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Platform of the programs; this machine's by default. */
  readonly platform?: string;
}

/** A running embedded Postgres. */
export interface EmbeddedPostgres {
  /** postgres:// URL with password; never log it. */
  readonly url: string;
  /** started: by this call. reattached: it ran already, left by a killed server or used by another one. */
  readonly how: "started" | "reattached";
  /** Process id of its postmaster. */
  readonly pid: number;
  /** Data directory. */
  readonly data: string;
  /** Stops it, unless another live server process uses it. Safe to call twice. */
  stop(): Promise<void>;
}

const USER = "orloj";
const DATABASE = "orloj";
const PASSWORD_FILE = "orloj.password";
const CONNECT_TIMEOUT_MS = 10 * SECOND;

/**
 * Starts or adopts the Postgres of a home.
 *
 * @throws DomainError CONFIG_INVALID: no programs for this platform, data of another major version, a folder that is not ours.
 * @throws DomainError STORAGE_UNAVAILABLE: the server did not start; the message ends with its own last lines.
 */
export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const native = findSoftware(options.platform ?? thisPlatform());
  const place = await choosePlace(options.home, options.log);
  const data = join(place.base, "postgres");
  const { postmaster, how, url, mark } = await withLock(place.base, options.clock, async () => {
    const software = await prepareSoftware(native, place.base, place.account, options.log);
    const found = existsSync(data) ? await findPostmaster(data, options.clock) : undefined;
    if (found === undefined) await ensureData(place, data, software);
    const postmaster = found ?? (await start(options, place, data, software));
    const url = await connectionUrl(postmaster, data);
    await ensureDatabase(url, data);
    const mark = await addMark(place.base);
    return { postmaster, how: found === undefined ? ("started" as const) : ("reattached" as const), url, mark };
  });
  let stopped: Promise<void> | undefined;
  const stop = () =>
    withLock(place.base, options.clock, async () => {
      await mark.remove();
      if ((await countMarks(place.base)) > 0) return;
      // Another server may have started it again since, after a crash.
      const current = await findPostmaster(data, options.clock);
      if (current !== undefined) await stopPostmaster(current, data, options.clock);
    });
  return {
    url,
    how,
    pid: postmaster.pid,
    data,
    stop: () => {
      stopped ??= stop();
      return stopped;
    },
  };
}

function start(options: EmbeddedOptions, place: Place, data: string, software: Software): Promise<Postmaster> {
  return startPostmaster({
    data,
    logFile: join(place.base, "postgres.log"),
    software,
    account: place.account,
    clock: options.clock,
    settings: options.settings ?? {},
  });
}

async function ensureData(place: Place, data: string, software: Software): Promise<void> {
  const version = await readFile(join(data, "PG_VERSION"), "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw new DomainError(
      "CONFIG_INVALID",
      `cannot read the data directory ${data} (${error.code}); start the server as the user who made it`,
      {},
      error,
    );
  });
  if (version === undefined) return initialise(place, data, software);
  if (Number(version) === software.major) return;
  throw new DomainError(
    "CONFIG_INVALID",
    `the data directory ${data} was made by PostgreSQL ${version.trim()}, this release brings ${software.major}; ` +
      `run it with a PostgreSQL ${version.trim()} and ORLOJ_DATABASE_URL, or move the folder away to start empty`,
  );
}

/** Makes an empty data directory whole or not at all. @throws DomainError STORAGE_UNAVAILABLE */
export async function initialise(place: Place, data: string, software: Software): Promise<void> {
  if (existsSync(data) && (await readdir(data)).length > 0) {
    const message = `${data} exists and is no Postgres data directory; move it away or choose another ORLOJ_HOME`;
    throw new DomainError("CONFIG_INVALID", message);
  }
  const fresh = `${data}.new`;
  const passwordFile = `${data}.password`;
  await rm(fresh, { recursive: true, force: true });
  await mkdir(fresh, { mode: 0o700 });
  await writeFile(passwordFile, randomBytes(24).toString("hex"), { mode: 0o600 });
  const { account } = place;
  if (account !== undefined) for (const path of [fresh, passwordFile]) await giveTo(account, path);
  const args = ["-D", fresh, "-U", USER, `--pwfile=${passwordFile}`, "--auth=scram-sha-256"];
  args.push("--encoding=UTF8", "--locale=C", "--no-instructions");
  try {
    await promisify(execFile)(software.initdb, args, {
      cwd: "/",
      env: software.env,
      ...(account === undefined ? {} : { uid: account.uid, gid: account.gid }),
    });
  } catch (error) {
    const { stderr } = error as { stderr?: string };
    const why = stderr?.trim().split("\n").slice(-4).join("\n") || messageOf(error);
    throw new DomainError("STORAGE_UNAVAILABLE", `the data directory ${data} could not be made: ${why}`, {}, error);
  }
  await rename(passwordFile, join(fresh, PASSWORD_FILE));
  await rename(fresh, data);
}

/** The URL of the owner of the database, with password. @throws DomainError CONFIG_INVALID for data that is not ours */
export async function connectionUrl(postmaster: Postmaster, data: string): Promise<string> {
  const password = await readFile(join(data, PASSWORD_FILE), "utf8").catch((error: unknown) => {
    const message = `${join(data, PASSWORD_FILE)} is missing: the data directory was not made by Orloj`;
    throw new DomainError("CONFIG_INVALID", message, {}, error);
  });
  const login = `${USER}:${password.trim()}`;
  if ("port" in postmaster.address) return `postgres://${login}@127.0.0.1:${postmaster.address.port}/${DATABASE}`;
  const folder = encodeURIComponent(postmaster.address.socketFolder);
  return `postgres://${login}@localhost:${SOCKET_PORT}/${DATABASE}?host=${folder}`;
}

/** Makes the database if it is not there. Also the proof that what answers is ours: it took the password of the data directory. */
export async function ensureDatabase(url: string, data: string): Promise<void> {
  const admin = new URL(url);
  admin.pathname = "/postgres";
  const client = new pg.Client({ connectionString: admin.href, connectionTimeoutMillis: CONNECT_TIMEOUT_MS });
  client.on("error", () => undefined);
  try {
    await client.connect();
    const { rowCount } = await client.query("SELECT 1 FROM pg_database WHERE datname = $1", [DATABASE]);
    if (rowCount === 0) await client.query(`CREATE DATABASE ${DATABASE}`);
  } catch (error) {
    const message = `Postgres on ${data} runs but refuses us: ${messageOf(error)}`;
    throw new DomainError("STORAGE_UNAVAILABLE", message, {}, error);
  } finally {
    await client.end().catch(() => undefined);
  }
}
