// A peer that fails, or is not done in time, is told with why, and takes nothing from the others: programs that stand for peers, on a real Postgres.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readOptions } from "../../bench/options.ts";
import { openPeers } from "../../bench/peer_rounds.ts";
import { PEERS } from "../../bench/peers/names.ts";
import { startPostgres } from "../../bench/postgres.ts";
import { Cleanup } from "../../demo/fleet.ts";
import { systemClock } from "../../kit/clock.ts";
import { atEndOfFile } from "../harness/cleanup.ts";
import { temporaryFolder } from "../harness/folders.ts";

// What each peer does instead: all but one end badly, each in its own way.
const PROGRAM = `
const work = JSON.parse(process.argv[2]);
const tell = (result) => process.stdout.write("a line of a library\\n" + JSON.stringify(result) + "\\n");
const DO = {
  "dbos-queue": () => tell({ failed: "Error: DBOS works on all: not within " + work.secondsMax + " s" }),
  "dbos-in-process": () => process.exit(3),
  "graphile-worker": () => tell({ runs: work.runs - 1, seconds: 1 }),
  "graphile-worker-batched": () => setInterval(() => undefined, 1_000),
  "pg-boss": () => tell({ runs: work.runs, seconds: new URL(process.env.PEER_DATABASE_URL).pathname === "/peer_pg_boss_noop" ? 2 : 1 }),
};
DO[work.peer]();
`;

async function folderOfPeers(): Promise<string> {
  const folder = await temporaryFolder();
  const packages = [...new Set(Object.values(PEERS).map((peer) => peer.package))];
  const dependencies = Object.fromEntries(packages.map((name) => [name, "1.2.3"]));
  await writeFile(join(folder, "package.json"), JSON.stringify({ dependencies }));
  for (const name of packages) {
    await mkdir(join(folder, "node_modules", name), { recursive: true });
    await writeFile(join(folder, "node_modules", name, "package.json"), JSON.stringify({ version: "1.2.3" }));
  }
  await writeFile(join(folder, "main.ts"), PROGRAM);
  return folder;
}

test("each failure is told with why, ends its peer alone, and is not tried again", async () => {
  const clock = systemClock();
  const cleanup = new Cleanup();
  atEndOfFile(() => cleanup.run());
  const postgres = await startPostgres({ clock }, cleanup);
  const settings = readOptions(["--peers", "--runs", "60", "--peer-seconds", "1"]);
  if (settings === undefined) throw new Error("these are settings");
  const lines: string[] = [];
  const progress = (line: string) => void lines.push(line);
  const peers = openPeers("noop", { settings, clock, cleanup, progress }, await folderOfPeers());
  for (const round of [...peers.contestants(postgres), ...peers.contestants(postgres)]) await round();
  const figures = peers.figures();
  expect(Object.keys(figures)).toEqual(Object.keys(PEERS));
  const failed = (why: string) => ({ version: "1.2.3", rounds: [], end: { failed: why } });
  expect(figures).toEqual({
    "dbos-queue": failed("Error: DBOS works on all: not within 1 s"),
    "dbos-in-process": failed("ended with 3 and without a result"),
    "graphile-worker": failed("did 59 runs instead of 60"),
    "graphile-worker-batched": failed("was not done within 1 s, and did not end by itself"),
    "pg-boss": { version: "1.2.3", rounds: [30, 30], end: { median: 30 } },
  });
  expect(lines.filter((line) => line.includes("failed:"))).toHaveLength(4);
  expect(lines.filter((line) => line === "pg-boss: 30 runs/s")).toHaveLength(2);
});
