// Reads one map of a manifest strictly: every key known, every value of its type, all errors reported and none thrown.
// Called by the schema of each kind. A method that finds an error reports it and returns the default, so that one pass finds all.
// Never fills in a value that the caller did not name as the default.

import type { Json, JsonObject } from "../../kit/json.ts";
import { parseDuration } from "../../kit/units.ts";
import { didYouMean, type Findings, type Position } from "./diagnostics.ts";
import { describe, type MapTree, type Tree, toJson } from "./tree.ts";

/** A Kubernetes label: RFC 1123, at most 63 characters. */
export const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
/** Says what LABEL asks. */
export const LABEL_RULE =
  "lower-case letters, digits and dashes, at most 63, beginning and ending with a letter or digit (RFC 1123)";

/** Bounds of an integer. */
export interface IntegerRange {
  readonly min: number;
  readonly max: number;
}

/** One map being read. */
export class Fields {
  readonly findings: Findings;
  readonly tree: MapTree;
  readonly path: string;

  private constructor(findings: Findings, tree: MapTree, path: string) {
    this.findings = findings;
    this.tree = tree;
    this.path = path;
  }

  /** Reads a tree as a map with only these keys; undefined (and an error) if it is not a map. */
  static of(findings: Findings, tree: Tree, path: string, known: readonly string[]): Fields | undefined {
    if (tree.kind !== "map") {
      findings.error(
        "E-TYPE",
        tree.at,
        path,
        `expected a map, found ${describe(tree)}`,
        `known keys: ${known.join(", ")}`,
      );
      return undefined;
    }
    for (const entry of tree.entries) {
      if (known.includes(entry.key)) continue;
      const near = didYouMean(entry.key, known);
      const hint = near === "" ? `known keys: ${known.join(", ")}` : near;
      findings.error("E-UNKNOWN-KEY", entry.at, join(path, entry.key), `unknown key "${entry.key}"`, hint);
    }
    return new Fields(findings, tree, path);
  }

  /** Path of a key of this map. */
  at(key: string): string {
    return join(this.path, key);
  }

  /** Value of a key; undefined when absent. A key without a value is an error. */
  get(key: string): Tree | undefined {
    const entry = this.tree.entries.find((candidate) => candidate.key === key);
    if (entry === undefined) return undefined;
    if (entry.value.kind === "scalar" && entry.value.value === null) {
      this.findings.error("E-TYPE", entry.at, this.at(key), `"${key}" has no value`, "give it one or remove the key");
      return undefined;
    }
    return entry.value;
  }

  /** True if the key is written, with or without a value. */
  has(key: string): boolean {
    return this.tree.entries.some((entry) => entry.key === key);
  }

  /** Place of a key, or of the map. */
  positionOf(key: string): Position {
    return this.tree.entries.find((entry) => entry.key === key)?.at ?? this.tree.at;
  }

  /** Value of a key that must be there. */
  required(key: string): Tree | undefined {
    if (!this.has(key)) this.missing(key);
    return this.get(key);
  }

  /** Reports a key that must be there and is not. */
  missing(key: string): void {
    this.findings.error("E-MISSING", this.tree.at, this.at(key), `"${key}" is missing`, "add it");
  }

  /** A string. */
  string(key: string): string | undefined {
    const tree = this.get(key);
    return tree === undefined ? undefined : readString(this.findings, tree, this.at(key));
  }

  /** A string that must be there. */
  requiredString(key: string): string | undefined {
    if (!this.has(key)) this.missing(key);
    return this.string(key);
  }

  /** A boolean. */
  boolean(key: string, fallback: boolean): boolean {
    const tree = this.get(key);
    if (tree === undefined) return fallback;
    if (tree.kind === "scalar" && typeof tree.value === "boolean") return tree.value;
    this.findings.error("E-TYPE", tree.at, this.at(key), `expected true or false, found ${describe(tree)}`);
    return fallback;
  }

  /** A number within bounds. */
  number(key: string, range: IntegerRange): number | undefined {
    const tree = this.get(key);
    if (tree === undefined) return undefined;
    if (tree.kind !== "scalar" || typeof tree.value !== "number") {
      this.findings.error("E-TYPE", tree.at, this.at(key), `expected a number, found ${describe(tree)}`);
      return undefined;
    }
    if (tree.value >= range.min && tree.value <= range.max) return tree.value;
    const message = `${tree.value} is out of range`;
    this.findings.error("E-VALUE", tree.at, this.at(key), message, `between ${range.min} and ${range.max}`);
    return undefined;
  }

  /** An integer within bounds. */
  integer(key: string, range: IntegerRange, fallback: number): number {
    const value = this.number(key, range);
    if (value === undefined || Number.isInteger(value)) return value ?? fallback;
    this.findings.error("E-TYPE", this.positionOf(key), this.at(key), `expected a whole number, found ${value}`);
    return fallback;
  }

