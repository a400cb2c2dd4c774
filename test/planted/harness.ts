// One harness over the tree that this file lies in: started in a copy of the tree by main.ts, with a bug planted or without.
// Prints one JSON object: what was broken, and the witness; `null` for a rule when nothing was. Knows nothing of the bugs.

import { search } from "../sim/search.ts";
import { searchSql } from "../sim/search_sql.ts";
import { playDispatch } from "./dispatch_harness.ts";

/** memory: the simulation; sql: the SQL layer against it; dispatch: a replica's loops with a played worker. */
export type Harness = "memory" | "sql" | "dispatch";

/** What a harness says. */
export interface Finding {
  readonly rule: string | null;
  readonly witness: readonly string[];
}

const SEED = 20;
const HISTORIES = 12_000;
const SQL_HISTORIES = 600;
const SQL_TIME_MS = 100_000;

async function run(harness: string, url: string): Promise<Finding> {
  switch (harness) {
    case "memory": {
      const { broken } = search({ seed: SEED, histories: HISTORIES });
      return { rule: broken?.rule ?? null, witness: broken?.witness ?? [] };
    }
    case "sql": {
      const { broken } = await searchSql({ url, seed: SEED, histories: SQL_HISTORIES, timeMs: SQL_TIME_MS });
      return { rule: broken?.rule ?? null, witness: broken?.witness ?? [] };
    }
    case "dispatch":
      return await playDispatch(url);
    default:
      throw new Error(`no harness is called "${harness}"`);
  }
}

const [, , harness = "", url = ""] = process.argv;
process.stdout.write(`${JSON.stringify(await run(harness, url))}\n`);
