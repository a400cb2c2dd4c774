// What a process holds, as /proc tells it: memory and open files, now and at most since somebody looked. Called by campaign.ts; Linux alone.

import { readdirSync, readFileSync } from "node:fs";

const PAGE_BYTES = 4_096;
const MIB = 1_048_576;
const LOOK_MS = 100;

/** What is held. */
export interface Held {
  /** Resident memory. */
  readonly rss_mib: number;
  /** Open files, sockets included. */
  readonly files: number;
}

/** What the process holds now; zeros once it has ended. */
export function heldBy(pid: number): Held {
  try {
    const [, resident] = readFileSync(`/proc/${pid}/statm`, "utf8").split(" ");
    return { rss_mib: (Number(resident) * PAGE_BYTES) / MIB, files: readdirSync(`/proc/${pid}/fd`).length };
  } catch {
    return { rss_mib: 0, files: 0 };
  }
}

/** Watches for the most that a process holds; stop tells it. */
export function watchMost(pid: number): { stop(): Held } {
  let most = heldBy(pid);
  const look = () => {
    const now = heldBy(pid);
    most = { rss_mib: Math.max(most.rss_mib, now.rss_mib), files: Math.max(most.files, now.files) };
  };
  const timer = setInterval(look, LOOK_MS);
  return {
    stop() {
      clearInterval(timer);
      look();
      return most;
    },
  };
}
