// What the numbers were measured on: processors, memory, Node, commit.
// Called by bench/main.ts; a number without it says nothing.

import { execFile } from "node:child_process";
import { cpus, totalmem } from "node:os";
import { promisify } from "node:util";
import { MIB } from "../kit/units.ts";

const GIB = 1_024 * MIB;

/** The machine, as it stands in the result. */
export interface Machine {
  readonly cpus: number;
  readonly model: string;
  readonly memory_gib: number;
  readonly node: string;
}

/** This machine. */
export function thisMachine(): Machine {
  const processors = cpus();
  return {
    cpus: processors.length,
    model: processors[0]?.model.trim() ?? "unknown",
    memory_gib: Math.round(totalmem() / GIB),
    node: process.versions.node,
  };
}

/** Commit of the clone, with "-dirty" when files differ from it; "unknown" outside a clone. */
export async function thisCommit(): Promise<string> {
  const args = ["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"];
  const { stdout } = await promisify(execFile)("git", args, { cwd: import.meta.dirname }).catch(() => ({ stdout: "" }));
  return stdout.trim() || "unknown";
}
