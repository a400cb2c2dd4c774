// Snapshots of a run as an async iterable that outlives lost streams and restarting servers.
// Called by run_handle.ts. After a resume the edges stay and no audit record comes twice.
// Ends after the snapshot of a final state; gives up after WATCH_TRIES_MAX streams in a row that brought nothing.

import { type Client, Code, ConnectError } from "@connectrpc/connect";
import type { AuditRecord } from "../proto/gen/orloj/v1/common_pb.ts";
import type { Edge, Run, Task, WorkflowService } from "../proto/gen/orloj/v1/workflow_pb.ts";
import { isFinal, OrlojError } from "./errors.ts";
import { type Host, type RetryDelay, retryDelayMs } from "./host.ts";

/** Streams in a row that may fail without bringing a snapshot; about 15 s with the delays between them. */
export const WATCH_TRIES_MAX = 12;
const RESUME_DELAY: RetryDelay = { initialMs: 100, maxMs: 4_000, factor: 2 };

/** What a run looks like at one moment. */
export interface RunSnapshot {
  /** With its nodes, and with its edges in every snapshot. */
  readonly run: Run;
  /** At most the 1,000 newest. */
  readonly tasks: readonly Task[];
  /** Audit records of the run that no earlier snapshot of this iteration had, oldest first. */
  readonly events: readonly AuditRecord[];
}

/**
 * Snapshots of a run until it is final.
 *
 * @throws OrlojError that the server gave (such as RUN_NOT_FOUND), or CONNECTION_LOST after the last try.
 */
export async function* watchRun(
  client: Client<typeof WorkflowService>,
  runId: string,
  host: Host,
  signal?: AbortSignal,
): AsyncGenerator<RunSnapshot, void, undefined> {
  const seen = new Set<bigint>();
  let edges: readonly Edge[] = [];
  for (let failures = 0; ; ) {
    // A connect stream is not ended by leaving its loop, only by its signal.
    const stop = new AbortController();
    const streamSignal = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
    let lost: unknown;
    try {
      for await (const { run, tasks, events } of client.watchRun({ runId }, { signal: streamSignal })) {
        if (run === undefined) continue;
        failures = 0;
        if (run.edges.length > 0) edges = run.edges;
        else run.edges = [...edges];
        const fresh = events.filter((event) => !seen.has(event.id));
        for (const event of fresh) seen.add(event.id);
        yield { run, tasks, events: fresh };
        if (isFinal(run.state)) return;
      }
    } catch (error) {
      lost = error;
    } finally {
      stop.abort();
    }
    if (signal?.aborted) throw stoppedByCaller(signal);
    if (lost !== undefined && !isResumable(lost)) throw OrlojError.from(lost);
    failures += 1;
    if (failures >= WATCH_TRIES_MAX) throw lostForGood(runId, lost);
    await host.sleep(retryDelayMs(RESUME_DELAY, failures, host), signal);
  }
}

// What the server said in so many words is final, but for Unavailable; all else is a stream that broke.
function isResumable(error: unknown): boolean {
  const failure = ConnectError.from(error);
  return failure.code === Code.Unavailable || (!failure.isWireError && failure.code !== Code.Unauthenticated);
}

function stoppedByCaller(signal: AbortSignal): OrlojError {
  return new OrlojError("watching was stopped by its signal", {
    reason: "ABORTED_BY_CALLER",
    code: Code.Canceled,
    cause: signal.reason,
  });
}

function lostForGood(runId: string, cause: unknown): OrlojError {
  return new OrlojError(`lost the server while watching ${runId}; the run goes on without a watcher`, {
    reason: "CONNECTION_LOST",
    code: Code.Unavailable,
    metadata: { run: runId },
    cause,
  });
}
