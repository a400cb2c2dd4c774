// The planted bugs: each a patch file of this folder, whose first lines say what it breaks and which harness must find it.
// Read by main.ts, which applies them to copies of the tree, and by planted.test.ts, which only asks whether they still apply.

import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Harness } from "./harness.ts";

/** The root of this tree. */
export const ROOT = join(import.meta.dirname, "../..");

export interface PlantedBug {
  /** Such as 03_reap_by_id. */
  readonly name: string;
  readonly patch: string;
  readonly breaks: string;
  readonly harness: Harness;
}

const HEAD = /^# (?<breaks>.+)\n# Found by: (?<harness>memory|sql|dispatch)\n/;

export async function readBugs(): Promise<PlantedBug[]> {
  const files = (await readdir(import.meta.dirname)).filter((name) => name.endsWith(".patch")).sort();
  return await Promise.all(
    files.map(async (file) => {
      const patch = join(import.meta.dirname, file);
      const { breaks, harness } = HEAD.exec(await readFile(patch, "utf8"))?.groups ?? {};
      if (breaks === undefined) throw new Error(`${file} does not begin with what it breaks and "# Found by: HARNESS"`);
      return { name: file.replace(".patch", ""), patch, breaks, harness: harness as Harness };
    }),
  );
}

/** Applies a bug to the tree in a folder, or only asks whether it would. Undefined, or why not. */
export async function applyBug(bug: PlantedBug, folder: string, check = false): Promise<string | undefined> {
  try {
    await promisify(execFile)("git", ["apply", ...(check ? ["--check"] : []), bug.patch], { cwd: folder });
    return undefined;
  } catch (error) {
    const { stderr } = error as { stderr?: string };
    return `${bug.name} does not apply any more; make it again: ${stderr ?? String(error)}`;
  }
}
