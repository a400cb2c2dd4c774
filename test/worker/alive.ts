// Whether a process still runs. Used by the tests of what a worker starts.

import { readFileSync } from "node:fs";

/** A process that ended but that nobody waited for yet is not alive. */
export function alive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
