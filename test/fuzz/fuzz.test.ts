// A short fuzz run with every commit; `npm run fuzz` is the long one. A bound that is broken names the input.

import { expect, test } from "vitest";
import { Cleanup } from "../../demo/fleet.ts";
import { systemClock } from "../../kit/clock.ts";
import { atEndOfFile } from "../harness/cleanup.ts";
import { testDatabase } from "../harness/database.ts";
import { startProbe } from "../harness/loop_probe.ts";
import { Documents } from "./documents.ts";
import { fuzzFrames } from "./frame_run.ts";
import { BLOCK_MS_MAX, DELAY_MS_MAX } from "./verdict.ts";
import { fuzzYaml } from "./yaml_batches.ts";

const SEED = 20_261;
const silent = () => undefined;

test("2,000 hostile documents end no process, block no loop, and each gets an answer", {
  timeout: 120_000,
}, async () => {
  const report = await fuzzYaml(SEED, 2_000, 1, silent);
  expect(report.violations.map(({ problem, name }) => `${name}: ${problem}`)).toEqual([]);
  expect(report).toMatchObject({ documents: 2_000, exits: 0 });
  expect(report.valid).toBeGreaterThan(0);
  expect(report.block).toBeLessThan(BLOCK_MS_MAX);
});

test("2,000 hostile frames end no server, and a run afterwards succeeds", { timeout: 120_000 }, async () => {
  const cleanup = new Cleanup();
  atEndOfFile(() => cleanup.run());
  const env = { ORLOJ_DATABASE_URL: (await testDatabase()).url };
  const report = await fuzzFrames({ seed: SEED, count: 2_000, clock: systemClock(), env }, cleanup, silent);
  await cleanup.run();
  expect(report.violations.map(({ problem, name }) => `${name}: ${problem}`)).toEqual([]);
  expect(report.frames).toBeGreaterThanOrEqual(2_000);
  // Not vacuous: tasks were handed out to hostile workers, and a client was served beside them.
  expect(report.leased).toBeGreaterThan(0);
  expect(report.healthyCalls).toBeGreaterThan(0);
  expect(report.block).toBeLessThan(BLOCK_MS_MAX);
  expect(report.delay).toBeLessThan(DELAY_MS_MAX);
});

test("the probe sees a thread that is busy for longer than the bound", async () => {
  const probe = startProbe();
  const cpu = process.threadCpuUsage();
  while (process.threadCpuUsage(cpu).user < 2 * BLOCK_MS_MAX * 1_000);
  expect(probe.read().block).toBeGreaterThan(BLOCK_MS_MAX);
});

test("the same seed makes the same documents", () => {
  const [left, right] = [new Documents(SEED), new Documents(SEED)];
  for (const index of [0, 500, 999, 4_000, 99_998]) expect(left.at(index)).toEqual(right.at(index));
  expect(new Documents(SEED + 1).at(4_000)).not.toEqual(left.at(4_000));
});
