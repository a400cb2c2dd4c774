// Rounds of other engines on the Postgres that ours works on, each in a process and a database of its own, in turn with ours.
// Called by throughput.ts. The engines are packages of bench/peers, which nothing else needs: a person installs them there.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { median } from "./figures.ts";
import { runMeasured } from "./measured_process.ts";
import { PEERS, type PeerName, type PeerResult, type PeerShape, type PeerWork } from "./peers/names.ts";
import { type BenchPostgres, otherDatabase } from "./postgres.ts";
import type { SuiteContext } from "./suite.ts";

const FOLDER = join(import.meta.dirname, "peers");
/** What a person runs to have the engines. */
export const INSTALL_PEERS = "npm ci --prefix bench/peers";

/** What a peer reached. */
export interface PeerFigures {
  readonly version: string;
  /** Runs a second of each round, and their median. */
  readonly rounds: readonly number[];
  readonly median: number;
}

/** The peers of a measurement. */
export interface PeerRounds {
  /** One round of each. */
  contestants(postgres: BenchPostgres): (() => Promise<void>)[];
  figures(): Readonly<Record<string, PeerFigures>>;
}

/** Version of a package of a folder that is installed as its package.json says. @throws Error with what to run */
export function installedVersion(name: string, folder = FOLDER): string {
  const wanted = manifestOf(join(folder, "package.json"))?.dependencies?.[name];
  const found = manifestOf(join(folder, "node_modules", name, "package.json"))?.version;
  if (found !== undefined && found === wanted) return found;
  const state = found === undefined ? "is not installed" : `is installed as ${found} instead of ${wanted}`;
  throw new Error(`--peers: ${name} ${state}; run: ${INSTALL_PEERS}`);
}

/** Looks whether the peers of a shape are installed, before anything is started. @throws Error with what to run */
export function openPeers(shape: PeerShape, context: SuiteContext): PeerRounds {
  const names = (Object.keys(PEERS) as PeerName[]).filter((name) =>
    (PEERS[name].shapes as readonly PeerShape[]).includes(shape),
  );
  const versions = new Map(names.map((name) => [name, installedVersion(PEERS[name].package)]));
  const rounds = new Map(names.map((name) => [name, [] as number[]]));
  return {
    contestants: (postgres) =>
      names.map((name) => async () => {
        const { runs, inFlight, warmUp } = context.settings;
        const { seconds } = await runPeer({ peer: name, shape, runs, warmUp, inFlight }, postgres, context);
        context.progress(`${name}: ${Math.round(runs / seconds)} runs/s`);
        rounds.get(name)?.push(runs / seconds);
      }),
    figures: () =>
      Object.fromEntries(
        [...rounds].map(([name, each]) => [
          name,
          { version: versions.get(name) ?? "", rounds: each, median: median(each) },
        ]),
      ),
  };
}

async function runPeer(work: PeerWork, postgres: BenchPostgres, { clock, cleanup }: SuiteContext): Promise<PeerResult> {
  const url = await otherDatabase(postgres, `peer_${work.peer.replaceAll("-", "_")}_${work.shape}`);
  // What their libraries do with others that is deprecated is not ours to read in every round.
  const args = ["--no-deprecation", join(FOLDER, "main.ts"), JSON.stringify(work)];
  const { code, stdout } = await runMeasured({ args, folder: FOLDER, env: { PEER_DATABASE_URL: url } }, clock, cleanup);
  if (code !== 0) throw new Error(`${work.peer} ended with ${code}: ${stdout.trim()}`);
  const result = JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as PeerResult;
  if (result.runs !== work.runs) throw new Error(`${work.peer} did ${result.runs} runs instead of ${work.runs}`);
  return result;
}

interface PackageManifest {
  readonly version?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
}

function manifestOf(path: string): PackageManifest | undefined {
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as PackageManifest) : undefined;
}
