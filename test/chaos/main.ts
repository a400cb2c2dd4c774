// `npm run chaos`: real replicas, workers, Postgres and a counting service; breaks them on purpose, then judges what is left.
// Options: options.ts. The last line of standard output is one JSON object; exit 1 for a violation or a guard that was not met.
// Leaves no process and no folder, also when it is interrupted, but for the evidence of a violation.

import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../kit/clock.ts";
import { messageOf } from "../../kit/errors.ts";
import { seededRandom } from "../../kit/random.ts";
import { onStopSignals } from "../../kit/stop_signals.ts";
import { command } from "../../scripts/command.ts";
import { atEndOfFile, runCleanup } from "../harness/cleanup.ts";
import { Campaign } from "./campaign.ts";
import { type ChaosOptions, HELP, readOptions, SEEDS } from "./options.ts";
import { forceRaces } from "./races.ts";
import { summary, type Told } from "./summary.ts";

const complain = (text: string) => void process.stderr.write(`chaos: ${text}\n`);
const stopping = new AbortController();
const start = performance.now();
let folder: string | undefined;

async function run({ profile, seed, json, keep }: ChaosOptions): Promise<number> {
  const say = (line: string) => {
    if (!json) console.log(`${Math.round((performance.now() - start) / 1_000)} s: ${line}`);
  };
  folder = await mkdtemp(join(tmpdir(), "orloj-chaos-"));
  // Postgres may run as another user, who must be able to pass through.
  await chmod(folder, 0o711);
  say(`profile ${profile.name}, seed ${seed}, evidence in ${folder}`);
  const races = await untilCleanup(forceRaces(profile.guards.races, folder, stopping.signal));
  if (stopping.signal.aborted) return 1;
  say(`races: ${JSON.stringify(races)}`);
  const campaign = new Campaign(folder, profile, seededRandom(seed).next, say);
  try {
    await campaign.run();
  } finally {
    await campaign.stop();
    await runCleanup();
  }
  const verdict = await judge(folder);
  const seconds = Math.round((performance.now() - start) / 1_000);
  const result = summary({ profile, seed, seconds, races, deeds: campaign.deeds, verdict });
  const failed = result.guards_unmet.length > 0 || verdict.violations.length > 0;
  if (failed || keep) complain(`evidence: ${folder}`);
  else await rm(folder, { recursive: true, force: true });
  for (const violation of verdict.violations) complain(JSON.stringify(violation));
  for (const guard of result.guards_unmet) complain(`guard unmet: ${guard}`);
  console.log(JSON.stringify(result));
  return failed ? 1 : 0;
}

// A process of its own: it sees the evidence and nothing else.
async function judge(evidence: string): Promise<Told["verdict"]> {
  const args = ["--max-old-space-size=8192", "test/chaos/checker/main.ts", evidence];
  const { stdout, output } = await untilCleanup(command("node", args, { stop: stopping.signal }));
  try {
    return JSON.parse(stdout) as Told["verdict"];
  } catch {
    throw new Error(`the checker did not judge: ${output}`);
  }
}

// Programs that are told to stop leave things behind unless they are waited for.
function untilCleanup<Result>(work: Promise<Result>): Promise<Result> {
  atEndOfFile(() => work.then(() => undefined));
  return work;
}

async function endEarly(code: number, why: string): Promise<void> {
  // Whatever fails from now on fails because its counterpart was ended.
  if (stopping.signal.aborted) return;
  stopping.abort();
  complain(`${why}; cleaning up`);
  // The nemesis may start a process while the last ones end.
  for (let time = 1; time <= 2; time += 1) await runCleanup().catch((error) => complain(messageOf(error)));
  if (folder !== undefined) await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  process.exit(code);
}

onStopSignals(
  systemClock(),
  () => void endEarly(130, "interrupted"),
  () => complain("still cleaning up"),
);
for (const event of ["unhandledRejection", "uncaughtException"]) {
  process.on(event, (error: unknown) => void endEarly(1, `failed: ${(error as Error)?.stack ?? String(error)}`));
}

let options: ChaosOptions | undefined;
try {
  options = readOptions(process.argv.slice(2), Math.floor(Math.random() * SEEDS));
} catch (error) {
  complain(messageOf(error));
  process.exit(2);
}
if (options === undefined) {
  process.stdout.write(HELP);
  process.exit(0);
}
try {
  process.exitCode = await run(options);
} catch (error) {
  if (!stopping.signal.aborted) {
    complain(`${(error as Error).stack ?? messageOf(error)}\nevidence: ${folder}`);
    process.exitCode = 1;
  }
}
if (!stopping.signal.aborted) process.exit();
