// The suite idle: what a replica with many idle workers costs: statements a second at Postgres, and processor time. Called by main.ts.
// Statements are counted in the log of Postgres, which is told to write all of them; nothing else is connected meanwhile.

import { open, stat } from "node:fs/promises";
import { SECOND } from "../kit/units.ts";
import { hundredths } from "./figures.ts";
import { startFleet } from "./fleet.ts";
import { requireFacts } from "./process_facts.ts";
import type { SuiteContext } from "./suite.ts";

/** Time in which what began with the start has ended. */
const SETTLE_MS = 5 * SECOND;
/** The commonest statements that the result names, each so many characters of it. */
const NAMED = { statements: 8, characters: 90 } as const;
// An entry begins with its time; the other lines of a statement are indented.
const ENTRY_BEGIN = /\n(?=\d{4}-\d\d-\d\d )/;
const STATEMENT = /LOG: {2}(?:statement|execute [^:]*):\s(.*)$/s;

/** Measures. */
export async function measureIdle({ settings, clock, cleanup, progress }: SuiteContext): Promise<object> {
  const { workers, seconds, profileFolder } = settings;
  progress(`idle: starting Postgres, a server and ${workers} workers`);
  const postgresSettings = { log_statement: "all" };
  const fleet = await startFleet(
    { clock, slots: 1, workers: false, postgresSettings, ...(profileFolder && { profileFolder }) },
    cleanup,
  );
  const [replica] = fleet.replicas;
  if (replica === undefined) throw new Error("there is no server");
  const plan = { name: "idle", slots: 1, handlers: "noop", count: workers };
  await replica.startWorker(plan);
  const { workers: connected } = await fleet.client.fleet.listWorkers({ pageSize: 500 });
  if (connected.length !== workers) throw new Error(`${connected.length} of ${workers} workers are connected`);
  await clock.sleep(SETTLE_MS);
  progress(`idle: looking for ${seconds} s`);
  const from = (await stat(fleet.postgres.logFile)).size;
  const before = requireFacts(replica.pid, "server");
  const begin = clock.monotonic();
  await clock.sleep(seconds * SECOND);
  const after = requireFacts(replica.pid, "server");
  const took = (clock.monotonic() - begin) / SECOND;
  const statements = (await logged(fleet.postgres.logFile, from)).flatMap(
    (entry) => STATEMENT.exec(entry)?.[1]?.trim() ?? [],
  );
  if (statements.length === 0)
    throw new Error("Postgres logged no statement: an idle replica asks once a second at least");
  return {
    ...{ workers, seconds: hundredths(took) },
    queries_per_s: hundredths(statements.length / took),
    queries: commonest(statements, took),
    server_cpu_percent: hundredths(((after.cpuMs - before.cpuMs) / SECOND / took) * 100),
    server_resident_mib: Math.round(after.residentBytes / 2 ** 20),
    postgres: fleet.postgres.facts,
  };
}

async function logged(path: string, from: number): Promise<string[]> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const { buffer } = await file.read(Buffer.alloc(size - from), 0, size - from, from);
    return buffer.toString("utf8").split(ENTRY_BEGIN);
  } finally {
    await file.close();
  }
}

// How often a second the commonest statements came, by their first words.
function commonest(statements: readonly string[], seconds: number): Record<string, number> {
  const counts = new Map<string, number>();
  for (const statement of statements) {
    const text = statement.replaceAll(/\s+/g, " ").slice(0, NAMED.characters);
    counts.set(text, (counts.get(text) ?? 0) + 1);
  }
  const ordered = [...counts].sort(([, a], [, b]) => b - a).slice(0, NAMED.statements);
  return Object.fromEntries(ordered.map(([text, count]) => [text, hundredths(count / seconds)]));
}
