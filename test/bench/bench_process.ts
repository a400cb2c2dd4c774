// Runs the benchmark as a person does, small: in a process of its own, to its end.
// Called by the tests of its suites.

import { expect } from "vitest";
import { startProcess } from "../harness/processes.ts";

// biome-ignore lint/suspicious/noExplicitAny: what a result holds is what the test expects of it
type Result = any;

/** The object that it ends with; the test fails with what it said when it fails. */
export async function bench(...args: readonly string[]): Promise<Result> {
  const run = startProcess(process.execPath, ["bench/main.ts", "--json", ...args]);
  const { code } = await run.ended;
  expect(code, run.output.stderr).toBe(0);
  return JSON.parse(run.output.stdout);
}
