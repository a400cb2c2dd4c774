// Consumes the limits of policies in a deciding transaction: counts what a batch may need, then gives back what it did not.
// Called by invoke.ts and restart_run.ts (runs) and authorize_tool_call.ts (first grants), after everything else allowed it.
// Lock order: counters come after the ledger and before audit, keys ascending, all of a batch in one statement. What rolls back counts nothing.
// Without limits there is no query.

import { limitDenial } from "../policy/evaluate.ts";
import type { Decision, LimitCount, LimitUse } from "../policy/types.ts";
import type { CounterRow } from "../storage/limit_queries.ts";
import type { StoreQueries } from "../storage/store.ts";

interface Counter {
  readonly row: CounterRow;
  /** What the counter showed before this transaction. */
  readonly before: number;
  used: number;
}

/** See the file header. */
export class LimitCounts {
  readonly #counters: Map<string, Counter>;

  private constructor(counters: Map<string, Counter>) {
    this.#counters = counters;
  }

  /** True if nothing is limited. */
  get isEmpty(): boolean {
    return this.#counters.size === 0;
  }

  /** Locks and counts up whatever the given decisions may use; what they do not use is to be given back. */
  static async reserve(tx: StoreQueries, decisions: readonly Decision[]): Promise<LimitCounts> {
    const wanted = new Map<string, CounterRow>();
    for (const decision of decisions) {
      for (const use of decision.counts) {
        const row = counterOf(decision, use);
        const key = keyOf(row);
        wanted.set(key, { ...row, count: (wanted.get(key)?.count ?? 0) + 1 });
      }
    }
    const counters = new Map<string, Counter>();
    for (const after of await tx.limits.countUp([...wanted.values()])) {
      const key = keyOf(after);
      const row = wanted.get(key);
      if (row !== undefined) counters.set(key, { row, before: after.count - row.count, used: 0 });
    }
    return new LimitCounts(counters);
  }

  /** Counts an allowed decision against all of its limits, or against none and denies it by the first that is full. */
  consume(decision: Decision): Decision {
    const uses = decision.counts.map((use) => ({ use, counter: this.#counterOf(decision, use) }));
    const full = uses.find(({ use, counter }) => counter.before + counter.used >= use.max);
    if (full !== undefined) return limitDenial(decision, counted(full.use, full.counter));
    for (const { counter } of uses) counter.used += 1;
    return uses.length === 0
      ? decision
      : { ...decision, counted: uses.map(({ use, counter }) => counted(use, counter)) };
  }

  /** Takes back what consume counted: nothing left after all. */
  restore(decision: Decision): void {
    for (const use of decision.counted === undefined ? [] : decision.counts) this.#counterOf(decision, use).used -= 1;
  }

  /** Gives back what was reserved and not used. */
  async giveBack(tx: StoreQueries): Promise<void> {
    const unused = [...this.#counters.values()].map(({ row, used }) => ({ ...row, count: row.count - used }));
    await tx.limits.countDown(unused.filter(({ count }) => count > 0));
  }

  #counterOf(decision: Decision, use: LimitUse): Counter {
    const counter = this.#counters.get(keyOf(counterOf(decision, use)));
    // A limit that nobody reserved has no room: fail closed.
    return counter ?? { row: counterOf(decision, use), before: use.max, used: 0 };
  }
}

/** How often what a decision would count was counted before. Reads only: for those that explain. */
export async function countedBefore(queries: StoreQueries, decision: Decision): Promise<(use: LimitUse) => number> {
  const rows = await queries.limits.counts(decision.counts.map((use) => counterOf(decision, use)));
  const counts = new Map(rows.map((row) => [keyOf(row), row.count]));
  return (use) => counts.get(keyOf(counterOf(decision, use))) ?? 0;
}

function counted(use: LimitUse, { before, used }: Counter): LimitCount {
  return { ...use, count: before + used };
}

function counterOf({ checkpoint }: Decision, use: LimitUse): CounterRow {
  const { policy, limit, keyDigest, windowMs, windowStartMs } = use;
  return {
    ...{ policy, limit_name: limit, checkpoint, key_digest: keyDigest, window_ms: windowMs, count: 0 },
    window_start: new Date(windowStartMs),
  };
}

function keyOf({ policy, limit_name, checkpoint, key_digest, window_ms, window_start }: CounterRow): string {
  return JSON.stringify([policy, limit_name, checkpoint, key_digest, window_ms, window_start.getTime()]);
}
