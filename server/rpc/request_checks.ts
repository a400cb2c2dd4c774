// Checks of request fields: presence, sizes, ranges, kinds, states, times.
// Called by every service before a command runs; commands may rely on what passed here.
// Never looks at the store and never judges manifests or parameters: their own rooms do.

import { type Duration, durationMs, type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import { DomainError } from "../../kit/errors.ts";
import type { PageRequest } from "../commands/views.ts";
import { KINDS, type Kind } from "../manifests/specs.ts";

/** Characters of an id, a name or a namespace. */
export const NAME_CHARS_MAX = 253;
/** Characters of a reason that a person gives. */
export const REASON_CHARS_MAX = 1_024;
const PAGE_TOKEN_CHARS_MAX = 1_024;

/** REQUEST_INVALID about one field. */
export function invalidField(field: string, problem: string): DomainError {
  return new DomainError("REQUEST_INVALID", `${field}: ${problem}`, { field });
}

/** Text of at most charsMax characters (UTF-16 code units) that every store can hold; may be empty. */
export function text(field: string, value: string, charsMax: number): string {
  if (value.length > charsMax) throw invalidField(field, `is longer than ${charsMax} characters: shorten it`);
  if (value.includes("\0") || !value.isWellFormed()) {
    throw invalidField(field, "holds U+0000 or half of a surrogate pair: remove that character");
  }
  return value;
}

/** Like text, and not empty. */
export function requiredText(field: string, value: string, charsMax: number = NAME_CHARS_MAX): string {
  if (value === "") throw invalidField(field, "is empty: set it");
  return text(field, value, charsMax);
}

/** Text whose UTF-8 form has at most bytesMax bytes; any characters. @throws PAYLOAD_TOO_LARGE */
export function bytesWithin(field: string, value: string, bytesMax: number): string {
  // UTF-8 takes one to three bytes a code unit, so most values are decided without encoding them.
  if (value.length * 3 <= bytesMax || (value.length <= bytesMax && Buffer.byteLength(value) <= bytesMax)) return value;
  throw new DomainError("PAYLOAD_TOO_LARGE", `${field}: is larger than ${bytesMax} bytes: send less`, { field });
}

/** Number of items within bounds. @throws PAYLOAD_TOO_LARGE above max. */
export function itemCount(field: string, count: number, min: number, max: number): void {
  if (count < min) throw invalidField(field, `has ${count} items: send at least ${min}`);
  if (count <= max) return;
  throw new DomainError("PAYLOAD_TOO_LARGE", `${field}: has ${count} items: send at most ${max} at a time`, { field });
}

/** A map with at most 64 entries of 1 to 253 characters to at most 4,096. */
export function textMap(field: string, map: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const entries = Object.entries(map);
  itemCount(field, entries.length, 0, 64);
  for (const [key, value] of entries) {
    requiredText(`${field} key`, key);
    text(`${field}[${JSON.stringify(key)}]`, value, 4_096);
  }
  return map;
}

/** The namespace, "default" when empty. */
export function namespaceOrDefault(field: string, value: string): string {
  return value === "" ? "default" : text(field, value, NAME_CHARS_MAX);
}

/** One of the five kinds. */
export function kindOf(field: string, value: string): Kind {
  const kind = KINDS.find((name) => name === value);
  if (kind === undefined) throw invalidField(field, `is not a kind: use one of ${KINDS.join(", ")}`);
  return kind;
}

/** Size and token of a page; 0 leaves the size to the listing. */
export function pageOf(request: { pageSize: number; pageToken: string }, sizeMax: number): PageRequest {
  if (request.pageSize < 0 || request.pageSize > sizeMax) {
    throw invalidField("page_size", `is ${request.pageSize}: use 1 to ${sizeMax}, or 0 for the default`);
  }
  if (request.pageToken.length > PAGE_TOKEN_CHARS_MAX || !/^[\x21-\x7e]*$/.test(request.pageToken)) {
    throw new DomainError("PAGE_TOKEN_INVALID", "page_token: is not one that this listing returned: start without one");
  }
  return { pageSize: request.pageSize, pageToken: request.pageToken };
}

/** A point in time between the years 1 and 9999. */
export function timeOf(field: string, value: Timestamp): Date {
  const seconds = Number(value.seconds);
  const inRange = seconds >= -62_135_596_800 && seconds <= 253_402_300_799;
  if (!inRange || value.nanos < 0 || value.nanos > 999_999_999) {
    throw invalidField(field, "is outside of the years 1 to 9999 or has bad nanos: use an RFC 3339 time");
  }
  return timestampDate(value);
}

/** A duration in ms, 1 to maxMs; fallbackMs when absent. */
export function durationOf(field: string, value: Duration | undefined, fallbackMs: number, maxMs: number): number {
  if (value === undefined) return fallbackMs;
  const ms = durationMs(value);
  if (ms < 1 || ms > maxMs) throw invalidField(field, `is ${ms} ms: use 1 to ${maxMs} ms`);
  return Math.round(ms);
}
