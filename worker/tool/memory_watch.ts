// Watches how much memory the process groups of tools hold, and says when one holds too much.
// One for a worker, given to everything that starts processes; it looks through /proc once for all groups, and not at all while
// there are none. Where there is no /proc (other systems than Linux) nothing is watched: docs/tools.md says so.

import { readdirSync, readFileSync } from "node:fs";
import type { Clock } from "../../kit/clock.ts";
import { KIB } from "../../kit/units.ts";

/** Between two looks, in ms. */
const LOOK_MS = 250;

/** See the file header. */
export class MemoryWatch {
  readonly #clock: Clock;
  /** What a group may hold, in bytes. */
  readonly bytesMax: number;
  readonly #groups = new Map<number, () => void>();
  #cancel: (() => void) | undefined;

  constructor(clock: Clock, bytesMax: number) {
    this.#clock = clock;
    this.bytesMax = bytesMax;
  }

  /** Acts once when the group of that leader holds more than it may; the result ends the watch. */
  watch(leader: number | undefined, act: () => void): () => void {
    if (leader === undefined) return () => {};
    this.#groups.set(leader, act);
    this.#cancel ??= this.#clock.after(LOOK_MS, () => this.#look());
    return () => {
      this.#groups.delete(leader);
      if (this.#groups.size > 0) return;
      this.#cancel?.();
      this.#cancel = undefined;
    };
  }

  #look(): void {
    this.#cancel = undefined;
    for (const [group, bytes] of memoryOfGroups(this.#groups)) {
      if (bytes <= this.bytesMax) continue;
      const act = this.#groups.get(group);
      this.#groups.delete(group);
      act?.();
    }
    if (this.#groups.size > 0) this.#cancel = this.#clock.after(LOOK_MS, () => this.#look());
  }
}

function memoryOfGroups(groups: ReadonlyMap<number, unknown>): Map<number, number> {
  const sums = new Map<number, number>();
  for (const name of processes()) {
    const group = groupOf(name);
    if (group === undefined || !groups.has(group)) continue;
    sums.set(group, (sums.get(group) ?? 0) + residentBytes(name));
  }
  return sums;
}

function processes(): string[] {
  try {
    return readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  } catch {
    return [];
  }
}

// Third field after the name, which stands in parentheses and may hold any character (proc(5)).
function groupOf(pid: string): number | undefined {
  const stat = read(`/proc/${pid}/stat`);
  const [, , group] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return group === undefined ? undefined : Number(group);
}

function residentBytes(pid: string): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0) * KIB;
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // It has ended.
    return "";
  }
}
