// The closed loop: keeps so many runs between Invoke and their end, and measures how many ended.
// Called by the suites. Ends are read from the audit trail (finished.ts); a run that does not succeed fails the loop.

import type { Clock } from "../kit/clock.ts";
import { SECOND } from "../kit/units.ts";
import type { OrlojClient } from "../sdk/index.ts";
import type { FinishedRuns } from "./finished.ts";

const PROGRESS_MS = 2 * SECOND;

/** What to keep going. */
export interface Load {
  /** Invocations go to these in turn. */
  readonly clients: readonly OrlojClient[];
  readonly finished: FinishedRuns;
  readonly workflow: string;
  /** Runs between Invoke and their end at the same time. */
  readonly inFlight: number;
  readonly clock: Clock;
  readonly progress: (line: string) => void;
  /** For messages, such as "noop: round 2 of 5". */
  readonly title: string;
}

/** What was done. */
export interface Done {
  readonly runs: number;
  /** From the first Invoke to the end of the last run. */
  readonly seconds: number;
}

/** Runs so many, or as many as begin within a time in ms, and waits for all of them. */
export async function keepRunning(
  load: Load,
  until: { readonly runs: number } | { readonly ms: number },
): Promise<Done> {
  const { clients, finished, inFlight, clock, progress, title } = load;
  const workflows = clients.map((client) => client.workflow(load.workflow));
  const begin = clock.monotonic();
  let begun = 0;
  let done = 0;
  let shown = begin;
  const goesOn = () => ("runs" in until ? begun < until.runs : clock.monotonic() - begin < until.ms);
  const lane = async (number: number) => {
    while (goesOn()) {
      begun += 1;
      const run = await workflows[number % workflows.length]?.invoke();
      if (run !== undefined) await finished.of(run.id);
      done += 1;
      const now = clock.monotonic();
      if (now - shown < PROGRESS_MS) continue;
      shown = now;
      const of = "runs" in until ? ` of ${until.runs}` : "";
      progress(`${title}: ${done}${of} runs, ${Math.round((done / (now - begin)) * SECOND)}/s`);
    }
  };
  await Promise.race([Promise.all(Array.from({ length: inFlight }, (_, number) => lane(number))), finished.broken]);
  return { runs: done, seconds: (clock.monotonic() - begin) / SECOND };
}
