// What the chain costs those who write: commits a second of writers that do nothing else, with and without a sealer beside them.
// Called by audit_suite.ts on an empty trail. Windows with and without it follow each other, so that a slower machine slows both.

import type { Clock } from "../kit/clock.ts";
import { SECOND } from "../kit/units.ts";
import { type AuditEvent, workerActor } from "../server/audit/events.ts";
import { auditRecord } from "../server/audit/record.ts";
import type { Sealer } from "../server/dispatch/sealer.ts";
import type { Store } from "../server/storage/store.ts";

const WRITERS = 16;
const RECORDS_A_COMMIT = 10;
const WINDOWS = 3;

/** How long to measure. */
export interface Window {
  readonly windowMs: number;
  readonly clock: Clock;
  readonly progress: (line: string) => void;
}

/** Commits of ten records a second, and the part of them that sealing takes. */
export async function measureWriting(store: Store, sealer: Sealer, window: Window) {
  const { clock, progress } = window;
  progress("audit: warming up the writers");
  await commitsIn(store, window);
  const without: number[] = [];
  const beside: number[] = [];
  for (let measured = 0; measured < WINDOWS; measured += 1) {
    without.push(await commitsIn(store, window));
    // What was written without the sealer is sealed first: it is not part of what the next window costs.
    while ((await sealer.once()) !== "idle");
    let writing = true;
    const sealing = (async () => {
      while (writing) {
        await sealer.once();
        await clock.sleep(300);
      }
    })();
    beside.push(await commitsIn(store, window));
    writing = false;
    await sealing;
    progress(`audit: ${without.at(-1)} commits/s without the sealer, ${beside.at(-1)} with it`);
  }
  const [slow, fast] = [mean(beside), mean(without)];
  return {
    commits_per_s: { without_sealer: Math.round(fast), with_sealer: Math.round(slow) },
    sealer_costs_percent: Math.round((1 - slow / fast) * 1_000) / 10,
  };
}

async function commitsIn(store: Store, { windowMs, clock }: Window): Promise<number> {
  const end = clock.monotonic() + windowMs;
  let commits = 0;
  const writer = async (number: number) => {
    while (clock.monotonic() < end) {
      const rows = Array.from({ length: RECORDS_A_COMMIT }, (_, index) => auditRecord(turnOf(number, index)));
      await store.transaction((tx) => tx.audit.insert(rows));
      commits += 1;
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, (_, number) => writer(number)));
  return Math.round(commits / (windowMs / SECOND));
}

function turnOf(writer: number, sequence: number): AuditEvent {
  const detail = { sequence, turnDigest: `sha256:${"0".repeat(64)}`, toolCalls: 1 };
  return { kind: "turn.recorded", namespace: "bench", taskId: `task_${writer}`, actor: workerActor("bench"), detail };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
