// The gates that stand before the tests: types, lint and format, protos, generated code.
// Called by scripts/test.ts, which counts each gate as one test.
// A gate throws with what to repair, or returns why it had nothing to do (it then counts as neither passed nor failed).

import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { command, mustRun, ROOT } from "./command.ts";

/** One gate. */
export interface Gate {
  readonly name: string;
  /** Resolves with a reason when there was nothing to check. */
  run(): Promise<string | undefined>;
}

const passes =
  (file: string, ...args: string[]) =>
  async () => {
    await mustRun(file, args);
    return undefined;
  };

/** All gates, cheapest first. */
export const GATES: readonly Gate[] = [
  { name: "types (tsc)", run: passes("tsc", "--noEmit") },
  { name: "lint and format (biome)", run: passes("biome", "check", "--error-on-warnings", ".") },
  { name: "protos lint (buf)", run: passes("buf", "lint") },
  { name: "protos format (buf)", run: passes("buf", "format", "--diff", "--exit-code", "--path", "proto/orloj") },
  { name: "protos break nothing (buf)", run: breakingGate },
  { name: "generated code is current", run: generatedGate },
];

// Compared with the point where this branch left main; on main itself there is nothing to compare.
async function breakingGate(): Promise<string | undefined> {
  const head = await git("rev-parse", "HEAD");
  if (head === undefined) return "this is not a git clone";
  const main =
    (await git("rev-parse", "--verify", "--quiet", "origin/main")) ??
    (await git("rev-parse", "--verify", "--quiet", "main"));
  if (main === undefined) return "there is no main to compare with";
  const base = (await git("merge-base", "HEAD", main)) ?? main;
  if (base === head) return "HEAD is part of main";
  if ((await git("cat-file", "-e", `${base}:buf.yaml`)) === undefined) return "main has no protos yet";
  await mustRun("buf", ["breaking", "--against", `.git#ref=${base}`]);
  return undefined;
}

async function git(...args: string[]): Promise<string | undefined> {
  const { code, stdout } = await command("git", args);
  return code === 0 ? stdout.trim() : undefined;
}

async function generatedGate(): Promise<string | undefined> {
  const folder = await mkdtemp(join(tmpdir(), "orloj-generated-"));
  try {
    await mustRun("buf", ["generate", "--output", folder]);
    const wanted = await filesOf(join(folder, "proto/gen"));
    const found = await filesOf(join(ROOT, "proto/gen"));
    const names = [...new Set([...wanted.keys(), ...found.keys()])].sort();
    const different = names.filter((name) => wanted.get(name) !== found.get(name));
    if (different.length > 0)
      throw new Error(`proto/gen is not what \`npm run generate\` makes:\n${different.join("\n")}`);
    return undefined;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function filesOf(folder: string): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) files.set(path.slice(folder.length + 1), await readFile(path, "utf8"));
  }
  return files;
}
