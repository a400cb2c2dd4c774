// Runs one of the other engines: node main.ts '{"peer": …}' with PEER_DATABASE_URL. The last line on stdout is one JSON object, which
// tells how long it took, or why it failed. Started by ../peer_rounds.ts, a process each round. Producer and worker are this one process, which is how these engines are fastest.

import pg from "pg";
import type { Engine, EngineSetting } from "./engine.ts";
import type { PeerName, PeerResult, PeerWork } from "./names.ts";

const START: Readonly<Record<PeerName, (setting: EngineSetting) => Promise<Engine>>> = {
  "dbos-queue": async (setting) => (await import("./dbos.ts")).startDbosQueue(setting),
  "dbos-in-process": async (setting) => (await import("./dbos.ts")).startDbosInProcess(setting),
  "graphile-worker": async (setting) => (await import("./graphile.ts")).startGraphile(setting, false),
  "graphile-worker-batched": async (setting) => (await import("./graphile.ts")).startGraphile(setting, true),
  "pg-boss": async (setting) => (await import("./pg_boss.ts")).startPgBoss(setting),
};

const work = JSON.parse(process.argv[2] ?? "") as PeerWork;
const url = process.env["PEER_DATABASE_URL"] ?? "";
const pool = new pg.Pool({ connectionString: url, max: 1 });
const result = await runRound().catch((error: unknown): PeerResult => ({ failed: String(error) }));
process.stdout.write(`${JSON.stringify(result)}\n`);
// Neither timers of an engine that has stopped nor what one that failed still does is a reason to stay; output is written by now.
process.exit("failed" in result ? 1 : 0);

async function runRound(): Promise<PeerResult> {
  const engine = await START[work.peer]({ work, url, pool });
  await engine.execute(work.warmUp);
  const begin = performance.now();
  await engine.execute(work.runs);
  const seconds = (performance.now() - begin) / 1_000;
  await engine.stop();
  await pool.end();
  return { runs: work.runs, seconds };
}
