// Runs a program of this repository to its end and tells how long it took and how much memory it had at most.
// Called by audit_suite.ts, peer_rounds.ts and raw_rounds.ts. The memory is what the system itself counts, so that nothing between two
// looks is missed.

import { spawn } from "node:child_process";
import type { Cleanup } from "../demo/fleet.ts";
import type { Clock } from "../kit/clock.ts";
import { processFacts } from "./process_facts.ts";

const LOOK_MS = 100;

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

/** What to run. */
export interface MeasuredProgram {
  /** Arguments of this Node, or of `command`. */
  readonly args: readonly string[];
  /** Another program than this Node. */
  readonly command?: string;
  readonly folder: string;
  /** Variables beside those of this process. */
  readonly env?: Readonly<Record<string, string>>;
  /** Killed after so long, and its code is null then; without it, it may take for ever. */
  readonly msMax?: number;
}

/** Runs a program to its end; its messages are shown. It is killed when what was started is undone before that. */
export async function runMeasured(program: MeasuredProgram, clock: Clock, cleanup: Cleanup): Promise<Measured> {
  const begin = clock.monotonic();
  const child = spawn(program.command ?? process.execPath, program.args, {
    cwd: program.folder,
    env: { ...process.env, ...program.env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let stdout = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  const ended = new AbortController();
  const code = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  }).finally(() => ended.abort());
  code.catch(() => undefined);
  cleanup.add(async () => {
    child.kill("SIGKILL");
    await code.catch(() => undefined);
  });
  let peakBytes = 0;
  let cpuMs = 0;
  while (!ended.signal.aborted) {
    const facts = processFacts(child.pid);
    peakBytes = Math.max(peakBytes, facts?.peakBytes ?? 0);
    cpuMs = Math.max(cpuMs, facts?.cpuMs ?? 0);
    if (clock.monotonic() - begin > (program.msMax ?? Number.POSITIVE_INFINITY)) child.kill("SIGKILL");
    await clock.sleep(LOOK_MS, ended.signal);
  }
  return { code: await code, stdout, ms: clock.monotonic() - begin, cpuMs, peakBytes };
}