  /** A duration in ms within bounds. */
  duration(key: string, range: IntegerRange, fallback: number): number {
    const tree = this.get(key);
    if (tree === undefined) return fallback;
    const text = tree.kind === "scalar" && typeof tree.value === "string" ? tree.value : undefined;
    const ms = text === undefined ? undefined : parseDuration(text);
    if (ms === undefined) {
      const found = text === undefined ? describe(tree) : `"${text}"`;
      this.findings.error(
        "E-DURATION",
        tree.at,
        this.at(key),
        `${found} is not a duration`,
        "write it as 500ms, 30s, 15m, 2h or 90d",
      );
      return fallback;
    }
    if (ms >= range.min && ms <= range.max) return ms;
    const hint = `between ${formatDuration(range.min)} and ${formatDuration(range.max)}`;
    this.findings.error("E-VALUE", tree.at, this.at(key), `${text} is out of range`, hint);
    return fallback;
  }

  /** One of some words. */
  oneOf<Word extends string>(key: string, words: readonly Word[], fallback: Word): Word;
  oneOf<Word extends string>(key: string, words: readonly Word[]): Word | undefined;
  oneOf<Word extends string>(key: string, words: readonly Word[], fallback?: Word): Word | undefined {
    const tree = this.get(key);
    if (tree === undefined) return fallback;
    return readWord(this.findings, tree, this.at(key), words) ?? fallback;
  }

  /** A list; [] when absent or not a list. */
  list(key: string): readonly Tree[] {
    const tree = this.get(key);
    return tree === undefined ? [] : readList(this.findings, tree, this.at(key));
  }

  /** Any JSON value. */
  json(key: string): Json | undefined {
    const tree = this.get(key);
    return tree === undefined ? undefined : toJson(tree);
  }

  /** A map of strings to strings; {} when absent. */
  strings(key: string): Record<string, string> {
    const tree = this.get(key);
    return tree === undefined ? {} : readStrings(this.findings, tree, this.at(key));
  }
}

/** Reads a string; other scalars draw the hint to quote them. */
export function readString(findings: Findings, tree: Tree, path: string): string | undefined {
  if (tree.kind === "scalar" && typeof tree.value === "string") return tree.value;
  const hint = tree.kind === "scalar" && tree.value !== null ? `quote it: "${String(tree.value)}"` : "";
  findings.error("E-TYPE", tree.at, path, `expected a string, found ${describe(tree)}`, hint);
  return undefined;
}

/** Reads one of some words. */
export function readWord<Word extends string>(
  findings: Findings,
  tree: Tree,
  path: string,
  words: readonly Word[],
): Word | undefined {
  const text = readString(findings, tree, path);
  if (text === undefined || words.includes(text as Word)) return text as Word | undefined;
  const near = didYouMean(text, words);
  findings.error("E-VALUE", tree.at, path, `"${text}" is not one of ${words.join(", ")}`, near);
  return undefined;
}

/** Reads a list. */
export function readList(findings: Findings, tree: Tree, path: string): readonly Tree[] {
  if (tree.kind === "list") return tree.items;
  findings.error("E-TYPE", tree.at, path, `expected a list, found ${describe(tree)}`, "write it as [a, b]");
  return [];
}

/** Reads a list of strings; entries of other types are reported and left out. */
export function readStringList(findings: Findings, tree: Tree, path: string): string[] {
  return readList(findings, tree, path).flatMap((item, index) => readString(findings, item, `${path}[${index}]`) ?? []);
}

/** Reads a map of strings. */
export function readStrings(findings: Findings, tree: Tree, path: string): Record<string, string> {
  const values: Record<string, string> = {};
  if (tree.kind !== "map") {
    findings.error("E-TYPE", tree.at, path, `expected a map, found ${describe(tree)}`);
    return values;
  }
  for (const entry of tree.entries) {
    const value = readString(findings, entry.value, join(path, entry.key));
    if (value !== undefined) values[entry.key] = value;
  }
  return values;
}

/** Reads an RFC 1123 label. */
export function readLabel(findings: Findings, tree: Tree, path: string): string | undefined {
  const text = readString(findings, tree, path);
  if (text === undefined || LABEL.test(text)) return text;
  const suggestion = text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 63);
  const hint = LABEL.test(suggestion) ? `did you mean "${suggestion}"?` : "";
  findings.error("E-NAME", tree.at, path, `"${text.slice(0, 80)}" is not a name: ${LABEL_RULE}`, hint);
  return undefined;
}

/** Text of a duration, the inverse of parseDuration: 90000 is 90s, 120000 is 2m. */
export function formatDuration(ms: number): string {
  for (const [unit, length] of [
    ["d", 86_400_000],
    ["h", 3_600_000],
    ["m", 60_000],
    ["s", 1_000],
  ] as const) {
    if (ms >= length && ms % length === 0) return `${ms / length}${unit}`;
  }
  return `${ms}ms`;
}

/** JSON object without members that are undefined. */
export function compact(members: Record<string, Json | undefined>): JsonObject {
  const object: JsonObject = {};
  for (const [key, value] of Object.entries(members)) if (value !== undefined) object[key] = value;
  return object;
}

/** Path of a key inside a path. */
export function join(path: string, key: string): string {
  return path === "" ? key : `${path}.${key}`;
}
