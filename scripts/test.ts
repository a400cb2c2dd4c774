// Everything that must hold, and its totals: gates first, then the tests.
// Called by `npm test` and, with --check, by `npm run check` (without the tests that start processes). Other arguments narrow the
// tests and leave the gates out: `npm test -- test/storage`.
// The last lines name what failed, and end with `N passed, N failed`; the exit code is 0 only when nothing failed and nothing was
// left behind.

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { command, ROOT } from "./command.ts";
import { GATES } from "./gates.ts";

interface Totals {
  passed: number;
  failed: number;
}

interface VitestReport {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message: string;
    readonly assertionResults: readonly {
      readonly status: string;
      readonly fullName: string;
      readonly failureMessages?: readonly string[];
    }[];
  }[];
}

const totals: Totals = { passed: 0, failed: 0 };
const failures: string[] = [];
const args = process.argv.slice(2);
const check = args.includes("--check");
const filters = args.filter((arg) => arg !== "--check");

if (filters.length === 0) for (const gate of GATES) await runGate(gate.name, gate.run);
await runTests(check ? ["--exclude", "test/e2e/**", ...filters] : filters);
for (const failure of failures) console.log(`failed: ${failure}`);
console.log(`${totals.passed} passed, ${totals.failed} failed`);
process.exitCode = totals.failed === 0 && totals.passed > 0 ? 0 : 1;

async function runGate(name: string, run: () => Promise<string | undefined>): Promise<void> {
  try {
    const nothing = await run();
    if (nothing === undefined) totals.passed += 1;
    console.log(nothing === undefined ? `✓ ${name}` : `- ${name}: nothing to compare, ${nothing}`);
  } catch (error) {
    fail(`${name}: ${firstLine((error as Error).message)}`);
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
    if (code !== 0 && totals.failed === failedBefore)
      fail(`vitest ended with ${code}, though no test failed: see above`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function count(report: VitestReport): void {
  for (const file of report.testResults) {
    const name = relative(ROOT, file.name);
    const failed = file.assertionResults.filter((result) => result.status !== "passed");
    totals.passed += file.assertionResults.length - failed.length;
    for (const { status, fullName, failureMessages = [] } of failed) {
      const why = status === "failed" ? firstLine(failureMessages[0] ?? "") : "not run, which counts as failed";
      fail(`${name}: ${fullName}: ${why}`);
    }
    // A file that does not load, or whose hooks fail, has no failed test to show for it.
    if (file.status === "failed" && failed.length === 0) fail(`${name}: ${firstLine(file.message)}`);
  }
}

function fail(what: string): void {
  totals.failed += 1;
  failures.push(what);
}

function firstLine(text: string): string {
  return text.split("\n", 1)[0] ?? "";
}
