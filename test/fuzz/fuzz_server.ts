// The server under fuzz: a real `orloj server` with the probe loaded, in a home of its own, on free ports. Called by frame_run.ts,
// and by the campaigns of test/hostile and test/floods.
// Its database is an embedded Postgres unless the environment given names another one.

import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { launch } from "../../cli/processes.ts";
import type { Cleanup } from "../../demo/fleet.ts";
import type { Clock } from "../../kit/clock.ts";
import { createClient, type OrlojClient } from "../../sdk/index.ts";
import type { LoopSample } from "../harness/loop_probe.ts";

const COMMAND = join(import.meta.dirname, "../../bin/orloj.ts");
const PROBE = pathToFileURL(join(import.meta.dirname, "server_probe.ts")).href;
const SAMPLE_WAIT_MS = 10_000;

export interface FuzzServer {
  readonly api: string;
  readonly worker: string;
  readonly ops: string;
  readonly pid: number;
  readonly token: string;
  readonly joinToken: string;
  readonly client: OrlojClient;
  /** False once the process has ended. */
  alive(): boolean;
  /** Begins to measure at the first call; every further one tells what was seen since then. */
  sample(): Promise<LoopSample>;
  /** The last failures in its log, but for bytes that are no frame. */
  failures(): string;
  /** Starts a worker that behaves. */
  startWorker(): Promise<void>;
}

export async function startFuzzServer(
  clock: Clock,
  cleanup: Cleanup,
  more: Readonly<Record<string, string>> = {},
): Promise<FuzzServer> {
  const home = await mkdtemp(join(tmpdir(), "orloj-fuzz-home-"));
  cleanup.add(() => rm(home, { recursive: true, force: true, maxRetries: 3 }));
  // Postgres refuses to run as root; the user it then runs as has to pass through.
  await chmod(home, 0o711);
  const kept = Object.entries(process.env).filter(([name]) => !/^(ORLOJ_|VITEST|NODE_OPTIONS|NODE_ENV)/.test(name));
  const env = { ...Object.fromEntries(kept), ORLOJ_HOME: home, ORLOJ_LOG_LEVEL: "error" };
  const file = join(home, "probe.json");
  const ports = { ORLOJ_API_PORT: "0", ORLOJ_WORKER_PORT: "0", ORLOJ_OPS_PORT: "0", FUZZ_PROBE_FILE: file };
  const server = await launch(
    {
      name: "server",
      args: ["--expose-gc", "--import", PROBE, COMMAND, "server", "--lease-ttl", "5s"],
      env: { ...env, ...ports, ...more },
      ready: /^orloj server ready\b.*\bapi=(\S+) worker=(\S+) ops=(\S+)/,
    },
    clock,
    (stop) => cleanup.add(stop),
  );
  const [, api = "", worker = "", ops = ""] = server.match;
  const { token, joinToken } = JSON.parse(await readFile(join(home, "config.json"), "utf8")) as Record<string, string>;
  return {
    ...{ api, token: token as string, joinToken: joinToken as string, pid: server.pid },
    worker: urlOf(worker),
    ops: urlOf(ops),
    client: createClient({ endpoint: api, token: token as string }),
    alive: () => isAlive(server.pid),
    failures: () =>
      server.tail
        .filter((line) => line.includes("rpc.failed") && !/parse binary|received compressed|protocol error/.test(line))
        .join("\n"),
    async sample() {
      await rm(file, { force: true });
      process.kill(server.pid, "SIGUSR2");
      const deadline = performance.now() + SAMPLE_WAIT_MS;
      for (;;) {
        const text = await readFile(file, "utf8").catch(() => undefined);
        if (text !== undefined) return JSON.parse(text) as LoopSample;
        if (performance.now() > deadline) throw new Error("the server's event loop did not come round to the probe");
        await clock.sleep(20);
      }
    },
    async startWorker() {
      await launch(
        {
          name: "worker",
          args: [COMMAND, "worker"],
          env: { ...env, ORLOJ_WORKER_NAME: "healthy", ORLOJ_WORKER_ENDPOINTS: worker.replace(/^https?:\/\//, "") },
          ready: /^(?:orloj )?worker\b.*\bready\b/,
        },
        clock,
        (stop) => cleanup.add(stop),
      );
    },
  };
}

function urlOf(place: string): string {
  return place.startsWith("http") ? place : `http://${place}`;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
