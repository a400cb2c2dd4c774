// The blocks of a page that are not commands: whole manifests are validated, other YAML and JSON parsed, TypeScript compiled.
// Called by main.ts and docs_run.test.ts. TypeScript of all pages is compiled together, on the sources of this tree.

import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { validateOffline } from "../../cli/offline_validation.ts";
import { command, mustRun, ROOT } from "../../scripts/command.ts";
import { fencesOf } from "./blocks.ts";

/** A page by name. */
export interface Page {
  readonly name: string;
  readonly text: string;
}

/** Blocks that were looked at, by language, and what is wrong with them. */
export interface FenceResult {
  readonly checked: Readonly<Record<"yaml" | "json" | "ts", number>>;
  readonly failures: readonly string[];
}

/** Looks at the YAML, JSON and TypeScript of pages. */
export async function checkFences(pages: readonly Page[]): Promise<FenceResult> {
  const all = pages.flatMap(({ name, text }) =>
    fencesOf(text).map((fence) => ({ ...fence, place: `${name}:${fence.line}` })),
  );
  const of = (language: string) => all.filter((fence) => fence.language === language);
  const tell = (place: string, found: readonly string[]) => found.map((each) => `${place}: ${each}`);
  return {
    checked: { yaml: of("yaml").length, json: of("json").length, ts: of("ts").length },
    failures: [
      ...of("yaml").flatMap(({ place, text }) => tell(place, yamlFaults(text))),
      ...of("json").flatMap(({ place, text }) => tell(place, jsonFaults(text))),
      ...(await typeFaults(of("ts"))),
    ],
  };
}

function yamlFaults(text: string): string[] {
  const documents = parseAllDocuments(text);
  const errors = [...documents].flatMap((each) => each.errors.map(({ message }) => message));
  if (errors.length > 0 || !/^apiVersion: orloj\.dev\//m.test(text) || /^kind: PolicyTest$/m.test(text)) return errors;
  const { diagnostics } = validateOffline([{ name: "block", content: text }], { defaultNamespace: "", strict: false });
  // What a block refers to may be on another page.
  const told = diagnostics.filter(({ severity, code }) => severity === "error" && code !== "E-REFERENCE");
  return told.map(({ line, code, path, message }) => `line ${line} of the block: ${code} ${path}: ${message}`);
}

function jsonFaults(text: string): string[] {
  try {
    JSON.parse(text);
    return [];
  } catch (error) {
    return [(error as Error).message];
  }
}

async function typeFaults(blocks: readonly { place: string; text: string }[]): Promise<string[]> {
  if (blocks.length === 0) return [];
  const folder = await mkdtemp(join(tmpdir(), "orloj-docs-types-"));
  try {
    await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"));
    // The types of workflows that pages import are those of the examples.
    const workflows = ["codegen", "-f", join(ROOT, "examples"), "--out", join(folder, "workflows.ts")];
    await mustRun(process.execPath, [join(ROOT, "bin/orloj.ts"), ...workflows]);
    const files = blocks.map((_, index) => `block_${index}.ts`);
    for (const [index, { text }] of blocks.entries())
      await writeFile(join(folder, `block_${index}.ts`), `${text}\nexport {};\n`);
    await writeFile(join(folder, "package.json"), '{"type": "module"}');
    await writeFile(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions: OPTIONS, files }));
    const { code, output } = await command("tsc", ["--project", folder, "--pretty", "false"], { cwd: folder });
    const found = output.split("\n").flatMap((line) => {
      const [, index, at, message] = /^block_(\d+)\.ts\((\d+),\d+\): (.*)$/.exec(line) ?? [];
      return index === undefined ? [] : [`${blocks[Number(index)]?.place}: line ${at} of the block: ${message}`];
    });
    // What it says of the sources themselves, under options that are a reader's and not theirs, is no fault of a page.
    return code === 0 || /\(\d+,\d+\): error TS/.test(output) ? found : [`the compiler ended with ${code}: ${output}`];
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const OPTIONS = {
  ...{ target: "es2024", lib: ["es2024", "esnext.disposable"], module: "nodenext", types: ["node"], noEmit: true },
  ...{ strict: true, noUncheckedIndexedAccess: true, allowImportingTsExtensions: true, skipLibCheck: true },
  paths: { "@orloj/sdk": [join(ROOT, "sdk/index.ts")], "orloj/worker": [join(ROOT, "worker/index.ts")] },
};
