// The lines of an exported trail, one JSON object each: how they are written and how they are read back.
// Written by commands/export_audit.ts, read by trail_verifier.ts. docs/audit.md describes them for other readers. Pure.
// What comes from a file is not believed: a line that is not of this form has a problem, never a half-read value.

import { isJsonObject, type Json, type JsonObject } from "../../kit/json.ts";
import type { ChainHead, ChainRecord, ChainSegment } from "./chain.ts";
import type { Checkpoint } from "./checkpoint.ts";

/** Version of the format. */
export const EXPORT_VERSION = 1;

/** What an export was narrowed to; empty members do not narrow. */
export interface ExportFilter {
  readonly runId: string;
  /** Inclusive and exclusive, RFC 3339. Whole segments up to a signed head are exported all the same. */
  readonly startTime: string;
  readonly endTime: string;
}

/** An export of everything. */
export const NO_FILTER: ExportFilter = { runId: "", startTime: "", endTime: "" };

/** First line: what is exported, and where the chain begins. */
export interface TrailLine {
  readonly type: "trail";
  readonly version: number;
  /** Database time before the first read. */
  readonly time: string;
  readonly filter: ExportFilter;
  /** The head before the first segment. */
  readonly start: ChainHead;
}

/** Last line, signed: an export without it is cut off. */
export interface EndLine {
  readonly type: "end";
  readonly segments: number;
  readonly records: number;
  readonly unsealed: number;
  /** SHA-256 of every line before this one, each with its line feed; 64 hex digits. */
  readonly digest: string;
  readonly key: string;
  readonly signature: string;
}

/** Any line. Records follow their segment, a signed head follows the segment that it signs. */
export type ExportLine =
  | TrailLine
  | ({ readonly type: "segment" } & ChainSegment)
  | ({ readonly type: "record" } & ChainRecord)
  | ({ readonly type: "head" } & Checkpoint)
  | ({ readonly type: "unsealed" } & ChainRecord)
  | EndLine;

/** The text of a line, without its line feed. */
export function lineText(line: ExportLine): string {
  return JSON.stringify(line);
}

/** What the signature of the last line covers. */
export function endStatement({ segments, records, unsealed, digest, key }: Omit<EndLine, "signature">): JsonObject {
  return { type: "end", segments, records, unsealed, digest, key };
}

type Reader = (value: Json | undefined) => boolean;
type Shape = Readonly<Record<string, Reader>>;

const text: Reader = (value) => typeof value === "string";
const id: Reader = (value) => typeof value === "string" && /^(0|[1-9]\d{0,18})$/.test(value);
const count: Reader = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const hash: Reader = (value) => typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
const listOf =
  (each: Reader): Reader =>
  (value) =>
    Array.isArray(value) && value.every((item) => each(item));
const shaped =
  (shape: Shape): Reader =>
  (value) =>
    isJsonObject(value) && Object.entries(shape).every(([name, reads]) => reads(value[name]));

const HEAD: Shape = { number: count, lastId: id, lastSequence: count, head: hash };
const RECORD: Shape = {
  ...{ id, time: text, kind: text, namespace: text, runId: text, taskId: text, actor: text },
  ...{ onBehalfOf: text, traceId: text, record: text },
};
const SIGNED: Shape = { key: text, signature: text };
const CHECKPOINT: Shape = {
  ...{ number: count, segment: count, lastId: id, lastSequence: count, head: hash, previous: hash, time: text },
  ...SIGNED,
};

const SHAPES: Readonly<Record<ExportLine["type"], Shape>> = {
  trail: {
    ...{ version: (value) => value === EXPORT_VERSION, time: text, start: shaped(HEAD) },
    filter: shaped({ runId: text, startTime: text, endTime: text }),
  },
  segment: { ...HEAD, firstSequence: count, previousHead: hash, ids: listOf(id), hashes: listOf(hash) },
  record: RECORD,
  head: CHECKPOINT,
  unsealed: RECORD,
  end: { segments: count, records: count, unsealed: count, digest: hash, ...SIGNED },
};

/** Reads a line; a text says what is wrong with it. */
export function readLine(line: string): ExportLine | string {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return "is no JSON";
  }
  if (!isJsonObject(value) || typeof value["type"] !== "string") return "is no object with a type";
  if (!Object.hasOwn(SHAPES, value["type"]))
    return `has the unknown type ${JSON.stringify(value["type"].slice(0, 32))}`;
  const shape = SHAPES[value["type"] as ExportLine["type"]];
  const wrong = Object.keys(shape).find((name) => shape[name]?.(value[name]) !== true);
  return wrong === undefined ? (value as unknown as ExportLine) : `has no valid member ${wrong}`;
}
