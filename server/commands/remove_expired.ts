// Removes what is over its time, one bounded batch a transaction: finished runs with all that is theirs, and sealed audit segments.
// Called by dispatch/retention.ts on every replica; batches of two replicas never overlap. Each batch leaves one audit record.
// Never removes a run that has not ended: one that is parked waits for a person, however long.

import { DAY, HOUR } from "../../kit/units.ts";
import { auditRecord } from "../audit/record.ts";
import type { KeptFor } from "../storage/retention_queries.ts";
import type { Store } from "../storage/store.ts";

/** What is kept for how long where no template says otherwise. */
export interface RetentionSettings extends KeptFor {
  /** Absent: audit records are kept for ever. */
  readonly auditMs?: number;
}

/** Kept unless configured, in ms. */
export const RETENTION_DEFAULTS = { runsMs: 90 * DAY, deadLettersMs: 30 * DAY, auditMs: 365 * DAY } as const;

/** Bounds of one batch. Tasks: the runs of a batch together, unless one run alone has more. */
export const BATCH = { runs: 500, tasks: 5_000, segments: 20, rows: 500 } as const;

// A bundle may be stored moments before its first run; a revoked token may be asked about.
const UNUSED_BUNDLE_MS = HOUR;
const REVOKED_TOKEN_MS = DAY;
// A decision counts in the window of its own time, which may be over by a moment when it commits.
const WINDOW_OVER_MS = HOUR;

/** Removes a batch of runs. @returns whether there may be more. @throws DomainError for database trouble */
export async function removeExpiredRuns(store: Store, kept: KeptFor): Promise<boolean> {
  return await store.transaction(async (tx) => {
    const expired = await tx.retention.lockExpiredRuns(kept, BATCH.runs);
    let tasks = 0;
    const batch = expired.filter((run, index) => {
      tasks += run.tasks;
      return index === 0 || tasks <= BATCH.tasks;
    });
    if (batch.length === 0) return false;
    const counts = await tx.retention.deleteRuns(batch.map(({ id }) => id));
    const times = batch.map(({ end_time }) => end_time.getTime());
    const bounds = { firstEnd: iso(Math.min(...times)), lastEnd: iso(Math.max(...times)) };
    const detail = { of: "runs", counts: { ...counts }, bounds } as const;
    await tx.audit.insert([auditRecord({ kind: "retention.removed", actor: "server", detail })]);
    return expired.length === BATCH.runs || batch.length < expired.length;
  });
}

/** Removes a batch of whole segments from the beginning of the trail. @returns whether there may be more */
export async function removeExpiredAudit(store: Store, auditMs: number): Promise<boolean> {
  return await store.transaction(async (tx) => {
    const head = await tx.segments.markRemoved(auditMs, BATCH.segments);
    if (head === undefined) return false;
    const counts = await tx.segments.deleteThrough(head);
    await tx.checkpoints.deleteThrough(head.number);
    const { lastId, lastSequence } = head;
    const bounds = { segment: String(head.number), lastId, lastSequence: String(lastSequence), head: head.head };
    const detail = { of: "audit", counts, bounds } as const;
    await tx.audit.insert([auditRecord({ kind: "retention.removed", actor: "server", detail })]);
    return counts.segments === BATCH.segments;
  });
}

/** Removes what nothing needs any more: expired keys, unused bundles, revoked tokens, counters of windows that are over. These have no state of their own to record. */
export async function removeLeftovers(store: Store): Promise<boolean> {
  const removed = await store.read(async ({ retention, limits }) => [
    await retention.deleteExpiredKeys(BATCH.rows),
    await retention.deleteUnusedBundles(UNUSED_BUNDLE_MS, BATCH.rows),
    await retention.deleteRevokedTokens(REVOKED_TOKEN_MS, BATCH.rows),
    await limits.deleteOver(WINDOW_OVER_MS, BATCH.rows),
  ]);
  return removed.includes(BATCH.rows);
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
