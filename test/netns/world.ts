// The processes of `npm run test:netns`: Postgres and replicas in the namespace of the server, workers and the proxy in theirs.
// Made by driver.ts. Certificates come from `orloj certs`, as an operator makes them. Every process ends with the driver; one that ends
// before it is told to is a violation.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../kit/clock.ts";
import { createClient, type OrlojClient, type RunHandle } from "../../sdk/index.ts";
import { startEmbedded } from "../../server/storage/embedded/start.ts";
import { agent, commandTool, single } from "../e2e/documents.ts";
import { atEndOfFile } from "../harness/cleanup.ts";
import { type RunningProcess, runOrloj, type ServerProcess, startProcess, startServer } from "../harness/processes.ts";
import { ADDRESSES, type Lab, type Place } from "./lab.ts";

/** Length of a lease, in ms: the default, so that a worker whose address changes has noticed before it ends. */
export const LEASE_TTL_MS = 30_000;
const WORKER_PORT = 7602;
const PROXY_PORT = 3128;
const PROXY_CREDENTIALS = "lab:let-me-through";
const ROOT = join(import.meta.dirname, "../..");

/** Places that have a worker; its name is that of its place. */
export const WORKERS = ["near", "far", "home", "shut"] as const satisfies readonly Place[];
export type WorkerName = (typeof WORKERS)[number];

/** See the file header. */
export class World {
  readonly lab: Lab;
  readonly servers: ServerProcess[] = [];
  readonly workers = new Map<WorkerName, RunningProcess>();
  readonly unexpectedExits: string[] = [];
  proxy!: RunningProcess;
  readonly #folder: string;
  readonly #told = new WeakSet<RunningProcess>();
  #databaseUrl = "";
  #client!: OrlojClient;

  constructor(lab: Lab, folder: string) {
    this.lab = lab;
    this.#folder = folder;
  }

  get client(): OrlojClient {
    return this.#client;
  }

