// A YAML document as a tree that knows where each key and value stands; plain data, so that it can cross threads.
// Made by parse.ts from text and by treeOf from stored JSON; read by the schemas and checks of this room.
// Never holds an alias, a tag, a merge key or a number that JSON cannot say: the gate and the parser refuse them.

import type { Json, JsonObject } from "../../kit/json.ts";
import type { Position } from "./diagnostics.ts";

/** A scalar. */
export interface ScalarTree {
  readonly kind: "scalar";
  readonly at: Position;
  readonly value: null | boolean | number | string;
  readonly style: "plain" | "single" | "double" | "literal" | "folded";
  /** Text as written, where it differs from the value by more than its quotes. */
  readonly raw?: string;
}

/** A sequence. */
export interface ListTree {
  readonly kind: "list";
  readonly at: Position;
  readonly items: readonly Tree[];
}

/** A key with its value; `at` is the key's place. */
export interface Entry {
  readonly key: string;
  readonly at: Position;
  readonly value: Tree;
}

/** A mapping, in file order. */
export interface MapTree {
  readonly kind: "map";
  readonly at: Position;
  readonly entries: readonly Entry[];
}

/** Any node. */
export type Tree = ScalarTree | ListTree | MapTree;

/** JSON value of a tree. */
export function toJson(tree: Tree): Json {
  if (tree.kind === "scalar") return tree.value;
  if (tree.kind === "list") return tree.items.map(toJson);
  const object: JsonObject = {};
  for (const entry of tree.entries) object[entry.key] = toJson(entry.value);
  return object;
}

const NOWHERE: Position = { line: 0, column: 0 };

/** Tree of a JSON value, without positions. */
export function treeOf(value: Json): Tree {
  if (Array.isArray(value)) return { kind: "list", at: NOWHERE, items: value.map(treeOf) };
  if (typeof value === "object" && value !== null) {
    const entries = Object.keys(value).map((key) => ({ key, at: NOWHERE, value: treeOf(value[key] as Json) }));
    return { kind: "map", at: NOWHERE, entries };
  }
  return { kind: "scalar", at: NOWHERE, value, style: typeof value === "string" ? "double" : "plain" };
}

/** Value of a key of a map, if it is there. */
export function child(tree: Tree | undefined, key: string): Tree | undefined {
  return tree?.kind === "map" ? tree.entries.find((entry) => entry.key === key)?.value : undefined;
}

/** What a tree is, in the words of an error message. */
export function describe(tree: Tree): string {
  if (tree.kind === "list") return "a list";
  if (tree.kind === "map") return "a map";
  if (tree.value === null) return "nothing";
  if (typeof tree.value === "string") return "a string";
  return `the ${typeof tree.value} ${String(tree.value)}`;
}

/** Every string scalar of a tree with its path, in file order. */
export function* strings(tree: Tree, path: string): Generator<{ tree: ScalarTree & { value: string }; path: string }> {
  if (tree.kind === "list") {
    for (const [index, item] of tree.items.entries()) yield* strings(item, `${path}[${index}]`);
  } else if (tree.kind === "map") {
    for (const entry of tree.entries) yield* strings(entry.value, `${path}.${entry.key}`);
  } else if (typeof tree.value === "string") {
    yield { tree: tree as ScalarTree & { value: string }, path };
  }
}

/** Place in the file of a character of a scalar's value (offset in UTF-16 units); folded blocks give their first line. */
export function positionInside(tree: ScalarTree, offset: number): Position {
  const { at, style, raw } = tree;
  if (at.line === 0) return at;
  if (style === "folded") return { line: at.line + 1, column: 1 };
  if (style === "literal") return insideLiteral(tree, offset);
  if (raw === undefined) return { line: at.line, column: at.column + (style === "plain" ? 0 : 1) + offset };
  const end = rawIndex(raw, style, offset);
  const lastBreak = raw.lastIndexOf("\n", end - 1);
  if (lastBreak < 0) return { line: at.line, column: at.column + end };
  return { line: at.line + raw.slice(0, end).split("\n").length - 1, column: end - lastBreak };
}

function insideLiteral(tree: ScalarTree, offset: number): Position {
  const before = String(tree.value).slice(0, offset);
  const line = before.split("\n").length - 1;
  const content = (tree.raw ?? "").split("\n").slice(1);
  const first = content.find((text) => text.trim() !== "") ?? "";
  const indent = first.length - first.trimStart().length;
  return { line: tree.at.line + 1 + line, column: indent + 1 + before.length - (before.lastIndexOf("\n") + 1) };
}

// Walks the written text and counts how much of the value each piece makes: escapes, doubled quotes, folded line breaks.
function rawIndex(raw: string, style: ScalarTree["style"], offset: number): number {
  let index = style === "plain" ? 0 : 1;
  let made = 0;
  while (made < offset && index < raw.length) {
    const folded = /^[ \t]*\r?\n\s*/.exec(raw.slice(index, index + 400));
    if (folded !== null) {
      index += folded[0].length;
      made += Math.max(1, folded[0].split("\n").length - 2);
    } else if (style === "double" && raw[index] === "\\") {
      const written = /^\\(?:\r?\n[ \t]*|x..|u....|U.{8}|.)/s.exec(raw.slice(index, index + 400))?.[0] ?? "\\";
      index += written.length;
      made += /^\\\r?\n/.test(written) ? 0 : /^\\U000[1-9]|^\\U0010/.test(written) ? 2 : 1;
    } else {
      index += style === "single" && raw.startsWith("''", index) ? 2 : 1;
      made += 1;
    }
  }
  return index;
}
