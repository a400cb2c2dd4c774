// The processes of the demo: one HTTP service, one server on an embedded Postgres, two workers, in a home of their own.
// Called by demo/main.ts. Everything listens on free ports of this machine.
// Never touches the ORLOJ_HOME, the database or the settings of the person who runs it.

import { randomBytes } from "node:crypto";
import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { launch, type Running } from "../cli/processes.ts";
import type { Clock } from "../kit/clock.ts";
import { type Sandbox, secretsOf, startSandbox } from "../sandbox/service.ts";
import { LIVE_KEY_VARIABLE, type LiveModel } from "./manifests.ts";

/** Workers of the demo. One slot each: two branches of a run can only be in flight together on two workers. */
export const WORKER_NAMES = ["demo-worker-1", "demo-worker-2"] as const;

/** What is running, and how to reach it. */
export interface Fleet {
  readonly endpoint: string;
  readonly token: string;
  readonly service: Sandbox;
  /** Process ids by name. */
  readonly pids: Readonly<Record<string, number>>;
}

/** Everything that has to be undone, newest first. */
export class Cleanup {
  readonly #undo: (() => Promise<unknown>)[] = [];
  #running: Promise<void> | undefined;

  /** Adds something to undo. */
  add(undo: () => Promise<unknown>): void {
    this.#undo.push(undo);
  }

  /** Undoes everything, newest first; a failure of one does not spare the others. Safe to call twice. */
  run(): Promise<void> {
    this.#running ??= this.#all();
    return this.#running;
  }

  async #all(): Promise<void> {
    for (let undo = this.#undo.pop(); undo !== undefined; undo = this.#undo.pop()) {
      await undo().catch((error: unknown) => process.stderr.write(`demo: cleaning up: ${String(error)}\n`));
    }
  }
}

/** Starts everything; what was started is in cleanup even if a later start fails. */
export async function startFleet(
  root: string,
  live: LiveModel | undefined,
  clock: Clock,
  cleanup: Cleanup,
  say: (line: string) => void,
): Promise<Fleet> {
  const home = await mkdtemp(join(tmpdir(), "orloj-demo-"));
  cleanup.add(() => rm(home, { recursive: true, force: true, maxRetries: 3 }));
  // Postgres refuses to run as root; the user it then runs as has to pass through. What is secret has its own mode.
  await chmod(home, 0o711);

  const believed = {
    token: randomBytes(16).toString("hex"),
    signingSecret: `whsec_${randomBytes(32).toString("base64")}`,
  };
  const service = await startSandbox({ port: 0, ...believed }, clock);
  cleanup.add(() => service.close());
  say(`sandbox             ${service.url}  (a real HTTP server inside this process)`);

  const env = cleanEnvironment(home);
  const server = await launch(
    {
      name: "server",
      args: [commandOf(root), "server", "--dev-groups", "developers"],
      env: {
        ...env,
        ORLOJ_API_PORT: "0",
        ORLOJ_WORKER_PORT: "0",
        ORLOJ_OPS_PORT: "0",
        ...secretsOf(service.url, believed),
        ...(live === undefined ? {} : { [LIVE_KEY_VARIABLE]: live.apiKey }),
      },
      ready: /^orloj server ready\b.*\bapi=(\S+)/,
    },
    clock,
    (stop) => cleanup.add(stop),
  );
  const config = JSON.parse(await readFile(join(home, "config.json"), "utf8")) as { endpoint: string; token: string };
  say(`server              ${config.endpoint}  (process ${server.pid}, embedded Postgres)`);

  const workers = await startWorkers(root, env, clock, cleanup);
  for (const [name, worker] of workers) say(`${name.padEnd(18)}  process ${worker.pid}, one slot, over gRPC`);
  const pids = Object.fromEntries([["server", server] as const, ...workers].map(([name, { pid }]) => [name, pid]));
  return { endpoint: config.endpoint, token: config.token, service, pids };
}

async function startWorkers(root: string, env: NodeJS.ProcessEnv, clock: Clock, cleanup: Cleanup) {
  const started: (readonly [string, Running])[] = [];
  for (const name of WORKER_NAMES) {
    const worker = await launch(
      {
        name,
        args: [commandOf(root), "worker"],
        env: {
          ...env,
          ORLOJ_WORKER_NAME: name,
          ORLOJ_WORKER_SLOTS: "1",
          ORLOJ_WORK_DIR: root,
          ORLOJ_PRIVATE_NETWORKS: "127.0.0.0/8",
          // Where the demo found git is where its command tools look for it.
          ORLOJ_COMMAND_PATH: process.env["PATH"] ?? ["/usr/local/bin", "/usr/bin", "/bin"].join(delimiter),
        },
        ready: /^(?:orloj )?worker\b.*\bready\b/,
      },
      clock,
      (stop) => cleanup.add(stop),
    );
    started.push([name, worker]);
  }
  return started;
}

function commandOf(root: string): string {
  return join(root, "bin", "orloj.ts");
}

// The settings of the person who runs the demo must neither break it nor be used by it.
function cleanEnvironment(home: string): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith("ORLOJ_"));
  return { ...Object.fromEntries(kept), ORLOJ_HOME: home };
}
