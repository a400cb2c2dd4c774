// Runs one of the other engines: node main.ts '{"peer": …}' with PEER_DATABASE_URL. The last line on stdout is one JSON object.
// Started by ../peer_rounds.ts, a process each round. Producer and worker are this one process, which is how these engines are fastest.

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
const engine = await START[work.peer]({ work, url, pool });
try {
  await engine.execute(work.warmUp);
  const begin = performance.now();
  await engine.execute(work.runs);
  const result: PeerResult = { runs: work.runs, seconds: (performance.now() - begin) / 1_000 };
  process.stdout.write(`${JSON.stringify(result)}\n`);
} finally {
  await engine.stop();
  await pool.end();
}
// Timers of an engine that has stopped are no reason to stay; output is written by now.
process.exit(0);
