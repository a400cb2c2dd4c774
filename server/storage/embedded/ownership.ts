// Who uses an embedded Postgres: a lock for starting and stopping it, and a mark for each live server process on it.
// Called by start.ts. A process is named by its pid and its start time, so that a reused pid is not taken for it.
// Never waits for, nor steals from, a process that is alive longer than the lock's time limit.

import { readFileSync } from "node:fs";
import { link, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../../kit/clock.ts";
import { DomainError } from "../../../kit/errors.ts";
import { MINUTE } from "../../../kit/units.ts";

const LOCK_WAIT_MS = 3 * MINUTE;
const LOCK_POLL_MS = 25;
let marks = 0;

/** True if a process with this pid runs; a zombie does not. */
export function isAlive(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
  return statOf(pid)?.state !== "Z";
}

// Linux only; elsewhere a pid alone has to do.
function statOf(pid: number): { state: string; start: string } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return { state: fields[0] ?? "", start: fields[19] ?? "" };
  } catch {
    return undefined;
  }
}

function identityOf(pid: number): string {
  return `${pid}-${statOf(pid)?.start ?? "0"}`;
}

function livesOn(identity: string): boolean {
  const pid = Number(identity.split("-")[0]);
  return isAlive(pid) && identityOf(pid) === identity.split("-").slice(0, 2).join("-");
}

/** Runs fn while no other process runs one for the same folder. */
export async function withLock<Result>(base: string, clock: Clock, fn: () => Promise<Result>): Promise<Result> {
  const lock = join(base, "postgres.lock");
  const me = `${identityOf(process.pid)}-${++marks}`;
  const mine = `${lock}.${me}`;
  await writeFile(mine, me);
  const deadline = clock.monotonic() + LOCK_WAIT_MS;
  try {
    while (!(await linked(mine, lock))) {
      const holder = await readFile(lock, "utf8").catch(() => undefined);
      if (holder !== undefined && !livesOn(holder)) await removeStale(lock, holder, mine);
      else if (clock.monotonic() > deadline) {
        throw new DomainError("CONFIG_INVALID", `process ${holder} holds ${lock} for too long; end it and start again`);
      } else await clock.sleep(LOCK_POLL_MS);
    }
    try {
      return await fn();
    } finally {
      await rm(lock, { force: true });
    }
  } finally {
    await rm(mine, { force: true });
  }
}

// Linking is atomic and brings the content with it, so a lock is never seen empty.
async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

// Two processes may find the same stale lock: what was moved away is looked at again, and put back if it was a new one.
async function removeStale(lock: string, holder: string, mine: string): Promise<void> {
  const aside = `${mine}.stale`;
  try {
    await rename(lock, aside);
  } catch {
    return;
  }
  if ((await readFile(aside, "utf8")) !== holder) await linked(aside, lock);
  await rm(aside, { force: true });
}

/** Marks this process as a user of the Postgres; call under the lock. */
export async function addMark(base: string): Promise<{ remove(): Promise<void> }> {
  const folder = join(base, "postgres-users");
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, `${identityOf(process.pid)}-${++marks}`);
  await writeFile(path, "");
  return { remove: () => rm(path, { force: true }) };
}

/** Pids of the live users, as they are without the lock; changes nothing. */
export async function livePids(base: string): Promise<number[]> {
  const names = await readdir(join(base, "postgres-users")).catch(() => []);
  return names.filter(livesOn).map((name) => Number(name.split("-")[0]));
}

/** Pid of the process that holds the lock, and whether it lives; undefined while nobody holds it. Changes nothing. */
export async function lockHolder(base: string): Promise<{ readonly pid: number; readonly alive: boolean } | undefined> {
  const holder = await readFile(join(base, "postgres.lock"), "utf8").catch(() => undefined);
  return holder === undefined ? undefined : { pid: Number(holder.split("-")[0]), alive: livesOn(holder) };
}

/** Number of live users; marks of dead ones are removed. Call under the lock. */
export async function countMarks(base: string): Promise<number> {
  const folder = join(base, "postgres-users");
  let live = 0;
  for (const name of await readdir(folder).catch(() => [])) {
    if (livesOn(name)) live += 1;
    else await rm(join(folder, name), { force: true });
  }
  return live;
}
