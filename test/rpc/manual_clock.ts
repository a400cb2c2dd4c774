// A clock that tests move by hand: callbacks run in order of their time when it passes them.
// Used by the rpc tests; real sockets run beside it, so a test advances it only when it knows what is due.
// Never moves by itself.

import type { Clock } from "../../kit/clock.ts";

interface Due {
  readonly atMs: number;
  readonly callback: () => void;
}

/** A clock with a hand. */
export interface ManualClock extends Clock {
  /** Moves the time and runs what is due on the way. */
  advance(ms: number): void;
  /** Timers that are set. */
  readonly pending: number;
  /** Resolves when a timer is set that far ahead (or already is). */
  armed(delayMs: number): Promise<void>;
}

/** A clock that starts at 0 (2026-01-01 for now()). */
export function manualClock(): ManualClock {
  let nowMs = 0;
  const timers = new Set<Due>();
  let waiting: { atMs: number; resolve: () => void }[] = [];
  const isArmed = (atMs: number) => [...timers].some((due) => due.atMs === atMs);
  const clock: ManualClock = {
    now: () => Date.UTC(2026, 0, 1) + nowMs,
    monotonic: () => nowMs,
    after(delayMs, callback) {
      const due = { atMs: nowMs + delayMs, callback };
      timers.add(due);
      const ready = waiting.filter((wait) => wait.atMs === due.atMs);
      waiting = waiting.filter((wait) => wait.atMs !== due.atMs);
      for (const wait of ready) wait.resolve();
      return () => void timers.delete(due);
    },
    sleep(delayMs, signal) {
      return new Promise((resolve) => {
        if (signal?.aborted) return resolve();
        const cancel = clock.after(delayMs, resolve);
        signal?.addEventListener("abort", () => {
          cancel();
          resolve();
        });
      });
    },
    advance(ms) {
      const endMs = nowMs + ms;
      for (;;) {
        const next = [...timers].filter((due) => due.atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0];
        if (next === undefined) break;
        timers.delete(next);
        nowMs = next.atMs;
        next.callback();
      }
      nowMs = endMs;
    },
    get pending() {
      return timers.size;
    },
    armed(delayMs) {
      const atMs = nowMs + delayMs;
      if (isArmed(atMs)) return Promise.resolve();
      return new Promise((resolve) => waiting.push({ atMs, resolve }));
    },
  };
  return clock;
}
