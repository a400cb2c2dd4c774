// Fuzzing: `npm run fuzz`. Hostile documents and frames against real processes; progress goes to stderr, the last line of stdout is one
// JSON object, and the exit code is 1 on any violation. What is measured: docs/fuzz.md.

import { parseArgs } from "node:util";
import { Cleanup } from "../../demo/fleet.ts";
import { systemClock } from "../../kit/clock.ts";
import { messageOf } from "../../kit/errors.ts";
import { fuzzFrames } from "./frame_run.ts";
import { judge } from "./verdict.ts";
import { writeDown } from "./violations.ts";
import { fuzzYaml } from "./yaml_batches.ts";

const HELP = `Usage: npm run fuzz -- [options]

  --yaml N     hostile YAML documents; default 100000
  --frames N   hostile frames of the worker port and calls of the API; default 100000
  --seed N     seed of both; a run with the same seed sends the same inputs; default 1
  --json       nothing but the JSON line on stdout
`;
const PARALLEL = 2;
const say = (line: string) => void process.stderr.write(`${line}\n`);
const cleanup = new Cleanup();

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void cleanup.run().then(() => process.exit(signal === "SIGINT" ? 130 : 143)));
}

try {
  await fuzz();
} catch (error) {
  say(`fuzz: ${messageOf(error)}`);
  process.exitCode = 1;
} finally {
  await cleanup.run();
}

async function fuzz(): Promise<void> {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    options: { yaml: text, frames: text, seed: text, json: { type: "boolean" }, help: { type: "boolean", short: "h" } },
  });
  if (values.help) return void process.stdout.write(HELP);
  const seed = whole("--seed", values.seed, 1);
  const started = performance.now();
  const yaml = await fuzzYaml(seed, whole("--yaml", values.yaml, 100_000), PARALLEL, say);
  const frames = await fuzzFrames(
    { seed, count: whole("--frames", values.frames, 100_000), clock: systemClock() },
    cleanup,
    say,
  );
  const verdict = judge(yaml, frames);
  for (const line of await writeDown(verdict.violations)) say(`violation: ${line}`);
  const seconds = Math.round((performance.now() - started) / 1_000);
  const result = { ...verdict.figures, violations: verdict.violations.length, seed, seconds };
  if (!values.json) process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
  process.stdout.write(`${JSON.stringify(result)}\n`);
  if (verdict.violations.length > 0) process.exitCode = 1;
}

function whole(name: string, given: string | undefined, otherwise: number): number {
  if (given === undefined) return otherwise;
  if (!/^\d{1,8}$/.test(given)) throw new Error(`${name}: "${given}" is not a whole number from 0 to 99999999`);
  return Number(given);
}
