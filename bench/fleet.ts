// The processes that are measured: a Postgres, one server or several replicas, and workers, in temporary homes, on free ports.
// Started by the suites, whose own process only drives. Everything is as it is by default: policies, audit, fences, durable commits.
// Never touches the ORLOJ_HOME or the database of the person who runs it.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { launch } from "../cli/processes.ts";
import type { Cleanup } from "../demo/fleet.ts";
import type { Clock } from "../kit/clock.ts";
import { createClient, type OrlojClient } from "../sdk/index.ts";
import { embeddedRoles } from "../server/storage/embedded/roles.ts";
import { startCountedTool } from "./counted_tool.ts";
import { benchManifests } from "./manifests.ts";
import { type BenchPostgres, startPostgres, temporaryHome } from "./postgres.ts";

const ROOT = join(import.meta.dirname, "..");
const COMMAND = join(ROOT, "bin/orloj.ts");
const WORKER = join(import.meta.dirname, "worker.ts");

/** How to start the processes. */
export interface FleetOptions {
  /** Tasks that each worker runs at the same time. */
  readonly slots: number;
  /** Replicas of the server, 1 by default; each has a worker of its own, unless there are to be none. */
  readonly replicas?: number;
  readonly workers?: boolean;
  /** Folder for CPU profiles of servers and workers; absent: none. */
  readonly profileFolder?: string;
  /** Settings of Postgres beside the durable ones. */
  readonly postgresSettings?: Readonly<Record<string, string>>;
  readonly clock: Clock;
}

/** A worker process to start. */
export interface WorkerPlan {
  readonly name: string;
  readonly slots: number;
  /** Handlers that it registers. */
  readonly handlers: string;
  /** Workers in the process; 1 by default. */
  readonly count?: number;
}

/** One process of the server. */
export interface ServerReplica {
  readonly pid: number;
  readonly client: OrlojClient;
  /** Starts a worker that connects to this replica. @returns its process id */
  startWorker(plan: WorkerPlan): Promise<number>;
}

/** What is running. */
export interface Fleet {
  /** Of the first replica. */
  readonly client: OrlojClient;
  readonly replicas: readonly ServerReplica[];
  /** Process ids of the workers that were started with it. */
  readonly workerPids: readonly number[];
  readonly postgres: BenchPostgres;
  /** Calls of the counted tool so far. */
  readonly toolCalls: () => number;
}

/** Starts everything and applies the manifests; whatever was started is in cleanup, also when a later start fails. */
export async function startFleet(options: FleetOptions, cleanup: Cleanup): Promise<Fleet> {
  const { clock, slots, postgresSettings } = options;
  const tool = await startCountedTool(cleanup);
  const postgres = await startPostgres({ clock, ...(postgresSettings && { settings: postgresSettings }) }, cleanup);
  const first = await startReplica({ number: 1, home: postgres.home, variables: {} }, options, cleanup);
  const replicas = [first];
  for (let number = 2; number <= (options.replicas ?? 1); number += 1) {
    const variables = {
      // The role that the first one works as, which exists by now.
      ORLOJ_DATABASE_URL: (await embeddedRoles(postgres.url)).server,
      ORLOJ_AUDIT_KEY: join(postgres.home, "audit-key.pem"),
    };
    replicas.push(await startReplica({ number, home: await temporaryHome(cleanup), variables }, options, cleanup));
  }
  const files = [{ name: "bench.yaml", content: benchManifests(tool.url, slots) }];
  await first.client.manifests.apply({ files });
  const workerPids: number[] = [];
  for (const [index, replica] of options.workers === false ? [] : replicas.entries()) {
    workerPids.push(await replica.startWorker({ name: `bench-${index + 1}`, slots, handlers: "noop,stamp" }));
  }
  return { client: first.client, replicas, workerPids, postgres, toolCalls: tool.calls };
}

interface ReplicaPlan {
  readonly number: number;
  readonly home: string;
  readonly variables: Readonly<Record<string, string>>;
}

async function startReplica(
  { number, home, variables }: ReplicaPlan,
  { clock, profileFolder }: FleetOptions,
  cleanup: Cleanup,
): Promise<ServerReplica> {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith("ORLOJ_"));
  const env = { ...Object.fromEntries(kept), ORLOJ_HOME: home, ORLOJ_LOG_LEVEL: "warn" };
  const profiled = (name: string) =>
    profileFolder === undefined
      ? []
      : ["--cpu-prof", `--cpu-prof-dir=${profileFolder}`, `--cpu-prof-name=${name}.cpuprofile`];
  const stopLater = (stop: () => Promise<void>) => cleanup.add(stop);
  const suffix = number === 1 ? "" : `-${number}`;
  const { pid } = await launch(
    {
      name: `server${suffix}`,
      args: [...profiled(`server${suffix}`), COMMAND, "server"],
      env: { ...env, ...variables, ORLOJ_API_PORT: "0", ORLOJ_WORKER_PORT: "0", ORLOJ_OPS_PORT: "0" },
      ready: /^orloj server ready\b.*\bapi=(\S+)/,
    },
    clock,
    stopLater,
  );
  const { endpoint, token } = JSON.parse(await readFile(join(home, "config.json"), "utf8")) as {
    endpoint: string;
    token: string;
  };
  return {
    pid,
    client: createClient({ endpoint, token }),
    async startWorker({ name, slots, handlers, count = 1 }) {
      const worker = await launch(
        {
          name: `worker ${name}`,
          args: [...profiled(`worker${suffix}`), WORKER, "--handlers", handlers, "--count", String(count)],
          env: {
            ...env,
            ORLOJ_WORKER_NAME: name,
            ORLOJ_WORKER_SLOTS: String(slots),
            ORLOJ_PRIVATE_NETWORKS: "127.0.0.0/8",
          },
          ready: /^worker ready$/,
        },
        clock,
        stopLater,
      );
      return worker.pid;
    },
  };
}
