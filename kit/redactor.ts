// Replaces secret values by [redacted] in text and JSON, in every form of secret_forms.ts.
// One a process: the server's learns what it hands out, the worker's what grants and assignments bring; logs, results, errors and
// turns pass through it. Keeps the values that were used last, so that a rotated one is still known; bounded.
// Never prints, stores or compares a value but to find it.

import { canonicalJson, type Json, type JsonObject, parseJson } from "./json.ts";
import { SECRET_CHARACTERS_MIN, secretForms } from "./secret_forms.ts";
import { MIB } from "./units.ts";

/** What stands where a secret value stood. */
export const REDACTED = "[redacted]";
/** Values that are known at the same time; the one that was not used for the longest time is forgotten first. */
export const SECRETS_KNOWN_MAX = 2_000;
/** Characters of these values together. */
const CHARACTERS_KNOWN_MAX = 4 * MIB;
/** Levels of JSON text that are parsed; deeper text, which is refused where it comes in, is treated as text. */
const DEPTH_MAX = 512;

// A form is found by its first characters: a flag for each hash of them, then the forms that begin so, by their length.
const HEAD = SECRET_CHARACTERS_MIN;
const HASHES = 1 << 18;
const BASE = 31;
/** Value of the first of HEAD digits. */
const HIGHEST = BASE ** (HEAD - 1);

/** See the file header. */
export class Redactor {
  /** Forms of each value, by value, least recently used first. */
  readonly #forms = new Map<string, readonly string[]>();
  readonly #byHead = new Map<string, Map<number, Set<string>>>();
  readonly #heads = new Uint8Array(HASHES);
  #characters = 0;
  #longest = 0;

  /**
   * From now on the value is replaced, wherever it stands.
   *
   * @returns false if it is too short to be looked for (SECRET_CHARACTERS_MIN).
   */
  learn(value: string): boolean {
    const known = this.#forms.get(value);
    if (known !== undefined) {
      this.#forms.delete(value);
      this.#forms.set(value, known);
      return true;
    }
    const forms = secretForms(value);
    if (forms.length === 0) return false;
    this.#forms.set(value, forms);
    this.#characters += value.length;
    for (const form of forms) this.#index(form);
    if (this.#forms.size > SECRETS_KNOWN_MAX || this.#characters > CHARACTERS_KNOWN_MAX) this.#forgetOldest();
    return true;
  }

  /** Characters of the longest form: text that is cut before it passes here must keep that many more. */
  get longest(): number {
    return this.#longest;
  }

  /** The text without secret values; the same string if it holds none. */
  text(text: string): string {
    if (this.#forms.size === 0 || text.length < SECRET_CHARACTERS_MIN) return text;
    let result = "";
    let copied = 0;
    let at = this.#next(text, 0);
    while (at !== undefined) {
      result += text.slice(copied, at.start) + REDACTED;
      copied = at.end;
      at = this.#next(text, at.end);
    }
    return copied === 0 ? text : result + text.slice(copied);
  }

  /** The value without secret values, in strings, names of members and numbers; the same value if it holds none. */
  json(value: Json): Json {
    if (this.#forms.size === 0) return value;
    if (typeof value === "string") return this.text(value);
    if (typeof value === "number") return this.#next(String(value), 0) === undefined ? value : REDACTED;
    if (typeof value !== "object" || value === null) return value;
    if (!Array.isArray(value)) return this.#object(value);
    const items = value.map((item) => this.json(item));
    return items.some((item, index) => item !== value[index]) ? items : value;
  }

  /** JSON text without secret values; the same text if it holds none. Text that is no JSON is treated as text. */
  jsonText(text: string): string {
    // Escapes that JSON does not need could hide a value; else every form of it stands in the text as it is.
    if (this.#forms.size === 0 || (!/\\[u/]/.test(text) && this.#next(text, 0) === undefined)) return text;
    let value: Json;
    try {
      value = parseJson(text, DEPTH_MAX);
    } catch {
      return this.text(text);
    }
    const clean = this.json(value);
    return clean === value ? text : canonicalJson(clean);
  }

  #object(value: JsonObject): JsonObject {
    const members = Object.entries(value).map(([name, member]) => [name, this.text(name), this.json(member)] as const);
    const same = members.every(([name, clean, member]) => clean === name && member === value[name]);
    return same ? value : Object.fromEntries(members.map(([, name, member]) => [name, member]));
  }

  // The first place at or after a position where a form stands; the longest of those that begin there.
  #next(text: string, from: number): { readonly start: number; readonly end: number } | undefined {
    const last = text.length - HEAD;
    let hash = hashAt(text, from);
    for (let at = from; at <= last; at += 1) {
      if (at > from) hash = hashAfter(hash, text, at);
      if (this.#heads[flagOf(hash)] === 0) continue;
      const byLength = this.#byHead.get(text.slice(at, at + HEAD)) ?? new Map<number, Set<string>>();
      let longest = 0;
      for (const [length, forms] of byLength) {
        if (length > longest && forms.has(text.slice(at, at + length))) longest = length;
      }
      if (longest > 0) return { start: at, end: at + longest };
    }
    return undefined;
  }

  #index(form: string): void {
    const head = form.slice(0, HEAD);
    const byLength = this.#byHead.get(head) ?? new Map<number, Set<string>>();
    this.#byHead.set(head, byLength);
    byLength.set(form.length, (byLength.get(form.length) ?? new Set()).add(form));
    this.#heads[flagOf(hashAt(form, 0))] = 1;
    this.#longest = Math.max(this.#longest, form.length);
  }

  // A tenth at once: the index is built anew, which is not for every new value.
  #forgetOldest(): void {
    for (const value of [...this.#forms.keys()].slice(0, -1)) {
      const roomy = this.#forms.size <= SECRETS_KNOWN_MAX * 0.9 && this.#characters <= CHARACTERS_KNOWN_MAX * 0.9;
      if (roomy) break;
      this.#forms.delete(value);
      this.#characters -= value.length;
    }
    this.#byHead.clear();
    this.#heads.fill(0);
    this.#longest = 0;
    for (const forms of this.#forms.values()) for (const form of forms) this.#index(form);
  }
}

// A number in base 31 whose digits are the characters from a position on, modulo 2^32: one character further, one digit goes and one comes.
function hashAt(text: string, at: number): number {
  let hash = 0;
  for (let index = at; index < at + HEAD; index += 1) hash = (Math.imul(hash, BASE) + text.charCodeAt(index)) | 0;
  return hash;
}

function hashAfter(hash: number, text: string, at: number): number {
  const rest = hash - Math.imul(text.charCodeAt(at - 1), HIGHEST);
  return (Math.imul(rest, BASE) + text.charCodeAt(at + HEAD - 1)) | 0;
}

function flagOf(hash: number): number {
  return (hash ^ (hash >>> 15)) & (HASHES - 1);
}
