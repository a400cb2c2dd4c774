// Follows the audit trail for the end of runs: one stream for all, so that waiting costs the server little.
// Used by the suites. A run that ends otherwise than SUCCEEDED makes the benchmark worthless and fails it.

import type { OrlojClient } from "../sdk/index.ts";

// A run of one node ends with its task, in the same record.
const ENDS = ["task.succeeded", "task.failed", "task.denied", "task.dead_lettered", "task.timed_out", "run.finished"];
const RUN_SUCCEEDED = '"of":"run","to":"SUCCEEDED"';

/** Ends of runs, as they come in. */
export interface FinishedRuns {
  /** Resolves when the run has ended; at once if it has already. */
  of(runId: string): Promise<void>;
  /** Rejects when the trail breaks off or a run fails. */
  readonly broken: Promise<never>;
  close(): void;
}

/** Starts to follow. */
export function followFinishedRuns(client: OrlojClient): FinishedRuns {
  const stop = new AbortController();
  const waiting = new Map<string, () => void>();
  // A run may end before its invocation is answered.
  const early = new Set<string>();
  const follow = async (): Promise<never> => {
    const filter = { kinds: ENDS };
    // From the beginning: "from now" would leave a gap between the request and the server's first look.
    for await (const { records } of client.audit.watchAuditRecords({ filter, afterId: 1n }, { signal: stop.signal })) {
      for (const { kind, runId, recordJson } of records) {
        if (kind !== "task.succeeded" || !recordJson.includes(RUN_SUCCEEDED))
          throw new Error(`run ${runId} did not succeed: ${recordJson}`);
        const resolve = waiting.get(runId);
        waiting.delete(runId);
        if (resolve === undefined) early.add(runId);
        else resolve();
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
