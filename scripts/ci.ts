// Everything that is run for each change: gates and tests, then the harnesses that break things on purpose.
// Called by .ci/run. Each harness ends with one JSON object and counts as one check, failed when it exits with anything but 0.
// The last lines name what failed, with the last words of a failed harness, and end with `N passed, N failed`; the exit code is 0
// only when nothing failed.

import { spawn } from "node:child_process";
import { ROOT } from "./command.ts";

const HARNESSES: readonly (readonly string[])[] = [
  ["test/sim/main.ts", "--json"],
  ["test/sim/main.ts", "--planted", "--json"],
  ["test/docs/main.ts", "--json"],
  ["test/tamper/main.ts", "--mutations", "3000", "--json"],
  ["test/fuzz/main.ts", "--yaml", "20000", "--frames", "30000", "--json"],
  ["test/hostile/main.ts", "--json"],
  ["test/chaos/main.ts", "--profile", "ci", "--json"],
];

/** Lines of a failed harness that are repeated at the end. */
const TOLD_LINES = 60;

const tests = await run(["scripts/test.ts"]);
const [, passedTests = "0", failedTests = "1"] = /^(\d+) passed, (\d+) failed$/.exec(tests.lines.at(-1) ?? "") ?? [];
let passed = Number(passedTests);
let failed = Number(failedTests);
const failures = tests.lines.filter((line) => line.startsWith("failed: "));
if (tests.code !== 0 && failed === 0) failed += 1;

for (const harness of HARNESSES) {
  const { code, seconds, told } = await run(harness);
  if (code === 0) passed += 1;
  else {
    failed += 1;
    failures.push(...told, `failed: ${harness.join(" ")}: exit ${code}`);
  }
  console.log(`${code === 0 ? "✓" : "✗"} ${harness.join(" ")}: ${seconds} s`);
}
for (const failure of failures) console.log(failure);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

/** Runs a program of this repository with its output shown; keeps its last lines, and the last that it told on stderr. */
function run(
  args: readonly string[],
): Promise<{ code: number | null; lines: string[]; told: string[]; seconds: number }> {
  const start = performance.now();
  const child = spawn(process.execPath, args, { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
  let tail = "";
  let told = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    process.stdout.write(text);
    tail = (tail + text).slice(-100_000);
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    process.stderr.write(text);
    told = (told + text).slice(-8_000);
  });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => {
      const linesOf = (text: string) => text.trimEnd().split("\n");
      const seconds = Math.round((performance.now() - start) / 1_000);
      resolve({ code, lines: linesOf(tail), told: linesOf(told).slice(-TOLD_LINES), seconds });
    });
  });
}
