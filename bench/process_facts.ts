// What the system counts about a process: processor time and resident memory, from /proc.
// Called by measured_process.ts and by the suites idle and mem. Where there is no /proc, nothing is known.

import { readFileSync } from "node:fs";
import { KIB, SECOND } from "../kit/units.ts";

/** Clock ticks a second in which Linux counts processor time. */
const TICK_MS = SECOND / 100;

/** What is known of a process. */
export interface ProcessFacts {
  /** User and system time, in ms. */
  readonly cpuMs: number;
  /** The same of its children that have ended. */
  readonly endedChildrenMs: number;
  /** Process id of its parent. */
  readonly parent: number;
  /** Resident memory now, and at most so far, in bytes. */
  readonly residentBytes: number;
  readonly peakBytes: number;
}

/** Looks at a process; undefined when it has ended, or the system does not tell. */
export function processFacts(pid: number | undefined): ProcessFacts | undefined {
  try {
    // Parent: the 4th field; user and system time: the 14th and 15th, and of ended children the next two; the second field is a name in brackets that may hold blanks.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    // A process that ended and was not waited for yet has no memory any more.
    const bytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? 0) * KIB;
    return {
      cpuMs: (Number(fields[11]) + Number(fields[12])) * TICK_MS || 0,
      endedChildrenMs: (Number(fields[13]) + Number(fields[14])) * TICK_MS || 0,
      parent: Number(fields[1]),
      residentBytes: bytes("VmRSS"),
      peakBytes: bytes("VmHWM"),
    };
  } catch {
    return undefined;
  }
}

/** The same, for what cannot be measured without. @throws Error when it has ended, or the system does not tell */
export function requireFacts(pid: number, name: string): ProcessFacts {
  const facts = processFacts(pid);
  if (facts === undefined || facts.residentBytes === 0) {
    throw new Error(`nothing is known of the ${name} (process ${pid}): it has ended, or this system has no /proc`);
  }
  return facts;
}
