// The hostile worker: `npm run hostile`. Clients of the worker port that lie in every way they can, against real processes; progress goes to
// stderr, the last line of stdout is one JSON object, and the exit code is 1 for an effect, an accepted or unrecorded attempt, or a right
// frame that failed. What is measured: docs/hostile-worker.md.

import { parseArgs } from "node:util";
import { Cleanup } from "../../demo/fleet.ts";
import { systemClock } from "../../kit/clock.ts";
import { messageOf } from "../../kit/errors.ts";
import { campaign, type Verdict } from "./campaign.ts";
import { isSound } from "./verdict.ts";

const HELP = `Usage: npm run hostile -- [options]

  --attempts N   attempts at least; default 10000
  --json         nothing but the JSON line on stdout
`;
const PROBLEMS_MAX = 20;
const say = (line: string) => void process.stderr.write(`hostile: ${line}\n`);
const cleanup = new Cleanup();

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void cleanup.run().then(() => process.exit(signal === "SIGINT" ? 130 : 143)));
}

try {
  await hostile();
} catch (error) {
  say(messageOf(error));
  process.exitCode = 1;
} finally {
  await cleanup.run();
}

async function hostile(): Promise<void> {
  const { values } = parseArgs({
    options: { attempts: { type: "string" }, json: { type: "boolean" }, help: { type: "boolean", short: "h" } },
  });
  if (values.help) return void process.stdout.write(HELP);
  const attempts = values.attempts ?? "10000";
  if (!/^[1-9]\d{0,6}$/.test(attempts))
    throw new Error(`--attempts: "${attempts}" is not a whole number from 1 to 9999999`);
  const started = performance.now();
  const verdict: Verdict = await campaign(Number(attempts), systemClock(), cleanup);
  for (const problem of verdict.problems.slice(0, PROBLEMS_MAX)) say(problem);
  const result = {
    ...verdict,
    problems: verdict.problems.length,
    seconds: Math.round((performance.now() - started) / 1_000),
  };
  if (!values.json) process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
  process.stdout.write(`${JSON.stringify(result)}\n`);
  if (!isSound(verdict)) process.exitCode = 1;
}
