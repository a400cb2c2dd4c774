// Follows the audit trail for the end of runs: one stream for all, so that waiting costs the server little.
// Used by the suites. A run that ends otherwise than SUCCEEDED makes the benchmark worthless and fails it.

import type { OrlojClient } from "../sdk/index.ts";

// A run ends with its last task, in the same record, unless nothing but the end of the run is to be told.
const GOOD = ["task.succeeded", "run.finished"];
const BAD = ["task.failed", "task.denied", "task.dead_lettered", "task.timed_out", "run.stopping"];
const RUN_SUCCEEDED = '"of":"run","to":"SUCCEEDED"';

/** Ends of runs, as they come in. */
export interface FinishedRuns {
  /** Resolves when the run has ended; at once if it has already. */
  of(runId: string): Promise<void>;
  /** Rejects when the trail breaks off or a run fails. */
  readonly broken: Promise<never>;
  close(): void;
}

/** Starts to follow. @param afterId id of a record that is older than every run of interest; by default all are followed */
export function followFinishedRuns(client: OrlojClient, afterId = 1n): FinishedRuns {
  const stop = new AbortController();
  const waiting = new Map<string, () => void>();
  // A run may end before its invocation is answered.
  const early = new Set<string>();
  const follow = async (): Promise<never> => {
    const filter = { kinds: [...GOOD, ...BAD] };
    // From a record on: "from now" would leave a gap between the request and the server's first look.
    for await (const { records } of client.audit.watchAuditRecords({ filter, afterId }, { signal: stop.signal })) {
      for (const { kind, runId, recordJson } of records) {
        if (recordJson.includes(RUN_SUCCEEDED)) {
          const resolve = waiting.get(runId);
          waiting.delete(runId);
          if (resolve === undefined) early.add(runId);
          else resolve();
        } else if (kind !== "task.succeeded") throw new Error(`run ${runId} did not succeed: ${recordJson}`);
      }
    }
    throw new Error("the audit trail broke off");
  };
  const broken = follow();
  broken.catch(() => undefined);
  return {
    broken,
    of: (runId) => (early.delete(runId) ? Promise.resolve() : new Promise((resolve) => waiting.set(runId, resolve))),
    close: () => stop.abort(),
  };
}
