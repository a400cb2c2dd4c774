// Starts, recognises and stops the postmaster of one data directory.
// Called by start.ts, under its lock. Reads postmaster.pid, whose lines PostgreSQL's pidfile.h fixes: pid, data directory,
// start time, port, socket folder, listen address, shared memory, status.
// Never decides whether it may be stopped.

import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { readFile, rename, rm, stat } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import type { Clock } from "../../../kit/clock.ts";
import { DomainError } from "../../../kit/errors.ts";
import { MIB, MINUTE, SECOND } from "../../../kit/units.ts";
import type { Account } from "./account.ts";
import { isAlive } from "./ownership.ts";
import type { Software } from "./software.ts";

/** A postmaster that runs. */
export interface Postmaster {
  readonly pid: number;
  /** Where it listens: the folder of its socket, or a port of 127.0.0.1. */
  readonly address: { readonly socketFolder: string } | { readonly port: number };
}

/** What is needed to start one. */
export interface PostmasterOptions {
  readonly data: string;
  readonly logFile: string;
  readonly software: Software;
  readonly account: Account | undefined;
  readonly clock: Clock;
  /** Over the defaults below. */
  readonly settings: Readonly<Record<string, string>>;
}

/** The port that names the socket file; no TCP port is opened beside a socket. */
export const SOCKET_PORT = 5432;
// sun_path holds 108 bytes on Linux and 104 on macOS, with the closing zero.
const SOCKET_PATH_BYTES_MAX = process.platform === "darwin" ? 103 : 107;
// Replaying the log after a crash may take this long.
const START_TIMEOUT_MS = 5 * MINUTE;
const FAST_STOP_MS = 30 * SECOND;
const POLL_MS = 15;
const RETRY_MS = 250;
const RETRIES = 60;
const LOG_BYTES_MAX = 8 * MIB;

const SETTINGS: Readonly<Record<string, string>> = {
  fsync: "on",
  synchronous_commit: "on",
  shared_buffers: "128MB",
  max_connections: "100",
  random_page_cost: "1.1",
  jit: "off",
  max_wal_size: "1GB",
  max_parallel_workers_per_gather: "0",
  log_checkpoints: "off",
  log_min_messages: "warning",
  // Statement texts may hold what callers sent.
  log_min_error_statement: "panic",
  logging_collector: "off",
};

/** Pid of the postmaster that runs on a data directory; undefined if none does. Waits for nothing, changes nothing. */
export async function postmasterPid(data: string): Promise<number | undefined> {
  const pid = Number((await pidFile(data))[0]);
  return isAlive(pid) && isPostmasterOf(pid, data) ? pid : undefined;
}

/** The postmaster that runs on a data directory, undefined if none does; a stale pid file is removed when it would mislead Postgres. */
export async function findPostmaster(data: string, clock: Clock): Promise<Postmaster | undefined> {
  const deadline = clock.monotonic() + START_TIMEOUT_MS;
  for (;;) {
    const lines = await pidFile(data);
    const pid = Number(lines[0]);
    if (!isAlive(pid)) return undefined;
    if (!isPostmasterOf(pid, data)) {
      // The pid now belongs to another program, which Postgres would take for a postmaster.
      for (const name of ["postmaster.pid", `.s.PGSQL.${SOCKET_PORT}.lock`])
        await rm(join(data, name), { force: true });
      return undefined;
    }
    if (lines[7]?.trim() === "ready") return { pid, address: addressOf(lines) };
    if (clock.monotonic() > deadline) throw notReady(data, "a postmaster found running is not ready");
    await clock.sleep(POLL_MS);
  }
}

/** Starts a postmaster in a session of its own, so that neither Ctrl-C nor our death stops it in mid-write. */
export async function startPostmaster(options: PostmasterOptions): Promise<Postmaster> {
  const { data, clock } = options;
  await rotateLog(options.logFile);
  for (let attempt = 0; ; attempt += 1) {
    const port = socketFits(data) ? undefined : await freePort();
    const logStart = (await stat(options.logFile).catch(() => undefined))?.size ?? 0;
    const child = launch(options, port);
    const found = await untilReady(child, data, clock);
    if (found !== undefined) return found;
    const text = readFileSync(options.logFile).subarray(logStart).toString("utf8").trim();
    // Processes of a postmaster that was killed leave within a second; a port may be taken between our look and its bind.
    const passing = /pre-existing shared memory block|already exists|already in use|could not bind/.test(text);
    if (!passing || attempt >= RETRIES) throw notReady(data, text.split("\n").slice(-8).join("\n"));
    await clock.sleep(RETRY_MS);
  }
}

