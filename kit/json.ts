// JSON values, their canonical text and their digest.
// Used by every room that stores, hashes or compares JSON.
// Canonical text: keys sorted by UTF-16 code unit, no white space, -0 as 0 (RFC 8785's rules for what JSON.parse can yield).
// Never reads a clock, the store or the network.

import { hash } from "node:crypto";

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
  if (Array.isArray(value)) return canonicalArray(value);
  if (!isJsonObject(value)) throw new TypeError(`canonicalJson: a ${typeof value} is not a JSON value`);
  return canonicalObject(value);
}

// By index, not by callback: a hole of a sparse array is refused like any undefined.
function canonicalArray(items: readonly Json[]): string {
  let text = "[";
  for (let index = 0; index < items.length; index += 1) {
    text += index === 0 ? canonicalJson(items[index] as Json) : `,${canonicalJson(items[index] as Json)}`;
  }
  return `${text}]`;
}

function canonicalObject(value: JsonObject): string {
  let text = "";
  for (const key of Object.keys(value).sort()) {
    const member = value[key];
    if (member !== undefined) text += `${text === "" ? "" : ","}${quotedKey(key)}${canonicalJson(member)}`;
  }
  return `{${text}}`;
}

/** Names of members that are remembered quoted, and how long they may be: those of our own documents, and some of others. */
const KEYS_KNOWN_MAX = 2_000;
const KEY_CHARACTERS_MAX = 64;
const quotedKeys = new Map<string, string>();

function quotedKey(key: string): string {
  const known = quotedKeys.get(key);
  if (known !== undefined) return known;
  const quoted = `${JSON.stringify(key)}:`;
  if (quotedKeys.size < KEYS_KNOWN_MAX && key.length <= KEY_CHARACTERS_MAX) quotedKeys.set(key, quoted);
  return quoted;
}

/** "sha256:" and 64 hex digits of a text's UTF-8 bytes. */
export function sha256(text: string | Uint8Array): string {
  return `sha256:${hash("sha256", text, "hex")}`;
}

/** Digest of a value's canonical text. */
export function jsonDigest(value: Json): string {
  return sha256(canonicalJson(value));
}
