// Searches for a history on which the SQL layer and the model differ; the same words as search.ts, the same reports.

import fc from "fast-check";
import { FAULT_KINDS, type FaultCounts } from "./driver.ts";
import { type History, runHistory } from "./history.ts";
import { REGRESSIONS } from "./regressions.ts";
import type { Op, Result } from "./rows.ts";
import { fromText, textOf, type Word } from "./schedule.ts";
import { type Broken, type SearchReport, words } from "./search.ts";
import { type Divergence, replay } from "./sql_check.ts";
import { SqlSystem } from "./sql_system.ts";

/** Histories in memory for each that the database sees, at most. */
const TRIED_MAX = 40;
/** Times that the database sees a thing before it is no news. */
const FAMILIAR = 2;

export interface SqlSearch {
  readonly url: string;
  readonly seed: number;
  readonly histories: number;
  readonly path?: string;
  /** It stops after so long; a counterexample is then the shortest one found so far. */
  readonly timeMs: number;
}

/** Runs so many histories, or as many as the time allows. */
export async function searchSql({ url, seed, histories, path, timeMs }: SqlSearch): Promise<SearchReport> {
  const system = await SqlSystem.open(url);
  try {
    return await searchIn(system, { seed, histories, timeMs, ...(path !== undefined && { path }) });
  } finally {
    await system.close();
  }
}

async function searchIn(system: SqlSystem, options: Omit<SqlSearch, "url">): Promise<SearchReport> {
  const faults = Object.fromEntries(FAULT_KINDS.map((kind) => [kind, 0])) as FaultCounts;
  const commands: number[] = [];
  let histories = 0;
  const attempt = async (history: History): Promise<Divergence | undefined> => {
    histories += 1;
    commands[history.commands] = (commands[history.commands] ?? 0) + 1;
    for (const kind of FAULT_KINDS) faults[kind] += history.faults[kind];
    return await replay(system, history);
  };
  const report = (broken: Broken | undefined): SearchReport => ({
    ...{ histories, faults, seen: {}, broken },
    commands: Array.from(commands, (times = 0) => times),
  });
  const { seed, path } = options;
  for (const { name, words: kept } of REGRESSIONS) {
    const found = await attempt(runHistory(kept.map(fromText), { heal: false, keepTrace: true }));
    if (found !== undefined) return report({ ...found, seed, path: name, words: kept });
  }
  const novelty = new Novelty();
  let shortest: { words: readonly Word[]; found: Divergence } | undefined;
  const checked = await fc.check(
    fc.asyncProperty(words, async (list) => {
      // Once something is found every history counts: what follows makes it shorter.
      const isOver = shortest === undefined && histories >= options.histories;
      if (isOver && path === undefined) return true;
      const history = runHistory(list, { heal: false, keepTrace: true });
      if (shortest === undefined && path === undefined && !novelty.has(history)) return true;
      const found = await attempt(history);
      if (found !== undefined) shortest = { words: list, found };
      return found === undefined;
    }),
    {
      ...{ seed, numRuns: TRIED_MAX * options.histories, ...(path !== undefined && { path }) },
      ...{ interruptAfterTimeLimit: options.timeMs, markInterruptAsFailure: false },
    },
  );
  if (shortest === undefined) return report(undefined);
  const { found, words: list } = shortest;
  return report({ ...found, seed: checked.seed, path: checked.counterexamplePath ?? "", words: list.map(textOf) });
}

/**
 * A history costs the database hundreds of times what it costs in memory: only those are replayed there in which something
 * happens that happened seldom before: an operation with its fault and answers, or one event of a task after another.
 */
class Novelty {
  readonly #times = new Map<string, number>();

  has({ trace }: History): boolean {
    let isNew = false;
    const note = (what: string) => {
      const times = (this.#times.get(what) ?? 0) + 1;
      if (times > FAMILIAR) return;
      this.#times.set(what, times);
      isNew = true;
    };
    const last = new Map<string, string>();
    for (const [index, { op, fault, result }] of trace.entries()) {
      const told = [...(result?.verdicts ?? []), ...(result?.answers ?? []).map(({ type }) => type)];
      const broken = fault === "" ? "" : `${fault} ${index % 2}`;
      note(`${op.op} ${broken} ${told.join()}`);
      for (const { task, what } of eventsOf(op, result)) {
        note(`${last.get(task) ?? "new"}, then ${what} ${broken}`);
        last.set(task, what);
      }
    }
    return isNew;
  }
}

/** What an operation did to which task. */
function eventsOf(op: Op, result: Result | undefined): { task: string; what: string }[] {
  switch (op.op) {
    case "claim":
      return (result?.assigned ?? []).map(({ task, journal }) => ({ task, what: `claim ${journal.length > 0}` }));
    case "turns":
    case "results":
      return op.facts.map(({ task }, index) => ({ task, what: `${op.op} ${result?.verdicts?.[index]}` }));
    case "calls":
      return op.facts.map(({ task }, index) => ({ task, what: `call ${result?.answers?.[index]?.type}` }));
    case "invoke":
      return leasedNew(result);
    case "settle":
      return [
        ...op.items.flatMap((item, index) => {
          if (!("task" in item)) return [];
          const kind = item.type === "lost" ? item.reason : item.type === "outcome" ? item.outcome.type : item.type;
          return [{ task: item.task, what: `${kind} ${result?.verdicts?.[index]}` }];
        }),
        ...leasedNew(result),
      ];
    default:
      return [];
  }
}

function leasedNew(result: Result | undefined) {
  return (result?.assigned ?? []).map(({ task }) => ({ task, what: "leased as it was made" }));
}
