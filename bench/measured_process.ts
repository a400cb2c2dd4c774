// Runs a program of this repository to its end and tells how long it took and how much memory it had at most.
// Called by audit_suite.ts. The memory is what the system itself counts, so that nothing between two looks is missed.

import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import type { Clock } from "../kit/clock.ts";
import { KIB, SECOND } from "../kit/units.ts";

const LOOK_MS = 100;
/** Clock ticks a second in which Linux counts processor time. */
const TICK_MS = SECOND / 100;

/** How a program ran. */
export interface Measured {
  readonly code: number | null;
  readonly stdout: string;
  readonly ms: number;
  /** Processor time, which neighbours on the machine do not lengthen; 0 where the system does not tell. */
  readonly cpuMs: number;
  /** Peak resident memory; 0 where the system does not tell. */
  readonly peakBytes: number;
}

/** Runs node with these arguments in a folder; its messages are shown. */
export async function runMeasured(args: readonly string[], folder: string, clock: Clock): Promise<Measured> {
  const begin = clock.monotonic();
  const child = spawn(process.execPath, args, { cwd: folder, stdio: ["ignore", "pipe", "inherit"] });
  let stdout = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  const ended = new AbortController();
  const code = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  }).finally(() => ended.abort());
  let peakBytes = 0;
  let cpuMs = 0;
  while (!ended.signal.aborted) {
    peakBytes = Math.max(peakBytes, peakOf(child.pid));
    cpuMs = Math.max(cpuMs, cpuOf(child.pid));
    await clock.sleep(LOOK_MS, ended.signal);
  }
  return { code: await code, stdout, ms: clock.monotonic() - begin, cpuMs, peakBytes };
}

function peakOf(pid: number | undefined): number {
  try {
    const [, kibibytes = "0"] = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
    return Number(kibibytes) * KIB;
  } catch {
    return 0;
  }
}

// User and system time are the 14th and 15th field; the second one is a name in brackets that may hold blanks.
function cpuOf(pid: number | undefined): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
    return (Number(fields[11]) + Number(fields[12])) * TICK_MS || 0;
  } catch {
    return 0;
  }
}
