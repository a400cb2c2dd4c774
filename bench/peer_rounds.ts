// Rounds of other engines on the Postgres that ours works on, each in a process and a database of its own, in turn with ours.
// Called by throughput.ts. One that fails a round, or is not done with it in time, has failed, and the others go on without it. The engines are packages of bench/peers, which nothing else needs: a person installs them there.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../kit/errors.ts";
import { SECOND } from "../kit/units.ts";
import { median } from "./figures.ts";
import { runMeasured } from "./measured_process.ts";
import { PEERS, type PeerName, type PeerResult, type PeerShape, type PeerWork } from "./peers/names.ts";
import { type BenchPostgres, otherDatabase } from "./postgres.ts";
import type { SuiteContext } from "./suite.ts";

const FOLDER = join(import.meta.dirname, "peers");
/** What a person runs to have the engines. */
export const INSTALL_PEERS = "npm ci --prefix bench/peers";
/** For a peer that is out of time to say so itself, before it is killed. */
const GRACE_MS = 5 * SECOND;

/** What a peer reached. */
export interface PeerFigures {
  readonly version: string;
  /** Runs a second of each round that it did. */
  readonly rounds: readonly number[];
  /** Their median, or why there is none: a round failed. */
  readonly end: { readonly median: number } | { readonly failed: string };
}

/** The peers of a measurement. */
export interface PeerRounds {
  /** One round of each; nothing happens in the round of one that has failed. Rejects for none of them. */
  contestants(postgres: Pick<BenchPostgres, "url" | "pool">): (() => Promise<void>)[];
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

/**
 * Looks whether the peers of a shape are installed, before anything is started.
 *
 * @param folder with their packages, and with main.ts, the program that runs one of them
 * @throws Error with what to run
 */
export function openPeers(shape: PeerShape, context: SuiteContext, folder = FOLDER): PeerRounds {
  const names = (Object.keys(PEERS) as PeerName[]).filter((name) =>
    (PEERS[name].shapes as readonly PeerShape[]).includes(shape),
  );
  const versions = new Map(names.map((name) => [name, installedVersion(PEERS[name].package, folder)]));
  const rounds = new Map(names.map((name) => [name, [] as number[]]));
  const failures = new Map<PeerName, string>();
  const { runs, inFlight, warmUp, peerSeconds: secondsMax } = context.settings;
  const endOf = (name: PeerName, each: readonly number[]): PeerFigures["end"] => {
    const failed = failures.get(name);
    return failed === undefined ? { median: median(each) } : { failed };
  };
  return {
    contestants: (postgres) =>
      names.map((name) => async () => {
        if (failures.has(name)) return;
        try {
          const url = await otherDatabase(postgres, `peer_${name.replaceAll("-", "_")}_${shape}`);
          const seconds = await runPeer(
            { peer: name, shape, runs, warmUp, inFlight, secondsMax },
            url,
            folder,
            context,
          );
          context.progress(`${name}: ${Math.round(runs / seconds)} runs/s`);
          rounds.get(name)?.push(runs / seconds);
        } catch (error) {
          context.progress(`${name} failed: ${messageOf(error)}`);
          failures.set(name, messageOf(error));
        }
      }),
    figures: () =>
      Object.fromEntries(
        [...rounds].map(([name, each]) => [
          name,
          { version: versions.get(name) ?? "", rounds: each, end: endOf(name, each) },
        ]),
      ),
  };
}

// Seconds that the runs took.
async function runPeer(work: PeerWork, url: string, folder: string, { clock, cleanup }: SuiteContext): Promise<number> {
  const msMax = work.secondsMax * SECOND + GRACE_MS;
  // What their libraries do with others that is deprecated is not ours to read in every round.
  const args = ["--no-deprecation", join(folder, "main.ts"), JSON.stringify(work)];
  const program = { args, folder, env: { PEER_DATABASE_URL: url }, msMax };
  const { code, stdout, ms } = await runMeasured(program, clock, cleanup);
  if (code === null && ms >= msMax)
    throw new Error(`was not done within ${work.secondsMax} s, and did not end by itself`);
  const result = resultIn(stdout);
  if (result === undefined) throw new Error(`ended with ${code} and without a result`);
  if ("failed" in result) throw new Error(result.failed);
  if (result.runs !== work.runs) throw new Error(`did ${result.runs} runs instead of ${work.runs}`);
  return result.seconds;
}

// Their libraries may print what they like before it.
function resultIn(stdout: string): PeerResult | undefined {
  const last = stdout.trim().split("\n").at(-1) ?? "";
  return last.startsWith("{") ? (JSON.parse(last) as PeerResult) : undefined;
}

interface PackageManifest {
  readonly version?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
}

function manifestOf(path: string): PackageManifest | undefined {
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as PackageManifest) : undefined;
}
