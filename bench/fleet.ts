// The processes that are measured: a server on an embedded Postgres and one worker, in a temporary home, on free ports.
// Started by bench/main.ts, whose own process only drives. Postgres keeps its durable settings: fsync is on.
// Never touches the ORLOJ_HOME or the database of the person who runs it.

import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { launch } from "../cli/processes.ts";
import type { Cleanup } from "../demo/fleet.ts";
import type { Clock } from "../kit/clock.ts";
import { createClient, type OrlojClient } from "../sdk/index.ts";
import { startEmbedded } from "../server/storage/embedded/start.ts";
import { benchManifests } from "./manifests.ts";

const ROOT = join(import.meta.dirname, "..");
const COMMAND = join(ROOT, "bin/orloj.ts");
// Longer than any pause between two runs, so that no sample pays for a connection.
const KEEP_ALIVE_MS = 60_000;

/** How to start the processes. */
export interface FleetOptions {
  /** Tasks that the worker runs at the same time. */
  readonly slots: number;
  /** Folder for CPU profiles of server and worker; absent: none. */
  readonly profileFolder?: string;
  readonly clock: Clock;
}

/** What is running. */
export interface Fleet {
  readonly client: OrlojClient;
  /** Called when the agent of the latency suite starts. */
  onStart: () => void;
}

/** Starts everything and applies the manifests; whatever was started is in cleanup, also when a later start fails. */
export async function startFleet(options: FleetOptions, cleanup: Cleanup): Promise<Fleet> {
  const home = await temporaryHome(cleanup);
  const modelUrl = await startModel(() => fleet.onStart(), cleanup);
  const { endpoint, token } = await startProcesses(home, options, cleanup);
  const fleet: Fleet = { client: createClient({ endpoint, token }), onStart: () => undefined };
  await fleet.client.manifests.apply({ files: [{ name: "bench.yaml", content: benchManifests(modelUrl) }] });
  return fleet;
}

/** Starts an embedded Postgres alone, for what is measured in this process. */
export async function startPostgres(clock: Clock, cleanup: Cleanup): Promise<{ databaseUrl: string; home: string }> {
  const folder = await temporaryHome(cleanup);
  const embedded = await startEmbedded({ home: join(folder, "postgres"), clock, log: () => undefined });
  cleanup.add(() => embedded.stop());
  return { databaseUrl: embedded.url, home: join(folder, "audit") };
}

async function temporaryHome(cleanup: Cleanup): Promise<string> {
  const home = await mkdtemp(join(tmpdir(), "orloj-bench-"));
  cleanup.add(() => rm(home, { recursive: true, force: true, maxRetries: 3 }));
  // Postgres refuses to run as root; the user it then runs as has to pass through.
  await chmod(home, 0o711);
  return home;
}

async function startProcesses(home: string, options: FleetOptions, cleanup: Cleanup) {
  const { clock, slots, profileFolder } = options;
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith("ORLOJ_"));
  const env = { ...Object.fromEntries(kept), ORLOJ_HOME: home, ORLOJ_LOG_LEVEL: "warn" };
  const flags = (name: string) =>
    profileFolder === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profileFolder}`, `--cpu-prof-name=${name}`];
  await launch(
    {
      name: "server",
      args: [...flags("server.cpuprofile"), COMMAND, "server"],
      env: { ...env, ORLOJ_API_PORT: "0", ORLOJ_WORKER_PORT: "0", ORLOJ_OPS_PORT: "0" },
      ready: /^orloj server ready\b.*\bapi=(\S+)/,
    },
    clock,
    (stop) => cleanup.add(stop),
  );
  await launch(
    {
      name: "worker",
      args: [...flags("worker.cpuprofile"), COMMAND, "worker"],
      env: { ...env, ORLOJ_WORKER_NAME: "bench", ORLOJ_WORKER_SLOTS: String(slots) },
      ready: /^(?:orloj )?worker\b.*\bready\b/,
    },
    clock,
    (stop) => cleanup.add(stop),
  );
  return JSON.parse(await readFile(join(home, "config.json"), "utf8")) as { endpoint: string; token: string };
}

// A model that answers at once and tells when it was asked: the moment at which an agent really runs.
async function startModel(asked: () => void, cleanup: Cleanup): Promise<string> {
  const answer = JSON.stringify({ choices: [{ message: { role: "assistant", content: "done" } }] });
  const server = createServer((request, response) => {
    asked();
    request.resume().once("end", () => response.setHeader("content-type", "application/json").end(answer));
  });
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanup.add(async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
