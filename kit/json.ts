// JSON values, their canonical text and their digest.
// Used by every room that stores, hashes or compares JSON.
// Canonical text: keys sorted by UTF-16 code unit, no white space, -0 as 0 (RFC 8785's rules for what JSON.parse can yield).
// Never reads a clock, the store or the network.

import { createHash } from "node:crypto";

/** Any JSON value. Objects parsed from outside have no prototype pollution risk here: keys are only copied, never merged. */
export type Json = null | boolean | number | string | Json[] | JsonObject;
/** A JSON object. */
export interface JsonObject {
  [key: string]: Json;
}

/** True for a JSON object (not null, not an array). */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Levels of arrays and objects within each other that parseJson takes. */
export const JSON_DEPTH_MAX = 128;

/**
 * Parses JSON from outside. Everything that walks a value calls itself once a level, so what is nested deeper is refused here.
 *
 * @throws SyntaxError for text that is not JSON, or that nests deeper than depthMax levels.
 */
export function parseJson(text: string, depthMax = JSON_DEPTH_MAX): Json {
  assertShallow(text, depthMax);
  return JSON.parse(text) as Json;
}

// Reads brackets outside of strings; text that is no JSON at all is left to the parser.
function assertShallow(text: string, depthMax: number): void {
  let depth = 0;
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at];
    if (character === '"') at = endOfString(text, at);
    else if (character === "]" || character === "}") depth -= 1;
    else if (character === "[" || character === "{") {
      depth += 1;
      if (depth > depthMax) throw new SyntaxError(`nested deeper than ${depthMax} levels`);
    }
  }
}

function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at;
}

/**
 * Canonical JSON text of a value; equal values give equal text. A member that is undefined is left out.
 *
 * @throws TypeError for NaN, Infinity, any other undefined, functions and symbols, which JSON cannot say.
 */
export function canonicalJson(value: Json): string {
  if (value === null || typeof value === "boolean" || typeof value === "string") return JSON.stringify(value);
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw new TypeError(`canonicalJson: ${value} is not a JSON number`);
    return JSON.stringify(Object.is(value, -0) ? 0 : value);
  }
  if (Array.isArray(value)) return `[${Array.from(value, (item) => canonicalJson(item)).join(",")}]`;
  if (!isJsonObject(value)) throw new TypeError(`canonicalJson: a ${typeof value} is not a JSON value`);
  const members: string[] = [];
  for (const key of Object.keys(value).sort()) {
    const member = value[key];
    if (member !== undefined) members.push(`${JSON.stringify(key)}:${canonicalJson(member)}`);
  }
  return `{${members.join(",")}}`;
}

/** "sha256:" and 64 hex digits of a text's UTF-8 bytes. */
export function sha256(text: string | Uint8Array): string {
  return `sha256:${createHash("sha256").update(text).digest("hex")}`;
}

/** Digest of a value's canonical text. */
export function jsonDigest(value: Json): string {
  return sha256(canonicalJson(value));
}
