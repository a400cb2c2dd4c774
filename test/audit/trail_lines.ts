// Trails as exported lines, made in memory with a key of their own, and what the verifier says about them.
// Used by tests that have segments and records from somewhere and want to know whether they are whole.

import { createHash, generateKeyPairSync } from "node:crypto";
import { canonicalJson } from "../../kit/json.ts";
import {
  type ChainHead,
  type ChainRecord,
  type ChainSegment,
  recordHash,
  sealSegment,
} from "../../server/audit/chain.ts";
import {
  type Checkpoint,
  checkpointHash,
  NO_CHECKPOINT,
  type SigningKey,
  signCheckpoint,
  signingKey,
  signText,
} from "../../server/audit/checkpoint.ts";
import {
  type ExportFilter,
  type ExportLine,
  endStatement,
  lineText,
  NO_FILTER,
} from "../../server/audit/export_lines.ts";
import { compareIds } from "../../server/audit/segment_check.ts";
import { TrailVerifier, type Verification, type VerifierOptions } from "../../server/audit/trail_verifier.ts";

/** A new signing key. */
export function newKey(): SigningKey {
  const { privateKey } = generateKeyPairSync("ed25519");
  return signingKey(privateKey.export({ type: "pkcs8", format: "pem" }) as string, "test");
}

/** Keys that a verifier takes. */
export const keysOf = (...keys: SigningKey[]) => new Map(keys.map(({ name, publicKey }) => [name, publicKey]));

export const EXPORT_TIME = "2026-01-02T00:00:00.000000Z";

/** The segment of records that follows a head; hashed here, and not by a database. */
export function sealRecords(previous: ChainHead, records: readonly ChainRecord[]): ChainSegment {
  return sealSegment(
    previous,
    records.map((record) => ({ id: record.id, hash: recordHash(record) })),
  );
}

/** The checkpoint that signs a segment. */
export function headOf(segment: ChainHead, last: Checkpoint | undefined, key: SigningKey): Checkpoint {
  const { number, lastId, lastSequence, head } = segment;
  const place = { number: (last?.number ?? 0) + 1, segment: number, lastId, lastSequence, head };
  const previous = last === undefined ? NO_CHECKPOINT : checkpointHash(last);
  return signCheckpoint({ ...place, previous, time: "2026-01-01T12:00:00.000000Z" }, key);
}

export interface Trail {
  readonly start: ChainHead;
  readonly segments: readonly ChainSegment[];
  readonly records: readonly ChainRecord[];
  readonly heads: readonly Checkpoint[];
  readonly filter?: ExportFilter;
}

/** The lines of a trail, as an export writes them. */
export function linesOf({ start, segments, records, heads, filter = NO_FILTER }: Trail, key: SigningKey): string[] {
  const { number, lastId, lastSequence, head } = start;
  const left = [...records].sort((a, b) => compareIds(a.id, b.id));
  const signed = [...heads];
  const lines: ExportLine[] = [
    { type: "trail", version: 1, time: EXPORT_TIME, filter, start: { number, lastId, lastSequence, head } },
  ];
  for (const segment of segments) {
    lines.push({ type: "segment", ...segment });
    while (left[0] !== undefined && compareIds(left[0].id, segment.lastId) <= 0) {
      lines.push({ type: "record", ...(left.shift() as ChainRecord) });
    }
    while (signed[0] !== undefined && signed[0].segment <= segment.number) {
      lines.push({ type: "head", ...(signed.shift() as Checkpoint) });
    }
  }
  lines.push(...signed.map((one) => ({ type: "head", ...one }) as const));
  lines.push(...left.map((record) => ({ type: "unsealed", ...record }) as const));
  const count = (type: string) => lines.filter((line) => line.type === type).length;
  const counts = { segments: count("segment"), records: count("record"), unsealed: count("unsealed") };
  const texts = lines.map(lineText);
  const digest = createHash("sha256")
    .update(texts.map((text) => `${text}\n`).join(""))
    .digest("hex");
  const end = { type: "end", ...counts, digest, key: key.name } as const;
  return [...texts, lineText({ ...end, signature: signText(canonicalJson(endStatement(end)), key) })];
}

/** What the verifier says about lines. */
export function verifyLines(lines: readonly string[], options: VerifierOptions): Verification {
  const verifier = new TrailVerifier(options);
  for (const line of lines) verifier.line(line);
  return verifier.end();
}

/** What is wrong with a stored trail, from where it begins on; its end is signed first. */
export function problemsOf(trail: Omit<Trail, "heads">) {
  const key = newKey();
  const last = trail.segments.at(-1);
  const heads = last === undefined ? [] : [headOf(last, undefined, key)];
  const filter = { ...NO_FILTER, startTime: trail.start.number === 0 ? "" : EXPORT_TIME };
  return verifyLines(linesOf({ filter, ...trail, heads }, key), { keys: keysOf(key) }).findings;
}