  /** Makes certificates, starts Postgres, one replica, and the proxy; applies the workflows. */
  async start(): Promise<void> {
    await this.#certificates();
    const postgres = await startEmbedded({
      ...{ home: join(this.#folder, "pg"), clock: systemClock(), log: () => undefined },
      settings: { max_connections: "60" },
    });
    atEndOfFile(() => postgres.stop());
    this.#databaseUrl = postgres.url;
    await this.startReplica(0);
    const program = [process.execPath, "test/netns/proxy.ts", "0.0.0.0", String(PROXY_PORT), PROXY_CREDENTIALS];
    this.proxy = this.#startIn("prx", program, {});
    await this.proxy.waitFor(/^ready$/m);
    const files = [
      {
        name: "lab.json",
        content: documents()
          .map((one) => JSON.stringify(one))
          .join("\n---\n"),
      },
    ];
    await this.#client.manifests.apply({ files });
  }

  /** Starts the replica at one of the addresses; calls go to it from now on. */
  async startReplica(index: 0 | 1): Promise<ServerProcess> {
    const server = await startServer({
      home: join(this.#folder, "home"),
      databaseUrl: this.#databaseUrl,
      args: ["--lease-ttl", `${LEASE_TTL_MS / 1_000}s`],
      env: {
        ORLOJ_WORKER_HOST: ADDRESSES.replicas[index],
        ORLOJ_WORKER_PORT: String(WORKER_PORT),
        ORLOJ_WORKER_TLS_CERT: this.#certificate("server.crt"),
        ORLOJ_WORKER_TLS_KEY: this.#certificate("server.key"),
        ORLOJ_WORKER_TLS_CLIENT_CA: this.#certificate("ca.crt"),
        ORLOJ_WORKER_TLS_CRL: this.#certificate("ca.crl"),
        ORLOJ_WORKER_TRUST_DOMAIN: "lab.test",
      },
    });
    this.servers[index] = server;
    this.#watch(server, `server ${index}`);
    const { token } = JSON.parse(readFileSync(join(server.home, "config.json"), "utf8")) as { token: string };
    this.#client = createClient({ endpoint: server.api, token });
    return server;
  }

  /** Ends a replica politely. */
  async stopReplica(index: 0 | 1): Promise<void> {
    const server = this.servers[index] as ServerProcess;
    this.#told.add(server);
    await server.stop();
  }

  /** Starts the worker of a place and waits until it is ready. */
  async startWorker(name: WorkerName): Promise<RunningProcess> {
    const endpoints = ADDRESSES.replicas.map((address) => `${address}:${WORKER_PORT}`).join();
    const env = {
      ORLOJ_HOME: join(this.#folder, name),
      ORLOJ_WORKER_ENDPOINTS: endpoints,
      ORLOJ_WORKER_CA: this.#certificate("ca.crt"),
      ORLOJ_WORKER_CERT: this.#certificate(`worker-${name}.crt`),
      ORLOJ_WORKER_KEY: this.#certificate(`worker-${name}.key`),
      ...(name === "shut" && { ORLOJ_WORKER_PROXY: `http://${PROXY_CREDENTIALS}@${ADDRESSES.proxy}:${PROXY_PORT}` }),
    };
    const labels = [
      "--label",
      `where=${name}`,
      "--label",
      `pool=${name === "near" || name === "far" ? "shared" : name}`,
    ];
    const worker = this.#startIn(name, [process.execPath, join(ROOT, "bin/orloj.ts"), "worker", ...labels], env);
    this.workers.set(name, worker);
    this.#watch(worker, `worker ${name}`);
    await worker.waitFor(/^.*\bready\b.*$/m, 30_000);
    return worker;
  }

  /** Ends a process politely. */
  async stop(running: RunningProcess): Promise<void> {
    this.#told.add(running);
    await running.stop();
  }

  invoke(workflow: string): Promise<RunHandle> {
    return this.#client.workflow(workflow).invoke();
  }

  #startIn(place: Place, program: readonly string[], env: Readonly<Record<string, string>>): RunningProcess {
    return startProcess("ip", ["netns", "exec", this.lab.name(place), ...program], { env });
  }

  #watch(running: RunningProcess, title: string): void {
    void running.ended.then(({ code, signal }) => {
      if (!this.#told.has(running)) this.unexpectedExits.push(`${title}: ${code ?? signal}`);
    });
    // Ended by the end of the driver, which comes first then.
    atEndOfFile(() => void this.#told.add(running));
  }

  #certificate(file: string): string {
    return join(this.#folder, "certs", file);
  }

  async #certificates(): Promise<void> {
    const hosts = ADDRESSES.replicas.flatMap((address) => ["--host", address]);
    for (const args of [
      ["init", "--trust-domain", "lab.test"],
      ["issue", "server", ...hosts],
      ...WORKERS.map((name) => ["issue", "worker", "--name", name]),
    ]) {
      const { code, stderr } = await runOrloj(["certs", ...args, "--dir", join(this.#folder, "certs")]);
      if (code !== 0) throw new Error(`orloj certs ${args.join(" ")} ended with ${code}: ${stderr}`);
    }
  }
}

/** `shared`: 25 s on near or far; `long-PLACE`, `brief-PLACE`: 30 s or a moment there. */
function documents(): readonly object[] {
  return [
    ...waiting("shared", 25, { pool: "shared" }),
    ...WORKERS.flatMap((name) => [
      ...waiting(`long-${name}`, 30, { where: name }),
      ...waiting(`brief-${name}`, 0, { where: name }),
    ]),
  ];
}

function waiting(name: string, seconds: number, labels: Readonly<Record<string, string>>): readonly object[] {
  const script = [{ when: "turn == 1", toolCalls: [{ name, arguments: {} }] }, { output: { done: true } }];
  return [
    commandTool(name, ["sleep", String(seconds)], { timeout: "2m" }),
    agent(name, script, { tools: [name], requirements: { labels } }),
    ...single(name, { timeout: "10m" }),
  ];
}
