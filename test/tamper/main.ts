// `npm run audit:tamper`: the owner of the database changes the audit trail in ten thousand ways, and each has to be found and named.
// Progress goes to stderr; the last line of stdout is one JSON object; the exit code is 1 on any miss. What is tried: docs/audit.md.

import { parseArgs } from "node:util";
import { Cleanup } from "../../demo/fleet.ts";
import { messageOf } from "../../kit/errors.ts";
import { makeDatabase, startPostgres } from "../sim/postgres_home.ts";
import { tamper } from "./campaign.ts";

const HELP = `Usage: npm run audit:tamper -- [options]

  --mutations N  ways to tamper that are drawn; default 10000
  --seed N       draws the same again; default 1
  --json         nothing but the JSON line on stdout
`;
const say = (line: string) => void process.stderr.write(`audit:tamper: ${line}\n`);
const cleanup = new Cleanup();

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void cleanup.run().then(() => process.exit(signal === "SIGINT" ? 130 : 143)));
}

try {
  await main();
} catch (error) {
  say(messageOf(error));
  process.exitCode = 1;
} finally {
  await cleanup.run();
}

async function main(): Promise<void> {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    options: { mutations: text, seed: text, json: { type: "boolean" }, help: { type: "boolean", short: "h" } },
  });
  if (values.help) return void process.stdout.write(HELP);
  const mutations = whole("--mutations", values.mutations, 10_000);
  const seed = whole("--seed", values.seed, 1);
  const postgres = await startPostgres();
  cleanup.add(() => postgres.stop());
  const database = await makeDatabase(postgres.adminUrl);
  cleanup.add(() => database.drop());
  const started = performance.now();
  const { misses: _, ...figures } = await tamper({ mutations, seed, databaseUrl: database.url, progress: say });
  const seconds = Math.round((performance.now() - started) / 100) / 10;
  const result = { ...figures, seed, seconds };
  if (!values.json) process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
  process.stdout.write(`${JSON.stringify(result)}\n`);
  if (figures.found < mutations || figures.first_bad_named < mutations) process.exitCode = 1;
}

function whole(name: string, given: string | undefined, otherwise: number): number {
  if (given === undefined) return otherwise;
  if (!/^[1-9]\d{0,6}$/.test(given)) throw new Error(`${name}: "${given}" is not a whole number from 1 to 9999999`);
  return Number(given);
}
