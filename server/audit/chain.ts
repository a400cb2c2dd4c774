// The hash chain of the audit trail: what a record's hash covers, how heads follow from hashes, and what a broken chain looks like.
// Called by commands/seal_audit.ts; verifyChain is for whoever checks an exported or stored trail. Pure.
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
  /** Canonical JSON text. */
  readonly record: string;
}

/** Where a chain is: after a segment. */
export interface ChainHead {
  readonly number: number;
  /** Highest id that it covers; every lower one is covered, removed or was never given. */
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

/** What a check found. */
export interface ChainFinding {
  readonly problem: "edited" | "missing" | "inserted" | "reordered" | "forked" | "broken" | "truncated";
  readonly segment: number;
  readonly id?: string;
}

/** A trail to check. */
export interface Trail {
  /** Where it begins: what the last removal kept, or GENESIS. */
  readonly start: ChainHead;
  readonly segments: readonly ChainSegment[];
  readonly records: readonly ChainRecord[];
  /** A head known from elsewhere: only it can show that the end is missing. */
  readonly expected?: Pick<ChainHead, "number" | "head">;
}

/** The head before the first record. */
export const GENESIS: ChainHead = { number: 0, lastId: "0", lastSequence: 0, head: "0".repeat(64) };

/** Hash of a record, 64 hex digits. */
export function recordHash({ id, time, kind, namespace, runId, taskId, actor, record }: ChainRecord): string {
  return hex(canonicalJson({ id, time, kind, namespace, runId, taskId, actor, record }));
}

/** The head after records with these hashes. */
export function headAfter(previousHead: string, hashes: readonly string[]): string {
  return hashes.reduce((head, hash) => hex(`${head}\n${hash}`), previousHead);
}

/** The segment of records that follows a head; through is the highest id that is known to be settled. */
export function sealSegment(previous: ChainHead, records: readonly ChainRecord[], through: string): ChainSegment {
  const hashes = records.map(recordHash);
  return {
    number: previous.number + 1,
    lastId: through,
    firstSequence: previous.lastSequence + 1,
    lastSequence: previous.lastSequence + records.length,
    ids: records.map(({ id }) => id),
    hashes,
    previousHead: previous.head,
    head: headAfter(previous.head, hashes),
  };
}

/** Everything that is wrong with a trail; records above the last segment are its unsealed tail and not judged. */
export function verifyChain({ start, segments, records, expected }: Trail): ChainFinding[] {
  const findings: ChainFinding[] = [];
  const byId = new Map(records.map((record) => [record.id, record]));
  let previous = start;
  for (const segment of segments) {
    const problem = linkProblem(previous, segment);
    if (problem !== undefined) findings.push({ problem, segment: segment.number });
    findings.push(...recordFindings(segment, byId));
    previous = segment;
  }
  const sealed = new Set(segments.flatMap(({ ids }) => ids));
  for (const { id } of records) {
    if (sealed.has(id) || BigInt(id) > BigInt(previous.lastId)) continue;
    const owner = segments.find(({ lastId }) => BigInt(id) <= BigInt(lastId));
    findings.push({ problem: "inserted", segment: owner?.number ?? start.number, id });
  }
  if (expected !== undefined && previous.number < expected.number)
    findings.push({ problem: "truncated", segment: expected.number });
  const known = [start, ...segments].filter(({ number }) => number === expected?.number);
  if (known.some(({ head }) => head !== expected?.head))
    findings.push({ problem: "forked", segment: expected?.number ?? 0 });
  return findings;
}

function linkProblem(previous: ChainHead, segment: ChainSegment): ChainFinding["problem"] | undefined {
  if (segment.number === previous.number) return "forked";
  if (segment.number < previous.number) return "reordered";
  if (segment.number > previous.number + 1) return "missing";
  if (segment.previousHead !== previous.head) return "forked";
  const { ids, hashes } = segment;
  const counted = segment.firstSequence === previous.lastSequence + 1 && ids.length > 0;
  const ended = segment.lastSequence === previous.lastSequence + ids.length && hashes.length === ids.length;
  if (!counted || !ended || headAfter(segment.previousHead, hashes) !== segment.head) return "broken";
  const bounds = [previous.lastId, ...ids].map(BigInt);
  const ascending = bounds.every((id, index) => index === 0 || id > (bounds[index - 1] as bigint));
  return ascending && (bounds.at(-1) as bigint) <= BigInt(segment.lastId) ? undefined : "reordered";
}

function recordFindings(segment: ChainSegment, byId: ReadonlyMap<string, ChainRecord>): ChainFinding[] {
  return segment.ids.flatMap((id, index): ChainFinding[] => {
    const record = byId.get(id);
    if (record === undefined) return [{ problem: "missing", segment: segment.number, id }];
    if (recordHash(record) === segment.hashes[index]) return [];
    return [{ problem: "edited", segment: segment.number, id }];
  });
}

function hex(text: string): string {
  return sha256(text).slice("sha256:".length);
}
