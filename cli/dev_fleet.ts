// The processes of `orloj dev`: one server on an embedded Postgres and one worker, with state in a home of their own.
// Called by dev.ts. Ports are free ones of this machine; what they log goes to files in the home.
// Never uses the settings of another control plane: of the environment, only secrets and what tools and models need is passed on.

import { appendFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Clock } from "../kit/clock.ts";
import { Code, OrlojError } from "../sdk/index.ts";
import { fileErrorWords, UsageError } from "./failure.ts";
import { launch, type Running } from "./processes.ts";
import { safeText } from "./sanitize.ts";

/** What a fleet needs. */
export interface FleetOptions {
  readonly home: string;
  /** Folder that tools may work in. */
  readonly folder: string;
  readonly env: NodeJS.ProcessEnv;
  readonly clock: Clock;
}

/** A server and a worker that are ready. */
export interface Fleet {
  readonly endpoint: string;
  /** Resolves with the name of a process that ended by itself, and its last lines. */
  readonly broken: Promise<string>;
}

/** Starts and stops the processes. */
export class DevFleet {
  readonly #options: FleetOptions;
  readonly #stops: (() => Promise<void>)[] = [];
  #stopping: Promise<void> | undefined;

  constructor(options: FleetOptions) {
    this.#options = options;
  }

  /** Starts the server, then the worker. @throws OrlojError PROCESS_ENDED with the last lines of what did not start, UsageError */
  async start(): Promise<Fleet> {
    const { home } = this.#options;
    try {
      // Postgres refuses to run as root; the user it then runs as has to pass through. What is secret has its own mode.
      mkdirSync(home, { recursive: true, mode: 0o711 });
      writeFileSync(join(home, ".gitignore"), "*\n");
    } catch (error) {
      throw new UsageError(`${home} cannot be made: ${fileErrorWords(error)}`, "name another folder with --home");
    }
    const server = await this.#launch("server", /^orloj server ready\b.*\bapi=(\S+)/);
    if (this.#stopping !== undefined) throw new Error("stopped while it started");
    const worker = await this.#launch("worker", /^(?:orloj )?worker\b.*\bready\b/);
    const whenOver = async (name: string, { ended, tail }: Running) => {
      await ended;
      return [`the ${name} ended`, ...tail.slice(-3)].join("\n");
    };
    const broken = Promise.race([whenOver("server", server), whenOver("worker", worker)]);
    return { endpoint: server.match[1] as string, broken };
  }

  /** Stops the worker, then the server; safe to call again, and while they start. */
  stop(): Promise<void> {
    this.#stopping = (this.#stopping ?? Promise.resolve()).then(async () => {
      for (let stop = this.#stops.pop(); stop !== undefined; stop = this.#stops.pop()) await stop();
    });
    return this.#stopping;
  }

  async #launch(name: "server" | "worker", ready: RegExp): Promise<Running> {
    const { home, clock } = this.#options;
    const log = join(home, `${name}.log`);
    writeFileSync(log, "");
    try {
      return await launch(
        {
          ...{ name, ready, detached: true },
          args: [...process.execArgv, COMMAND, name],
          env: this.#environment(),
          onLine: (line) => appendFileSync(log, `${line}\n`),
        },
        clock,
        (stop) => {
          this.#stops.push(stop);
          if (this.#stopping !== undefined) this.stop().catch(() => undefined);
        },
      );
    } catch (error) {
      if (this.#stopping !== undefined) throw error;
      throw processEnded(`${(error as Error).message.trim()}; ${log} has all that it said`);
    }
  }

  #environment(): NodeJS.ProcessEnv {
    const { home, folder, env } = this.#options;
    const kept = Object.entries(env).filter(([name]) => !name.startsWith("ORLOJ_") || KEPT.test(name));
    return {
      ORLOJ_COMMAND_PATH: env["PATH"],
      ORLOJ_PRIVATE_NETWORKS: "127.0.0.0/8,::1/128",
      ORLOJ_WORK_DIR: folder,
      ...Object.fromEntries(kept),
      ...{
        ORLOJ_HOME: home,
        ORLOJ_WORKER_NAME: WORKER_NAME,
        ORLOJ_API_PORT: "0",
        ORLOJ_WORKER_PORT: "0",
        ORLOJ_OPS_PORT: "0",
      },
    };
  }
}

/** Settings that say how tools and models are reached and how long things take, not where another control plane is. */
const KEPT =
  /^ORLOJ_(?:SECRET\w*|PRIVATE_NETWORKS|COMMAND_PATH|WORK_DIR|TOOL_MEMORY_MIB|\w+_BASE_URL|LOG_\w+|LEASE_TTL|UNATTACHED|\w+_RETENTION|WORKER_SLOTS|DRAIN_WINDOW)$/;
/** Name of the worker. */
export const WORKER_NAME = "dev-worker";

/** The error of a process that is not there any more, or never was. */
export function processEnded(message: string): OrlojError {
  return new OrlojError(safeText(message), { reason: "PROCESS_ENDED", code: Code.Unavailable });
}

/** The command itself, beside this file: from the sources, or built. */
const COMMAND = fileURLToPath(
  new URL(`../bin/orloj${import.meta.filename.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url),
);
