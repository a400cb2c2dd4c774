// Everything that must hold, and its totals: gates first, then the tests.
// Called by `npm test` and, with --check, by `npm run check` (without the tests that start processes). Other arguments narrow the
// tests and leave the gates out: `npm test -- test/storage`.
// The last line is `N passed, N failed`; the exit code is 0 only when nothing failed and nothing was left behind.

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { command } from "./command.ts";
import { GATES } from "./gates.ts";

interface Totals {
  passed: number;
  failed: number;
}

interface VitestReport {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

const totals: Totals = { passed: 0, failed: 0 };
const args = process.argv.slice(2);
const check = args.includes("--check");
const filters = args.filter((arg) => arg !== "--check");

if (filters.length === 0) for (const gate of GATES) await runGate(gate.name, gate.run);
await runTests(check ? ["--exclude", "test/e2e/**", ...filters] : filters);
console.log(`${totals.passed} passed, ${totals.failed} failed`);
process.exitCode = totals.failed === 0 && totals.passed > 0 ? 0 : 1;

async function runGate(name: string, run: () => Promise<string | undefined>): Promise<void> {
  try {
    const nothing = await run();
    if (nothing === undefined) totals.passed += 1;
    console.log(nothing === undefined ? `✓ ${name}` : `- ${name}: nothing to compare, ${nothing}`);
  } catch (error) {
    totals.failed += 1;
    console.log(`✗ ${name}\n${(error as Error).message}`);
  }
}

async function runTests(extra: readonly string[]): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "orloj-report-"));
  const file = join(folder, "report.json");
  try {
    const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${file}`];
    const { code } = await command("vitest", ["run", ...reporters, ...extra], { show: true });
    const failedBefore = totals.failed;
    const text = await readFile(file, "utf8").catch(() => undefined);
    if (text !== undefined) count(JSON.parse(text) as VitestReport);
    // Unhandled errors and things left behind fail the run without failing a test.
    if (code !== 0 && totals.failed === failedBefore) totals.failed += 1;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function count(report: VitestReport): void {
  for (const file of report.testResults) {
    const failed = file.assertionResults.filter((result) => result.status !== "passed");
    for (const result of failed)
      if (result.status !== "failed") console.log(`not run, which counts as failed: ${result.fullName}`);
    totals.passed += file.assertionResults.length - failed.length;
    totals.failed += failed.length;
    // A file that does not load, or whose hooks fail, has no failed test to show for it.
    if (file.status === "failed" && failed.length === 0) totals.failed += 1;
  }
}
