// The floods: `npm run floods`. Attacks a real server over loopback, one attack after the other and together; progress goes to stderr, the
// last line of stdout is one JSON object with an entry for each attack, and the exit code is 1 for a violation. What is measured: docs/floods.md.

import { parseArgs } from "node:util";
import { Cleanup } from "../../demo/fleet.ts";
import { systemClock } from "../../kit/clock.ts";
import { messageOf } from "../../kit/errors.ts";
import { ALL_ATTACKS, ALL_LISTENERS, campaign, type Plan } from "./campaign.ts";
import { violationsOf } from "./verdict.ts";

const HELP = `Usage: npm run floods -- [options]

  --attack A,B     only these: ${ALL_ATTACKS.join(", ")}
  --listener A,B   only these: ${ALL_LISTENERS.join(", ")}
  --seconds N      of each attack, and of each measurement beside it; 1 to 60, default 4
  --short          a choice of attacks for a minute
  --json           nothing but the JSON line on stdout
`;
/** What --short runs. */
const SHORT: Plan = {
  attacks: ["rapid_reset", "ping_flood", "held_streams", "combined"],
  listeners: ["api"],
  seconds: 3,
};
const say = (line: string) => void process.stderr.write(`floods: ${line}\n`);
const cleanup = new Cleanup();

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void cleanup.run().then(() => process.exit(signal === "SIGINT" ? 130 : 143)));
}

try {
  await floods();
} catch (error) {
  say(messageOf(error));
  process.exitCode = 1;
} finally {
  await cleanup.run();
}

async function floods(): Promise<void> {
  const [text, flag] = [{ type: "string" }, { type: "boolean" }] as const;
  const { values } = parseArgs({
    options: { attack: text, listener: text, seconds: text, short: flag, json: flag, help: { ...flag, short: "h" } },
  });
  if (values.help) return void process.stdout.write(HELP);
  if (process.platform !== "linux") throw new Error("memory and open files are read from /proc: this runs on Linux");
  const usual: Plan = values.short ? SHORT : { attacks: ALL_ATTACKS, listeners: ALL_LISTENERS, seconds: 4 };
  const plan: Plan = {
    attacks: chosen("--attack", values.attack, ALL_ATTACKS) ?? usual.attacks,
    listeners: chosen("--listener", values.listener, ALL_LISTENERS) ?? usual.listeners,
    seconds: seconds(values.seconds) ?? usual.seconds,
  };
  const started = performance.now();
  const entries = await campaign(plan, systemClock(), cleanup, say);
  const violations = entries.flatMap(violationsOf);
  if (entries.length === 0) violations.push("no attack was run");
  for (const violation of violations) say(`violation: ${violation}`);
  const result = {
    attacks: entries,
    process_exits: entries.reduce((sum, { exits }) => sum + exits, 0),
    violations: violations.length,
    seconds: Math.round((performance.now() - started) / 1_000),
  };
  if (!values.json) process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
  process.stdout.write(`${JSON.stringify(result)}\n`);
  if (violations.length > 0) process.exitCode = 1;
}

function chosen(name: string, given: string | undefined, known: readonly string[]): readonly string[] | undefined {
  const names = given?.split(",");
  const strange = names?.find((one) => !known.includes(one));
  if (strange !== undefined) throw new Error(`${name}: "${strange}" is none of ${known.join(", ")}`);
  return names;
}

function seconds(given: string | undefined): number | undefined {
  if (given === undefined) return undefined;
  if (!/^[1-9]\d?$/.test(given) || Number(given) > 60)
    throw new Error(`--seconds: "${given}" is not a whole number from 1 to 60`);
  return Number(given);
}
