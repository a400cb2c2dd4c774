// Tells watchers of this replica that something they look at may have changed. A wake-up is a hint: watchers read the truth.
// Called by main with what the stores commit, by dispatch when hints arrive (local or notified), and by watch_run.ts and read_audit.ts, which wait.
// Never loses a wake-up that comes between a read and the wait after it; a lost notification costs one interval.

import type { Clock } from "../../kit/clock.ts";

/** Topic of every audit record. */
const AUDIT = "audit";

/** One watcher's ear; close it when done. */
export interface Watcher {
  /** Resolves at the next change, at once if there was one since the last call, or after timeoutMs, or when the signal aborts. */
  next(timeoutMs: number, signal: AbortSignal): Promise<void>;
  close(): void;
}

/** Of what kinds the records are that came; absent: of any. */
type Wake = (kinds?: ReadonlySet<string>) => void;

// Why a wait ends. One for all: making an error is the dearest part of a wake-up.
const CHANGED = new Error("something changed");

/** See the file header. */
export class Changes {
  readonly #clock: Clock;
  readonly #watchers = new Map<string, Set<Wake>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Runs changed state or gained records. */
  runsChanged(runIds: readonly string[]): void {
    for (const runId of runIds) this.#wake(runTopic(runId));
  }

  /** This replica committed records of these kinds. */
  recorded(kinds: ReadonlySet<string>): void {
    this.#wake(AUDIT, kinds);
  }

  /** Anything at all may have changed: wakes everybody. */
  anythingChanged(): void {
    for (const topic of [...this.#watchers.keys()]) this.#wake(topic);
  }

  /** Listens to one run. */
  watchRun(runId: string): Watcher {
    return this.#watch(runTopic(runId), () => true);
  }

  /** Listens to the trail. @param wants false for kinds of records that need not wake it now */
  watchAudit(wants: (kind: string) => boolean): Watcher {
    return this.#watch(AUDIT, wants);
  }

  /** Number of watchers, for metrics and leak checks. */
  get size(): number {
    let size = 0;
    for (const watchers of this.#watchers.values()) size += watchers.size;
    return size;
  }

  #wake(topic: string, kinds?: ReadonlySet<string>): void {
    for (const wake of [...(this.#watchers.get(topic) ?? [])]) wake(kinds);
  }

  #watch(topic: string, wants: (kind: string) => boolean): Watcher {
    let changed = false;
    let waiting: AbortController | undefined;
    const wake: Wake = (kinds) => {
      if (kinds !== undefined && ![...kinds].some(wants)) return;
      changed = true;
      waiting?.abort(CHANGED);
    };
    const watchers = this.#watchers.get(topic) ?? new Set();
    this.#watchers.set(topic, watchers.add(wake));
    return {
      next: async (timeoutMs, signal) => {
        if (!changed && !signal.aborted) {
          waiting = new AbortController();
          await this.#clock.sleep(timeoutMs, AbortSignal.any([waiting.signal, signal]));
          waiting = undefined;
        }
        changed = false;
      },
      close: () => {
        watchers.delete(wake);
        if (watchers.size === 0) this.#watchers.delete(topic);
      },
    };
  }
}

function runTopic(runId: string): string {
  return `run/${runId}`;
}
