// What a fuzz run found: the problem and the input that showed it, written down so that it can be looked at again.

import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Violation {
  readonly problem: string;
  readonly name: string;
  readonly input: Uint8Array;
}

/** Writes inputs as base64 into a fresh folder; a line for each. */
export async function writeDown(violations: readonly Violation[]): Promise<string[]> {
  if (violations.length === 0) return [];
  const folder = await mkdtemp(join(tmpdir(), "orloj-fuzz-"));
  const lines = violations.slice(0, 50).map(async ({ problem, name, input }) => {
    const path = join(folder, `${name}.base64`);
    await writeFile(path, Buffer.from(input).toString("base64"));
    return `${problem.slice(0, 600)}\n  input: ${path}`;
  });
  return await Promise.all(lines);
}
