// The named races: each is forced in both orders at barriers of row locks, over a real Postgres and two replicas' commands.
// Called by main.ts. The tests of test/commands and test/dispatch that are called "A vs B, order …" are run, and what passed is counted.

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { command } from "../../scripts/command.ts";

/** Every race that must be seen in both orders. */
export const RACES = [
  "complete vs reap",
  "complete vs cancel",
  "cancel vs grant",
  "renew vs reap",
  "replay vs replay",
  "invoke vs same-key invoke",
  "policy update vs decision",
  "two joins",
  "replica drain vs claim",
] as const;

/** Forces every race so many times; how often each was seen in each order, by its name. */
export async function forceRaces(times: number, stop: AbortSignal): Promise<Record<string, [number, number]>> {
  const seen: Record<string, [number, number]> = Object.fromEntries(RACES.map((race) => [race, [0, 0]]));
  for (let time = 0; time < times && !stop.aborted; time += 1) countOrders(await forceOnce(stop), seen);
  return seen;
}

interface Report {
  readonly testResults: readonly { readonly assertionResults: readonly { status: string; title: string }[] }[];
}

async function forceOnce(stop: AbortSignal): Promise<Report> {
  const folder = await mkdtemp(join(tmpdir(), "orloj-races-"));
  const file = join(folder, "report.json");
  try {
    const files = ["test/commands", "test/dispatch"];
    const args = ["run", ...files, "-t", " vs |two joins", "--reporter=json", `--outputFile=${file}`];
    await command("vitest", args, { stop });
    return JSON.parse(await readFile(file, "utf8").catch(() => '{"testResults": []}')) as Report;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function countOrders({ testResults }: Report, seen: Record<string, [number, number]>): void {
  for (const { status, title } of testResults.flatMap((entry) => entry.assertionResults)) {
    const race = RACES.find((name) => title.startsWith(name));
    const order = /order (\d) \d/.exec(title)?.[1];
    if (race === undefined || order === undefined || status !== "passed") continue;
    (seen[race] as [number, number])[Number(order) as 0 | 1] += 1;
  }
}
