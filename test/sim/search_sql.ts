// Searches for a history on which the SQL layer and the model differ; the same words as search.ts, the same reports.

import fc from "fast-check";
import { FAULT_KINDS, type FaultCounts } from "./driver.ts";
import { runHistory } from "./history.ts";
import { REGRESSIONS } from "./regressions.ts";
import { fromText, textOf, type Word } from "./schedule.ts";
import { type Broken, type SearchReport, words } from "./search.ts";
import { type Divergence, replay } from "./sql_check.ts";
import { SqlSystem } from "./sql_system.ts";

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
  const attempt = async (list: readonly Word[]): Promise<Divergence | undefined> => {
    const history = runHistory(list, { heal: false, keepTrace: true });
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
  for (const regression of REGRESSIONS) {
    const found = await attempt(regression.words.map(fromText));
    if (found !== undefined) return report({ ...found, seed, path: regression.name, words: regression.words });
  }
  let shortest: { words: readonly Word[]; found: Divergence } | undefined;
  const checked = await fc.check(
    fc.asyncProperty(words, async (list) => {
      const found = await attempt(list);
      if (found !== undefined) shortest = { words: list, found };
      return found === undefined;
    }),
    {
      ...{ seed, numRuns: options.histories, ...(path !== undefined && { path }) },
      ...{ interruptAfterTimeLimit: options.timeMs, markInterruptAsFailure: false },
    },
  );
  if (shortest === undefined) return report(undefined);
  const { found, words: list } = shortest;
  return report({ ...found, seed: checked.seed, path: checked.counterexamplePath ?? "", words: list.map(textOf) });
}
