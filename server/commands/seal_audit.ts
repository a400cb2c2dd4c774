// Seals the audit trail: chains records that can no longer be preceded by others, one segment a transaction.
// Called by dispatch/sealer.ts on every replica; the segment's number decides between two that seal at once.
// Never updates a record, never skips one: what is sealed lies at or below a checkpoint older than every running transaction.

import { sealSegment } from "../audit/chain.ts";
import type { Store } from "../storage/store.ts";

/** Records in one segment at most. */
export const SEGMENT_RECORDS_MAX = 500;

/** Ids up to lastId belong to transactions below bound: once those have ended, the ids are settled. */
export interface SealCheckpoint {
  readonly bound: string;
  readonly lastId: string;
}

/** What one segment's transaction did. */
export type Sealed = "nothing" | "partly" | "through" | "outrun";

/** Seals the next records up to an id that is settled. @throws DomainError for database trouble */
export async function sealAudit(store: Store, through: string): Promise<Sealed> {
  return await store.transaction(async (tx) => {
    const head = await tx.segments.head();
    const { records, latestTime } = await tx.segments.hashed(head.lastId, through, SEGMENT_RECORDS_MAX);
    if (records.length === 0) return "nothing";
    const full = records.length >= SEGMENT_RECORDS_MAX;
    const inserted = await tx.segments.insert(sealSegment(head, records), latestTime);
    if (!inserted) return "outrun";
    return full ? "partly" : "through";
  });
}
