// `npm run bench -- --peers`: with the engines of bench/peers installed they run beside ours; without, it says what to run.

import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { INSTALL_PEERS } from "../../bench/peer_rounds.ts";
import { PEERS } from "../../bench/peers/names.ts";
import { startProcess } from "../harness/processes.ts";
import { bench } from "./bench_process.ts";

const installed = Object.values(PEERS).every((peer) => existsSync(`bench/peers/node_modules/${peer.package}`));
const SMALL = ["--runs", "60", "--rounds", "1", "--in-flight", "8", "--warm-up", "10", "--raw-tasks", "2000"];

// On a clone nothing but the product is installed; what is said there is the same whatever is here.
async function refusal(): Promise<{ code: number | null; stderr: string; stdout: string }> {
  const run = startProcess(process.execPath, ["bench/main.ts", "--peers", "--json", ...SMALL]);
  const { code } = await run.ended;
  return { code, ...run.output };
}

test("other engines in the same run, or the line that installs them", async () => {
  if (!installed) {
    const { code, stderr, stdout } = await refusal();
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(new RegExp(`^bench: --peers: \\S+ is not installed; run: ${INSTALL_PEERS}\\n$`));
    return;
  }
  const result = await bench("--peers", ...SMALL);
  expect(Object.keys(result.peers)).toEqual(Object.keys(PEERS));
  for (const [name, peer] of Object.entries(result.peers)) {
    const { runs_per_s } = peer as { runs_per_s: number };
    expect(runs_per_s, name).toBeGreaterThan(0);
    expect(Math.abs(result.ratios[name] - result.ours.runs_per_s / runs_per_s), name).toBeLessThan(0.1);
  }
  expect(result.raw_limit.tasks_per_s).toBeGreaterThan(0);
});
