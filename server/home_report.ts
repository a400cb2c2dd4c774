// What the home of a server of this machine says without that server: its files, its embedded Postgres, its log, its disk.
// Called by cli/doctor.ts, also when no server runs. Reads only; never a secret, never waits for a lock.

import { existsSync, statSync } from "node:fs";
import { open, readFile, statfs } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "../kit/errors.ts";
import { KIB } from "../kit/units.ts";
import { diskLook } from "./commands/diagnose_host.ts";
import { type Finding, fine, lookAll, trouble } from "./commands/findings.ts";
import { existingBase } from "./storage/embedded/account.ts";
import { livePids, lockHolder } from "./storage/embedded/ownership.ts";
import { postmasterPid } from "./storage/embedded/postmaster.ts";
import { findSoftware, thisPlatform } from "./storage/embedded/software.ts";

const TAIL_BYTES = 64 * KIB;
const LINES_SHOWN = 3;
const OTHERS = 0o077;

/** Findings about a home, oldest cause first. Never throws. */
export async function homeReport(home: string): Promise<Finding[]> {
  if (!existsSync(home)) return [fine("home.folder", "no server has run here yet", home)];
  const base = await existingBase(home).catch(() => undefined);
  const disk = async () => {
    const { bavail, blocks, bsize } = await statfs(home);
    return { path: home, freeBytes: bavail * bsize, totalBytes: blocks * bsize };
  };
  return await lookAll([
    { name: "home.config", run: async () => [configFinding(join(home, "config.json"))] },
    { name: "home.programs", run: async () => [programsFinding()] },
    ...(base === undefined ? [] : [{ name: "home.database", run: () => databaseFindings(base) }]),
    diskLook({ disk }, "home.disk"),
  ]);
}

function configFinding(path: string): Finding {
  const id = "home.config";
  if (!existsSync(path)) {
    const message = "there is no such file: no server has written one here";
    return fine(id, message, path);
  }
  if ((statSync(path).mode & OTHERS) === 0) return fine(id, "there, and readable by its owner only", path);
  const message = "others may read or write it, and it holds tokens";
  return trouble("warning", id, { subject: path, message, nextStep: `chmod 600 ${path}` });
}

function programsFinding(): Finding {
  const id = "home.programs";
  try {
    return fine(id, "the programs of an embedded Postgres are installed", findSoftware(thisPlatform()));
  } catch (error) {
    return fine(id, messageOf(error));
  }
}

async function databaseFindings(base: string): Promise<Finding[]> {
  const data = join(base, "postgres");
  const [pid, users, holder, version] = await Promise.all([
    postmasterPid(data),
    livePids(base),
    lockHolder(base),
    readFile(join(data, "PG_VERSION"), "utf8").catch(() => "?"),
  ]);
  const findings: Finding[] = [];
  const what = `PostgreSQL ${version.trim()}`;
  if (pid === undefined && users.length > 0) {
    const message = `${what} does not run, and server ${users.join(", ")} uses it: it is started again within seconds, or its log says why not`;
    findings.push(
      trouble("error", "home.database", { subject: data, message, nextStep: `see ${join(base, "postgres.log")}` }),
    );
  } else if (pid === undefined) findings.push(fine("home.database", `${what} is stopped, and no server uses it`, data));
  else if (users.length > 0) {
    findings.push(fine("home.database", `${what} runs as process ${pid} for server ${users.join(", ")}`, data));
  } else {
    const message = `${what} runs as process ${pid}, left by a server that was killed`;
    const nextStep = "start a server: it takes it over, with everything that was committed";
    findings.push(trouble("warning", "home.database", { subject: data, message, nextStep }));
  }
  if (holder !== undefined && !holder.alive) {
    const message = `process ${holder.pid} left its lock behind; the next start takes it away`;
    findings.push(fine("home.lock", message, join(base, "postgres.lock")));
  }
  const lines = pid === undefined ? await lastComplaints(join(base, "postgres.log")) : [];
  if (lines.length > 0) {
    const message = `its last words: ${lines.join(" | ")}`;
    const nextStep = "start the server, and look here again if it does not come up";
    findings.push(trouble("warning", "home.log", { subject: join(base, "postgres.log"), message, nextStep }));
  }
  return findings;
}

// The last lines that complain; a database that was told to stop says so as FATAL to whoever was connected.
async function lastComplaints(path: string): Promise<string[]> {
  const file = await open(path).catch(() => undefined);
  if (file === undefined) return [];
  try {
    const { size } = await file.stat();
    const from = Math.max(0, size - TAIL_BYTES);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(TAIL_BYTES), 0, TAIL_BYTES, from);
    const lines = buffer.subarray(0, bytesRead).toString("utf8").split("\n");
    return lines
      .filter((line) => /\b(FATAL|PANIC|ERROR):/.test(line) && !/administrator command/.test(line))
      .slice(-LINES_SHOWN);
  } finally {
    await file.close();
  }
}
