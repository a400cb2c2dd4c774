// The named races: each is forced in both orders at barriers of row locks, over a real Postgres and two replicas' commands.
// Called by main.ts. The tests of test/commands and test/dispatch that are called "A vs B, order …" are run, and what passed is counted.

import { glob, mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { command, ROOT } from "../../scripts/command.ts";
import { atEndOfFile } from "../harness/cleanup.ts";
import { startPostgres } from "../sim/postgres_home.ts";

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

/** Forces every race so many times; how often each was seen in each order, by its name. Works in a folder of its own inside the given one. */
export async function forceRaces(
  times: number,
  folder: string,
  stop: AbortSignal,
): Promise<Record<string, [number, number]>> {
  const seen: Record<string, [number, number]> = Object.fromEntries(RACES.map((race) => [race, [0, 0]]));
  // Tests that are interrupted end without cleaning up: their database and their files are ours.
  const starting = startPostgres();
  atEndOfFile(async () => (await starting).stop());
  const temporary = join(folder, "races");
  await mkdir(temporary, { mode: 0o711 });
  const { adminUrl, stop: stopPostgres } = await starting;
  const files = await filesWithRaces();
  for (let time = 0; time < times && !stop.aborted; time += 1) {
    countOrders(
      await forceOnce(files, temporary, { TMPDIR: temporary, ORLOJ_TEST_DATABASE_URL: adminUrl }, stop),
      seen,
    );
  }
  await stopPostgres();
  await rm(temporary, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  return seen;
}

interface Report {
  readonly testResults: readonly { readonly assertionResults: readonly { status: string; title: string }[] }[];
}

// Only these are loaded: the others, over fifty, take more time to load than the races take to run.
async function filesWithRaces(): Promise<string[]> {
  const files: string[] = [];
  for await (const file of glob("test/{commands,dispatch}/*.test.ts", { cwd: ROOT })) {
    const text = await readFile(join(ROOT, file), "utf8");
    if (RACES.some((race) => text.includes(race))) files.push(file);
  }
  return files;
}

async function forceOnce(
  files: readonly string[],
  folder: string,
  env: Readonly<Record<string, string>>,
  stop: AbortSignal,
): Promise<Report> {
  const file = join(folder, "report.json");
  // Never the report of the time before.
  await rm(file, { force: true });
  const args = ["run", ...files, "-t", " vs |two joins", "--reporter=json"];
  await command("vitest", [...args, `--outputFile=${file}`], { stop, env });
  return JSON.parse(await readFile(file, "utf8").catch(() => '{"testResults": []}')) as Report;
}

function countOrders({ testResults }: Report, seen: Record<string, [number, number]>): void {
  for (const { status, title } of testResults.flatMap((entry) => entry.assertionResults)) {
    const race = RACES.find((name) => title.startsWith(name));
    const order = /order (\d) \d/.exec(title)?.[1];
    if (race === undefined || order === undefined || status !== "passed") continue;
    (seen[race] as [number, number])[Number(order) as 0 | 1] += 1;
  }
}