/** Stops a postmaster: sessions are ended, nothing is lost. Resolves when it is gone. */
export async function stopPostmaster(postmaster: Postmaster, data: string, clock: Clock): Promise<void> {
  for (const signal of ["SIGINT", "SIGQUIT"] as const) {
    if (!isAlive(postmaster.pid) || !isPostmasterOf(postmaster.pid, data)) return;
    process.kill(postmaster.pid, signal);
    const deadline = clock.monotonic() + FAST_STOP_MS;
    while (isAlive(postmaster.pid) && clock.monotonic() < deadline) await clock.sleep(POLL_MS);
  }
  if (isAlive(postmaster.pid)) {
    throw new DomainError("STORAGE_UNAVAILABLE", `Postgres (process ${postmaster.pid}) on ${data} does not stop`);
  }
}

function launch(options: PostmasterOptions, port: number | undefined): ChildProcess {
  const { data, software, account } = options;
  const where: Record<string, string> =
    port === undefined
      ? {
          listen_addresses: "",
          unix_socket_directories: data,
          unix_socket_permissions: "0700",
          port: String(SOCKET_PORT),
        }
      : { listen_addresses: "127.0.0.1", unix_socket_directories: "", port: String(port) };
  const settings = {
    ...SETTINGS,
    ...(software.major >= 18 ? { io_method: "sync" } : {}),
    ...options.settings,
    ...where,
  };
  const args = ["-D", data, ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])];
  const log = openSync(options.logFile, "a", 0o600);
  try {
    const child = spawn(software.postgres, args, {
      cwd: "/",
      detached: true,
      stdio: ["ignore", log, log],
      env: software.env,
      ...(account === undefined ? {} : { uid: account.uid, gid: account.gid }),
    });
    child.unref();
    return child;
  } finally {
    closeSync(log);
  }
}

// undefined: it ended before it was ready.
async function untilReady(child: ChildProcess, data: string, clock: Clock): Promise<Postmaster | undefined> {
  let ended = false;
  child.once("exit", () => {
    ended = true;
  });
  child.once("error", () => {
    ended = true;
  });
  const deadline = clock.monotonic() + START_TIMEOUT_MS;
  while (!ended) {
    const lines = await pidFile(data);
    if (Number(lines[0]) === child.pid && lines[7]?.trim() === "ready")
      return { pid: child.pid, address: addressOf(lines) };
    if (clock.monotonic() > deadline) {
      child.kill("SIGQUIT");
      throw notReady(data, "it was not ready in time");
    }
    await clock.sleep(POLL_MS);
  }
  return undefined;
}

async function pidFile(data: string): Promise<string[]> {
  return (await readFile(join(data, "postmaster.pid"), "utf8").catch(() => "")).split("\n");
}

function addressOf(lines: readonly string[]): Postmaster["address"] {
  const socketFolder = lines[4]?.trim();
  return socketFolder ? { socketFolder } : { port: Number(lines[3]) };
}

// The command line is readable for everyone; the working folder is not, even for root in a container.
function isPostmasterOf(pid: number, data: string): boolean {
  if (process.platform !== "linux") return true;
  try {
    const args = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
    return /postgres$/.test(args[0] ?? "") && args.includes(data);
  } catch {
    return false;
  }
}

function socketFits(data: string): boolean {
  return Buffer.byteLength(join(data, `.s.PGSQL.${SOCKET_PORT}`)) <= SOCKET_PATH_BYTES_MAX;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}

// One old log is kept, so that logs never take more than twice the limit for long.
async function rotateLog(logFile: string): Promise<void> {
  const size = (await stat(logFile).catch(() => undefined))?.size ?? 0;
  if (size > LOG_BYTES_MAX) await rename(logFile, `${logFile}.1`);
}

function notReady(data: string, why: string): DomainError {
  return new DomainError("STORAGE_UNAVAILABLE", `Postgres on ${data} did not start: ${why}`);
}
