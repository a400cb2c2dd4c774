// `npm run bench -- --peers`: with the engines of bench/peers installed they run beside ours, also when one of them fails; without, it
// says what to run.

import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { INSTALL_PEERS } from "../../bench/peer_rounds.ts";
import { PEERS } from "../../bench/peers/names.ts";
import { startProcess } from "../harness/processes.ts";
import { bench } from "./bench_process.ts";

const installed = Object.values(PEERS).every((peer) => existsSync(`bench/peers/node_modules/${peer.package}`));
const SMALL = ["--runs", "60", "--rounds", "1", "--in-flight", "8", "--warm-up", "10", "--raw-tasks", "2000"];

// On a clone nothing but the product is installed; what is said there is the same whatever is here.
async function ending(env: Readonly<Record<string, string>> = {}) {
  const run = startProcess(process.execPath, ["bench/main.ts", "--peers", "--json", ...SMALL], { env });
  const { code } = await run.ended;
  return { code, ...run.output };
}

test("other engines in the same run, or the line that installs them", async () => {
  if (!installed) {
    const { code, stderr, stdout } = await ending();
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(new RegExp(`^bench: --peers: \\S+ is not installed; run: ${INSTALL_PEERS}\\n$`));
    return;
  }
  await allRun();
  await oneFails();
});

async function allRun(): Promise<void> {
  const result = await bench("--peers", ...SMALL);
  expect(Object.keys(result.peers)).toEqual(Object.keys(PEERS));
  for (const [name, peer] of Object.entries(result.peers)) {
    const { runs_per_s } = peer as { runs_per_s: number };
    expect(runs_per_s, name).toBeGreaterThan(0);
    expect(Math.abs(result.ratios[name] - result.ours.runs_per_s / runs_per_s), name).toBeLessThan(0.1);
  }
  expect(result.raw_limit.tasks_per_s).toBeGreaterThan(0);
}

// It is told as such, and the figures of the others stay.
async function oneFails(): Promise<void> {
  // graphile-worker keeps its tables elsewhere then, so that what it has done cannot be looked up.
  const { code, stderr, stdout } = await ending({ GRAPHILE_WORKER_SCHEMA: "elsewhere" });
  const { peers, ratios, ours } = JSON.parse(stdout);
  const failed = 'error: relation "graphile_worker._private_jobs" does not exist';
  expect(peers["graphile-worker"]).toEqual({ version: expect.any(String), failed, rounds_runs_per_s: [] });
  expect(peers["graphile-worker-batched"]).toMatchObject({ failed });
  expect(Object.keys(ratios)).toEqual(["dbos-queue", "dbos-in-process", "pg-boss"]);
  expect(ours.runs_per_s).toBeGreaterThan(0);
  expect({ code, end: stderr.trim().split("\n").at(-1) }).toEqual({
    code: 1,
    end: `bench: graphile-worker failed: ${failed}; graphile-worker-batched failed: ${failed}`,
  });
}
