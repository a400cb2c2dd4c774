// Finds what a test run left behind: processes, listening ports, temporary folders, databases.
// Called by global_setup.ts at the end of the run; a leak fails the run and is then removed.
// A process belongs to the run if it inherited the run's mark, or works in, or was given, a path of the run's folder: command
// tools get an empty environment.

import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { basename } from "node:path";

/** Environment variable that every process of a run inherits. */
export const RUN_MARK = "TEST_RUN_FOLDER";
// Made by the tools that run the tests, not by the tests.
const TOOL_FOLDERS = /^(node-compile-cache|vitest|v8-compile-cache|rolldown)/;

/** A process of the run. */
export interface LeftProcess {
  readonly pid: number;
  readonly command: string;
  readonly ports: readonly number[];
}

/** Processes of the run that still run, without this one and the test runner's own; none where there is no /proc. */
export function leftProcesses(runFolder: string): LeftProcess[] {
  const own = new Set([process.pid, process.ppid]);
  const left: LeftProcess[] = [];
  for (const entry of listed("/proc")) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || own.has(pid)) continue;
    const command = text(`/proc/${pid}/cmdline`).replaceAll("\0", " ").trim();
    if (command === "" || /^vitest|^node \(vitest|node_modules\/(vitest|tinypool|rolldown|vite)\//.test(command))
      continue;
    const marked = text(`/proc/${pid}/environ`).split("\0").includes(`${RUN_MARK}=${runFolder}`);
    if (marked || command.includes(runFolder) || linkOf(`/proc/${pid}/cwd`).startsWith(runFolder)) {
      left.push({ pid, command: command.slice(0, 200), ports: listeningPorts(pid) });
    }
  }
  return left;
}

/** Names in the run's temporary folder that no test tool made. */
export function leftFiles(temporary: string): string[] {
  return listed(temporary).filter((name) => !TOOL_FOLDERS.test(basename(name)));
}

function listeningPorts(pid: number): number[] {
  const sockets = new Set(listed(`/proc/${pid}/fd`).map((fd) => linkOf(`/proc/${pid}/fd/${fd}`)));
  return ["tcp", "tcp6"].flatMap((family) =>
    text(`/proc/${pid}/net/${family}`)
      .split("\n")
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields[3] === "0A" && sockets.has(`socket:[${fields[9]}]`))
      .map((fields) => Number.parseInt(fields[1]?.split(":")[1] ?? "0", 16)),
  );
}

function listed(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function text(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}
