// Reads the source files of the repository for the tidy tests: text, code without comments and texts, imports, room.
// A light scanner, no parser: it knows comments, quotes, template texts and import statements, which is all the rules need.

import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

/** Root of the repository. */
export const ROOT = join(import.meta.dirname, "../..");

/** One import of a file. */
export interface Import {
  /** Path from the root for a relative import, else the package or node: name. */
  readonly target: string;
  readonly relative: boolean;
  /** Erased when run: import type … or export type …. */
  readonly typeOnly: boolean;
}

/** One TypeScript file. */
export interface Source {
  /** Path from the root, with slashes. */
  readonly path: string;
  readonly text: string;
  /** The text with comments and the content of quotes and templates blanked out; line numbers stay. */
  readonly code: string;
  readonly imports: readonly Import[];
}

const TOP = [
  "bin",
  "kit",
  "tracing",
  "language",
  "server",
  "worker",
  "sdk",
  "cli",
  "sandbox",
  "demo",
  "bench",
  "examples",
  "scripts",
  "test",
];

/** Every TypeScript file that people write; generated code is left out. */
export function readSources(): Source[] {
  const paths = [...TOP.flatMap((folder) => walk(join(ROOT, folder))), join(ROOT, "vitest.config.ts")];
  return paths.map((path) => {
    const text = readFileSync(path, "utf8");
    const name = relative(ROOT, path);
    return { path: name, text, code: blank(text), imports: importsOf(name, text) };
  });
}

function walk(folder: string): string[] {
  let entries: ReturnType<typeof listing>;
  try {
    entries = listing(folder);
  } catch {
    return [];
  }
  return entries.flatMap((entry) => {
    if (entry.name === "node_modules" || entry.name === "dist") return [];
    const path = join(folder, entry.name);
    return entry.isDirectory() ? walk(path) : entry.name.endsWith(".ts") ? [path] : [];
  });
}

function listing(folder: string) {
  return readdirSync(folder, { withFileTypes: true });
}

// Comments first, quotes second, in one pass, so that neither hides in the other.
const SKIPPED = /\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\[\s\S])*`/g;

/** See Source.code. */
export function blank(text: string): string {
  return text.replace(SKIPPED, (part) => part.replace(/[^\n]/g, " "));
}

const STATEMENT = /^(?:import|export)\s+(type\s+)?(?:[\w*\s{},$]*?\sfrom\s+)?"([^"]+)"/gm;
const DYNAMIC = /\bimport\(\s*"([^"]+)"\s*\)/g;

/** Imports of a file with the given path from the root. */
export function importsOf(path: string, text: string): Import[] {
  const code = text.replace(/^\s*\/\/[^\n]*|\/\*[\s\S]*?\*\//gm, "");
  const found = [...code.matchAll(STATEMENT)].map((match) => ({
    name: match[2] as string,
    typeOnly: Boolean(match[1]),
  }));
  const lazy = [...code.matchAll(DYNAMIC)].map((match) => ({ name: match[1] as string, typeOnly: false }));
  return [...found, ...lazy].map(({ name, typeOnly }) =>
    name.startsWith(".")
      ? { target: join(dirname(path), name), relative: true, typeOnly }
      : { target: name, relative: false, typeOnly },
  );
}

/** Line number, from 1, of an offset. */
export function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split("\n").length;
}
