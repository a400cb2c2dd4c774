// The hash chain of the audit trail: what a record's hash covers, and how heads follow from hashes.
// Called by commands/seal_audit.ts, and by segment_check.ts and trail_verifier.ts, which say what is wrong with a chain. Pure.
// A chain shows that something was changed, never by whom: who may write to the database could make a new one.

import { canonicalJson, sha256 } from "../../kit/json.ts";

/** A record as it is hashed. */
export interface ChainRecord {
  readonly id: string;
  /** Database time in UTC with microseconds, such as 2026-01-31T12:00:00.000001Z. */
  readonly time: string;
  readonly kind: string;
  readonly namespace: string;
  readonly runId: string;
  readonly taskId: string;
  readonly actor: string;
  /** Who invoked the run that it belongs to; empty if it belongs to none. */
  readonly onBehalfOf: string;
  /** W3C trace id of that run or call; empty if there is none. */
  readonly traceId: string;
  /** Canonical JSON text. */
  readonly record: string;
}

/** What a chain holds of a record. */
export interface HashedRecord {
  readonly id: string;
  /** 64 hex digits. */
  readonly hash: string;
}

/** Where a chain is: after a segment. */
export interface ChainHead {
  readonly number: number;
  /** Id of its last record; every lower one is covered, removed or was never given. */
  readonly lastId: string;
  /** Records before and in it, from the beginning of the trail. */
  readonly lastSequence: number;
  readonly head: string;
}

/** Records sealed together, in order of their ids. */
export interface ChainSegment extends ChainHead {
  readonly firstSequence: number;
  readonly ids: readonly string[];
  /** One hash an id, 64 hex digits each. */
  readonly hashes: readonly string[];
  readonly previousHead: string;
}

/** The head before the first record. */
export const GENESIS: ChainHead = { number: 0, lastId: "0", lastSequence: 0, head: "0".repeat(64) };

/**
 * Hash of a record, 64 hex digits. Members that came later are hashed where they are not empty: older hashes stay as they are.
 * What is sealed was hashed by the database, in the same way (segment_queries.ts): both must agree on every record.
 */
export function recordHash(entry: ChainRecord): string {
  const { id, time, kind, namespace, runId, taskId, actor, onBehalfOf, traceId, record } = entry;
  const later = { ...(onBehalfOf !== "" && { onBehalfOf }), ...(traceId !== "" && { traceId }) };
  return hex(canonicalJson({ id, time, kind, namespace, runId, taskId, actor, record, ...later }));
}

/** The head after records with these hashes. */
export function headAfter(previousHead: string, hashes: readonly string[]): string {
  return hashes.reduce((head, hash) => hex(`${head}\n${hash}`), previousHead);
}

/** The segment of records, at least one, that follows a head. */
export function sealSegment(previous: ChainHead, records: readonly HashedRecord[]): ChainSegment {
  const hashes = records.map(({ hash }) => hash);
  return {
    number: previous.number + 1,
    lastId: records.at(-1)?.id ?? previous.lastId,
    firstSequence: previous.lastSequence + 1,
    lastSequence: previous.lastSequence + records.length,
    ids: records.map(({ id }) => id),
    hashes,
    previousHead: previous.head,
    head: headAfter(previous.head, hashes),
  };
}

function hex(text: string): string {
  return sha256(text).slice("sha256:".length);
}
