// What each engine is made to do: take runs in, work on them in this process, and say when all are durably done.
// Implemented by dbos.ts, graphile.ts and pg_boss.ts; driven by main.ts.

import type pg from "pg";
import type { PeerWork } from "./names.ts";

/** What an engine is started with. */
export interface EngineSetting {
  readonly work: PeerWork;
  readonly url: string;
  /** For looks at what is done; engines have connections of their own. */
  readonly pool: pg.Pool;
}

/** A started engine. */
export interface Engine {
  /** Does so many runs; resolves when each of them is committed as done. @throws Error if one failed */
  execute(runs: number): Promise<void>;
  stop(): Promise<void>;
}

/** Connections of an engine at most: beyond so many its figures grew no more. */
export const CONNECTIONS = 20;

const LOOK_MS = 5;

/** Keeps so many calls under way until there were so many. */
export async function inLanes(runs: number, inFlight: number, call: () => Promise<unknown>): Promise<void> {
  let begun = 0;
  const lane = async () => {
    while (begun < runs) {
      begun += 1;
      await call();
    }
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
}

/** Looks until it holds. @throws Error when the time of the whole round is over before that */
export async function until(
  { secondsMax }: PeerWork,
  what: string,
  holds: () => boolean | Promise<boolean>,
): Promise<void> {
  while (!(await holds())) {
    // The clock of performance began with the process, as the time of the round did.
    if (performance.now() > secondsMax * 1_000) throw new Error(`${what}: not within ${secondsMax} s`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

/** One number of one statement. */
export async function countOf(pool: pg.Pool, sql: string): Promise<number> {
  const { rows } = await pool.query<{ count: string }>(sql);
  return Number(rows[0]?.count);
}
