// Turns the bytes of a manifest file into trees with positions, one for each document; every YAML warning is an error.
// Called in the pooled thread (parse_thread.ts) by the server and directly by the CLI.
// Gate first, always: the parser used here must never see text that gate.ts did not pass.
// Never decides what a manifest means; duplicate keys are found here because the parser's own search for them is quadratic.

import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseAllDocuments,
  type Scalar,
} from "yaml";
import { type Diagnostic, Findings, type Position } from "./diagnostics.ts";
import { gate, unquotedHint } from "./gate.ts";
import type { Entry, ScalarTree, Tree } from "./tree.ts";

/** A file to be read; bytes as they are on disk or on the wire. */
export interface SourceFile {
  readonly file: string;
  readonly bytes: Uint8Array;
}

/** A file after parsing: plain data. Documents with errors are left out. */
export interface ParsedFile {
  readonly file: string;
  readonly documents: readonly Tree[];
  readonly diagnostics: readonly Diagnostic[];
}

/** Documents of a file; never throws. Empty documents (only comments) are skipped. */
export function parseFile(source: SourceFile): ParsedFile {
  const findings = new Findings(source.file);
  const text = gate(source.bytes, findings);
  if (text === undefined) return { file: source.file, documents: [], diagnostics: findings.list };
  const lines = new LineCounter();
  const parsed = parseAllDocuments(text, {
    lineCounter: lines,
    prettyErrors: false,
    uniqueKeys: false,
    merge: false,
    logLevel: "silent",
  });
  const documents: Tree[] = [];
  for (const document of Array.isArray(parsed) ? parsed : []) {
    const tree = readDocument(document, text, lines, findings);
    if (tree !== undefined) documents.push(tree);
  }
  return { file: source.file, documents, diagnostics: findings.list };
}

function readDocument(
  document: Document.Parsed,
  text: string,
  lines: LineCounter,
  findings: Findings,
): Tree | undefined {
  const before = findings.errors;
  for (const problem of [...document.errors, ...document.warnings]) {
    const { line, col } = lines.linePos(problem.pos[0]);
    findings.error("E-YAML", { line, column: col }, "", problem.message, unquotedHint(text, line));
  }
  if (findings.errors > before || document.contents === null) return undefined;
  const tree = new TreeBuilder(text, lines, findings).build(document.contents, "");
  if (tree.kind === "scalar" && tree.value === null) return undefined;
  return findings.errors > before ? undefined : tree;
}

class TreeBuilder {
  readonly #text: string;
  readonly #lines: LineCounter;
  readonly #findings: Findings;

  constructor(text: string, lines: LineCounter, findings: Findings) {
    this.#text = text;
    this.#lines = lines;
    this.#findings = findings;
  }

  build(node: Node | null, path: string): Tree {
    const at = this.#position(node);
    if (isMap(node)) return { kind: "map", at, entries: this.#entries(node.items as never, path) };
    if (isSeq(node)) {
      const items = node.items.map((item, index) => this.build(item as Node | null, `${path}[${index}]`));
      return { kind: "list", at, items };
    }
    if (isScalar(node)) return this.#scalar(node, at, path);
    if (isAlias(node)) this.#findings.error("E-YAML-LIMIT", at, path, "aliases are not allowed");
    return { kind: "scalar", at, value: null, style: "plain" };
  }

  #entries(pairs: readonly { key: Node | null; value: Node | null }[], path: string): Entry[] {
    const entries: Entry[] = [];
    const seen = new Set<string>();
    for (const pair of pairs) {
      const at = this.#position(pair.key);
      if (!isScalar(pair.key) || typeof pair.key.value !== "string") {
        const written = isScalar(pair.key) ? String(pair.key.source ?? pair.key.value) : undefined;
        const hint = written === undefined ? 'quote "${{ … }}"' : `quote it: "${written}"`;
        this.#findings.error("E-TYPE", at, path, "a key must be a string", hint);
        continue;
      }
      const key = pair.key.value;
      const inner = path === "" ? key : `${path}.${key}`;
      if (seen.has(key))
        this.#findings.error("E-DUPLICATE-KEY", at, inner, `the key "${key}" is given twice`, "keep one");
      seen.add(key);
      entries.push({
        key,
        at,
        value:
          pair.value === null ? { kind: "scalar", at, value: null, style: "plain" } : this.build(pair.value, inner),
      });
    }
    return entries;
  }

  #scalar(node: Scalar, at: Position, path: string): ScalarTree {
    const { value } = node;
    const style = styleOf(node);
    if (typeof value === "string") {
      if (value.includes("\0") || !value.isWellFormed()) {
        this.#findings.error(
          "E-YAML-LIMIT",
          at,
          path,
          "the text holds a NUL character or half a surrogate pair",
          "remove it",
        );
      }
      const raw = node.range ? this.#text.slice(node.range[0], node.range[1]) : value;
      const quotes = style === "plain" ? 0 : 2;
      const same = raw.length === value.length + quotes && style !== "literal" && style !== "folded";
      return same ? { kind: "scalar", at, value, style } : { kind: "scalar", at, value, style, raw };
    }
    if (value === null || typeof value === "boolean") return { kind: "scalar", at, value, style };
    if (
      typeof value === "number" &&
      Number.isFinite(value) &&
      !(Number.isInteger(value) && Math.abs(value) > 2 ** 53)
    ) {
      return { kind: "scalar", at, value, style };
    }
    this.#findings.error(
      "E-TYPE",
      at,
      path,
      `${String(node.source ?? value)} is not a JSON number up to 2^53`,
      "quote it to make it a string",
    );
    return { kind: "scalar", at, value: null, style };
  }

  #position(node: Node | null): Position {
    const { line, col } = this.#lines.linePos(node?.range?.[0] ?? 0);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  }
}

function styleOf(node: Scalar): ScalarTree["style"] {
  if (node.type === "QUOTE_DOUBLE") return "double";
  if (node.type === "QUOTE_SINGLE") return "single";
  if (node.type === "BLOCK_LITERAL") return "literal";
  return node.type === "BLOCK_FOLDED" ? "folded" : "plain";
}
