// `npm run chaos`: real replicas, workers, Postgres and a counting service; breaks them on purpose, then judges what is left.
// Flags: --profile ci|full|try, --seed N, --json, --keep. The last line of standard output is one JSON object; exit 1 for a violation
// or a guard that was not met. Leaves no process and no folder, but for the evidence of a violation.

import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { seededRandom } from "../../kit/random.ts";
import { command } from "../../scripts/command.ts";
import { runCleanup } from "../harness/cleanup.ts";
import { Campaign } from "./campaign.ts";
import { PROFILES } from "./profiles.ts";
import { forceRaces } from "./races.ts";
import { summary } from "./summary.ts";

const { values } = parseArgs({
  options: {
    profile: { type: "string", default: "ci" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
    json: { type: "boolean", default: false },
    keep: { type: "boolean", default: false },
  },
});
const profile = PROFILES[values.profile];
if (profile === undefined) {
  console.error(`--profile ${values.profile}: use one of ${Object.keys(PROFILES).join(", ")}`);
  process.exit(2);
}
const seed = Number(values.seed);
const start = performance.now();
const say = (line: string) => {
  if (!values.json) console.log(`${Math.round((performance.now() - start) / 1_000)} s: ${line}`);
};

const folder = await mkdtemp(join(tmpdir(), "orloj-chaos-"));
await chmod(folder, 0o711);
process.once("SIGINT", () => {
  void runCleanup().finally(() => process.exit(130));
});

say(`profile ${profile.name}, seed ${seed}`);
const races = await forceRaces(profile.guards.races);
say(`races: ${JSON.stringify(races)}`);
const campaign = new Campaign(folder, profile, seededRandom(seed).next, say);
let verdict: { counts: Record<string, number>; violations: object[]; measures: Record<string, unknown> };
try {
  await campaign.run();
} finally {
  await campaign.stop();
  await runCleanup();
}
const { stdout, output } = await command("node", ["--max-old-space-size=8192", "test/chaos/checker/main.ts", folder]);
try {
  verdict = JSON.parse(stdout);
} catch {
  throw new Error(`the checker did not judge: ${output}`);
}
const seconds = Math.round((performance.now() - start) / 1_000);
const result = summary({ profile, seed, seconds, races, deeds: campaign.deeds, verdict });
const failed = result.guards_unmet.length > 0 || verdict.violations.length > 0;
if (failed || values.keep) console.error(`evidence: ${folder}`);
else await rm(folder, { recursive: true, force: true });
for (const violation of verdict.violations) console.error(JSON.stringify(violation));
for (const guard of result.guards_unmet) console.error(`guard unmet: ${guard}`);
console.log(JSON.stringify(result));
process.exit(failed ? 1 : 0);
