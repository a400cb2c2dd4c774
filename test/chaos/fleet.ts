// The processes of a chaos run and the links between them: Postgres behind a proxy, replicas behind two balancers, workers.
// Made by main.ts; broken by the nemesis. Every process that ends without having been told to is an unexpected exit.

import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { createClient, type OrlojClient } from "../../sdk/index.ts";
import { type RunningProcess, startOrloj } from "../harness/processes.ts";
import { CommitTrap } from "./commit_trap.ts";
import { ChaosPostgres } from "./postgres.ts";
import { LEASE_TTL_MS } from "./profiles.ts";
import { TcpProxy } from "./tcp_proxy.ts";

/** One server replica; it keeps its ports over its lives. */
export interface Replica {
  readonly index: number;
  readonly ports: { readonly api: number; readonly worker: number; readonly ops: number };
  process: RunningProcess | undefined;
}

/** One worker process; a new one has a new name. */
export interface ChaosWorker {
  readonly name: string;
  readonly process: RunningProcess;
  /** The proxy that it reaches the replicas through. */
  readonly link: TcpProxy;
  /** Stopped, starting, or on its way out: not to be broken by anybody else. */
  frozen: boolean;
}

/** See the file header. */
export class Fleet {
  readonly postgres: ChaosPostgres;
  readonly toPostgres: TcpProxy;
  readonly trap: CommitTrap;
  readonly replicas: Replica[] = [];
  readonly workers = new Map<string, ChaosWorker>();
  /** When a replica was last started, in ms. */
  replicaStartedAt = 0;
  unexpectedExits: string[] = [];
  readonly #folder: string;
  readonly #random: () => number;
  readonly #sinkUrl: string;
  readonly #expected = new WeakSet<RunningProcess>();
  readonly #apiBalancer: TcpProxy;
  #turn = 0;
  #apiPort = 0;
  #databaseUrl = "";
  #workerCount = 0;

  private constructor(folder: string, postgres: ChaosPostgres, sinkUrl: string, random: () => number) {
    this.#folder = folder;
    this.#random = random;
    this.#sinkUrl = sinkUrl;
    this.postgres = postgres;
    this.toPostgres = new TcpProxy(() => [postgres.target], random);
    this.trap = new CommitTrap(this.toPostgres);
    this.#apiBalancer = new TcpProxy(() => this.#inTurn("api"), random);
  }

  static async start(
    folder: string,
    sinkUrl: string,
    random: () => number,
    size: { replicas: number; workers: number },
  ) {
    const fleet = new Fleet(folder, await ChaosPostgres.start(folder), sinkUrl, random);
    fleet.#databaseUrl = fleet.postgres.urlThrough(await fleet.toPostgres.listen());
    fleet.#apiPort = await fleet.#apiBalancer.listen();
    for (let index = 0; index < size.replicas; index += 1) {
      const [api = 0, worker = 0, ops = 0] = await freePorts(3);
      fleet.replicas.push({ index, ports: { api, worker, ops }, process: undefined });
    }
    // The first one migrates alone; the others would only wait for it.
    await fleet.startReplica(fleet.replicas[0] as Replica);
    await Promise.all(fleet.replicas.slice(1).map((replica) => fleet.startReplica(replica)));
    for (let count = 0; count < size.workers; count += 1) await fleet.startWorker();
    return fleet;
  }

  #home(index: number): string {
    return join(this.#folder, `home${index}`);
  }

  #config(): { token: string; joinToken: string } {
    return JSON.parse(readFileSync(join(this.#home(0), "config.json"), "utf8"));
  }

  /** A client that reaches any replica, through the balancer. */
  client(): OrlojClient {
    return createClient({ endpoint: `http://127.0.0.1:${this.#apiPort}`, token: this.#config().token });
  }

  // Round robin; one that does not answer is passed over, as a balancer does.
  #inTurn(port: "api" | "worker") {
    this.#turn += 1;
    const count = this.replicas.length;
    return this.replicas.map((_, index) => {
      const replica = this.replicas[(index + this.#turn) % count] as Replica;
      return { host: "127.0.0.1", port: replica.ports[port] };
    });
  }

  async startReplica(replica: Replica): Promise<void> {
    const { api, worker, ops } = replica.ports;
    const ports = ["--api-port", String(api), "--worker-port", String(worker), "--ops-port", String(ops)];
    const running = startOrloj(["server", ...ports, "--lease-ttl", `${LEASE_TTL_MS}ms`, "--log-level", "error"], {
      env: {
        ORLOJ_HOME: this.#home(replica.index),
        ORLOJ_DATABASE_URL: this.#databaseUrl,
        ORLOJ_SECRET_SINK_URL: this.#sinkUrl,
      },
    });
    replica.process = running;
    this.#watch(running, `replica ${replica.index}`);
    await running.waitFor(/\bready\b/, 60_000);
    this.replicaStartedAt = Date.now();
  }

  async startWorker(): Promise<ChaosWorker> {
    this.#workerCount += 1;
    const name = `w${this.#workerCount}`;
    const link = new TcpProxy(() => this.#inTurn("worker"), this.#random);
    const port = await link.listen();
    const running = startOrloj(["worker", "--name", name, "--slots", "16", "--server", `127.0.0.1:${port}`], {
      env: {
        ORLOJ_HOME: this.#home(0),
        ORLOJ_JOIN_TOKEN: this.#config().joinToken,
        ORLOJ_PRIVATE_NETWORKS: "127.0.0.0/8",
        ORLOJ_LOG_LEVEL: "error",
      },
    });
    // Not to be chosen before it works.
    const worker = { name, process: running, link, frozen: true };
    this.workers.set(name, worker);
    this.#watch(running, `worker ${name}`);
    await running.waitFor(/\bready\b/, 60_000);
    worker.frozen = false;
    return worker;
  }

  /** Sends SIGKILL; that exit is expected. */
  strike(running: RunningProcess): void {
    this.#expected.add(running);
    running.signal("SIGKILL");
  }

  /** Ends a process at once. */
  async kill(running: RunningProcess): Promise<void> {
    this.strike(running);
    await running.ended;
  }

  /** Ends a worker at once and forgets it. */
  async killWorker(worker: ChaosWorker): Promise<void> {
    this.workers.delete(worker.name);
    await this.kill(worker.process);
    await worker.link.close();
  }

  async stop(): Promise<void> {
    const all = [...this.replicas.flatMap((replica) => replica.process ?? [])];
    for (const worker of this.workers.values()) await this.killWorker(worker);
    await Promise.all(all.map((running) => this.kill(running)));
    await this.#apiBalancer.close();
    await this.toPostgres.close();
    await this.postgres.stop();
  }

  #watch(running: RunningProcess, what: string): void {
    void running.ended.then(({ code, signal }) => {
      if (this.#expected.has(running)) return;
      const words = running.output.stderr.trim().split("\n").slice(-6).join(" | ");
      this.unexpectedExits.push(`${what} ended with ${code ?? signal}: ${words}`);
    });
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((resolve) => {
          server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port));
        }),
    ),
  );
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
