// JSON values, their canonical text and their digest.
// Used by every room that stores, hashes or compares JSON.
// Canonical text: keys sorted by UTF-16 code unit, no white space, -0 as 0 (RFC 8785's rules for what JSON.parse can yield).
// Never reads a clock, the store or the network.

import { hash } from "node:crypto";
import { orderedMembers } from "./member_order.ts";

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
  switch (typeof value) {
    case "string":
      return canonicalString(value);
    case "number":
      if (!Number.isFinite(value)) throw new TypeError(`canonicalJson: ${value} is not a JSON number`);
      return String(value);
    case "boolean":
      return String(value);
    case "object":
      if (value === null) return "null";
      return Array.isArray(value) ? canonicalArray(value) : canonicalObject(value);
    default:
      throw new TypeError(`canonicalJson: a ${typeof value} is not a JSON value`);
  }
}

const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;
/** Strings that are longer are escaped in any case: looking whether they need it would take as long. */
const PLAIN_CHARACTERS_MAX = 200;

function canonicalString(text: string): string {
  return text.length <= PLAIN_CHARACTERS_MAX && PLAIN.test(text) ? `"${text}"` : JSON.stringify(text);
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
  for (const { name, text: named } of orderedMembers(value)) {
    const member = value[name];
    if (member !== undefined) text += `${text === "" ? "" : ","}${named}${canonicalJson(member)}`;
  }
  return `{${text}}`;
}

/** "sha256:" and 64 hex digits of a text's UTF-8 bytes. */
export function sha256(text: string | Uint8Array): string {
  return `sha256:${hash("sha256", text, "hex")}`;
}

/** Digest of a value's canonical text. */
export function jsonDigest(value: Json): string {
  return sha256(canonicalJson(value));
}
