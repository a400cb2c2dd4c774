// The YAML half of the fuzz run: batches of documents, each in a child process. Called by main.ts and the test.
// A child that ends otherwise than by itself is a violation, and the last number that it said is the culprit.

import { spawn } from "node:child_process";
import { join } from "node:path";
import type { LoopSample } from "../harness/loop_probe.ts";
import { Documents } from "./documents.ts";
import type { Violation } from "./violations.ts";

const CHILD = join(import.meta.dirname, "yaml_child.ts");
const BATCH = 1_000;
const CHILD_TIMEOUT_MS = 300_000;

interface ChildReport {
  readonly problems: readonly { readonly index: number; readonly problem: string }[];
  readonly slowest: number;
  readonly tooSlow: number;
  readonly valid: number;
  readonly sample: LoopSample;
}

export interface YamlReport {
  documents: number;
  valid: number;
  exits: number;
  tooSlow: number;
  slowest: number;
  block: number;
  delay: number;
  growth: number;
  readonly violations: Violation[];
}

/** Reads so many documents of a seed, `parallel` batches at a time. */
export async function fuzzYaml(seed: number, count: number, parallel: number, say: (line: string) => void) {
  const report: YamlReport = {
    ...{ documents: 0, valid: 0, exits: 0, tooSlow: 0, slowest: 0, block: 0, delay: 0, growth: 0 },
    violations: [],
  };
  const documents = new Documents(seed);
  let next = 0;
  const lane = async () => {
    while (next < count) {
      const from = next;
      next += BATCH;
      await batch(seed, from, Math.min(BATCH, count - from), report, documents);
      if (report.documents % 10_000 < BATCH)
        say(`yaml: ${report.documents} documents, slowest ${report.slowest.toFixed(0)} ms`);
    }
  };
  await Promise.all(Array.from({ length: parallel }, lane));
  return report;
}

async function batch(seed: number, from: number, count: number, report: YamlReport, documents: Documents) {
  const { code, lines, stderr } = await run([CHILD, String(seed), String(from), String(count)]);
  const last = lines.at(-1) ?? "";
  report.documents += count;
  if (code !== "0" || !last.startsWith("{")) {
    report.exits += 1;
    const index = Number(last === "" ? from : last);
    const problem = `the process ended (${code}): ${stderr.slice(-500)}`;
    report.violations.push({ problem, input: documents.at(index), name: `yaml_${index}` });
    return;
  }
  const child = JSON.parse(last) as ChildReport;
  report.valid += child.valid;
  report.tooSlow += child.tooSlow;
  report.slowest = Math.max(report.slowest, child.slowest);
  report.block = Math.max(report.block, child.sample.block);
  report.delay = Math.max(report.delay, child.sample.delay);
  report.growth = Math.max(report.growth, child.sample.growth);
  for (const { index, problem } of child.problems) {
    report.violations.push({ problem, input: documents.at(index), name: `yaml_${index}` });
  }
}

function run(args: readonly string[]): Promise<{ code: string; lines: string[]; stderr: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"], timeout: CHILD_TIMEOUT_MS });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.once("close", (code, signal) =>
      resolve({ code: String(signal ?? code), lines: stdout.trim().split("\n"), stderr }),
    );
  });
}
