// Searches for a history that breaks a rule: seeded lists of words from fast-check, regressions first, the shortest one at the end.
// Called by search_thread.ts, sim.test.ts and the planted bugs. Equal seeds give equal searches.

import fc from "fast-check";
import { FAULT_KINDS, type FaultCounts } from "./driver.ts";
import { type History, runHistory } from "./history.ts";
import { REGRESSIONS } from "./regressions.ts";
import { fromText, textOf, WORD_MAX, type Word, wordOf } from "./schedule.ts";
import { shorten } from "./shorten.ts";
import { witnessOf } from "./witness.ts";

export const WORDS_MAX = 76;

export interface Broken {
  readonly rule: string;
  readonly seed: number;
  readonly path: string;
  /** The shortest history, ready for regressions.ts. */
  readonly words: readonly string[];
  /** What happened in it, a line an operation. */
  readonly witness: readonly string[];
}

export interface SearchReport {
  readonly histories: number;
  /** How many histories had so many commands, by that number. */
  readonly commands: readonly number[];
  readonly faults: FaultCounts;
  readonly seen: Readonly<Record<string, number>>;
  readonly broken: Broken | undefined;
}

export const words: fc.Arbitrary<Word[]> = fc.noBias(
  fc.array(fc.integer({ min: 0, max: WORD_MAX }).map(wordOf), { minLength: 0, maxLength: WORDS_MAX, size: "max" }),
);

/** Runs so many histories. `path`: only the one that a report named. */
export function search(options: { seed: number; histories: number; path?: string }): SearchReport {
  const commands: number[] = [];
  const faults = Object.fromEntries(FAULT_KINDS.map((kind) => [kind, 0])) as FaultCounts;
  const seen: Record<string, number> = {};
  let histories = 0;
  const count = (history: History) => {
    histories += 1;
    commands[history.commands] = (commands[history.commands] ?? 0) + 1;
    for (const kind of FAULT_KINDS) faults[kind] += history.faults[kind];
    for (const [name, times] of history.seen) seen[name] = (seen[name] ?? 0) + times;
    return history.violation === undefined;
  };
  const report = (broken: Broken | undefined): SearchReport => ({
    ...{ histories, faults, seen, broken },
    commands: Array.from(commands, (times = 0) => times),
  });
  for (const regression of REGRESSIONS) {
    const kept = regression.words.map(fromText);
    if (!count(runHistory(kept))) return report(brokenBy(kept, options.seed, `regression: ${regression.name}`));
  }
  const { seed, path } = options;
  const checked = fc.check(
    fc.property(words, (list) => count(runHistory(list))),
    { seed, numRuns: options.histories, ...(path !== undefined && { path }) },
  );
  const [shortest] = checked.counterexample ?? [];
  return report(
    shortest === undefined ? undefined : brokenBy(shortest, checked.seed, checked.counterexamplePath ?? ""),
  );
}

function brokenBy(found: readonly Word[], seed: number, path: string): Broken {
  const list = shorten(found, (shorter) => runHistory(shorter).violation !== undefined);
  const { violation, trace } = runHistory(list, { keepTrace: true });
  const rule = violation?.message ?? "it holds when it is run again";
  return { rule, seed, path, words: list.map(textOf), witness: witnessOf(trace) };
}

/** Half of the histories had at least so many commands. */
export function medianOf(reports: readonly SearchReport[]): number {
  const total = reports.reduce((sum, report) => sum + report.histories, 0);
  const longest = Math.max(...reports.map((report) => report.commands.length));
  let below = 0;
  for (let commands = 0; commands < longest; commands += 1) {
    below += reports.reduce((sum, report) => sum + (report.commands[commands] ?? 0), 0);
    if (2 * below >= total) return commands;
  }
  return longest;
}
