// A small operations service over HTTP: health, changes, restarts, tickets, and deployments of a few services.
// Started by demo/main.ts, and by hand as examples/incident/README.md says. The tools of examples/ call it.
// Counts its own effects, so that whoever says "nothing was deployed" can ask it. Keeps everything in memory.

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type Clock, systemClock } from "../kit/clock.ts";
import { KIB, MINUTE } from "../kit/units.ts";

const BODY_BYTES_MAX = 64 * KIB;
/** What the first request for changes is told to wait, in seconds. */
const RETRY_AFTER_SECONDS = 1;

/** What the service did, by its own count. */
export interface Effects {
  readonly restarts: number;
  readonly tickets: number;
  readonly deployments: number;
  /** Requests that repeated the Idempotency-Key of an earlier one and had no effect of their own. */
  readonly repeated: number;
}

/** A running service. */
export interface StatusService {
  /** Base URL without a slash at the end. */
  readonly url: string;
  effects(): Effects;
  close(): Promise<void>;
}

interface Service {
  readonly name: string;
  state: "healthy" | "failing";
  readonly version: string;
  errorsPerMinute: number;
  readonly changes: { readonly time: string; readonly what: string }[];
}

interface Reply {
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Starts the service on 127.0.0.1; port 0 takes a free one. Every request needs the bearer token. */
export async function startStatusService(token: string, port: number, clock: Clock): Promise<StatusService> {
  const operations = new Operations(clock);
  const server = createServer((request, response) => {
    answer(operations, token, request)
      .catch((error: unknown): Reply => ({ status: 400, body: { error: String(error) } }))
      .then((reply) => send(response, reply))
      .catch(() => response.destroy());
  });
  await new Promise<void>((done, failed) => {
    server.once("error", failed);
    server.listen(port, "127.0.0.1", done);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    effects: () => operations.effects(),
    close: () =>
      new Promise<void>((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
}

async function answer(operations: Operations, token: string, request: IncomingMessage): Promise<Reply> {
  if (request.headers.authorization !== `Bearer ${token}`) {
    return { status: 401, body: { error: "a bearer token is required" } };
  }
  const path = new URL(request.url ?? "/", "http://localhost").pathname.split("/").slice(1).map(decodeURIComponent);
  const body = request.method === "POST" ? await readJson(request) : {};
  const key = request.headers["idempotency-key"];
  return operations.handle(request.method ?? "GET", path, body, typeof key === "string" ? key : undefined);
}

async function readJson(request: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) throw new Error(`the body is longer than ${BODY_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  const value: unknown = JSON.parse(Buffer.concat(chunks).toString("utf8") || "{}");
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new Error("the body is no JSON object");
  return value as Record<string, unknown>;
}

function send(response: ServerResponse, reply: Reply): void {
  response.writeHead(reply.status, { "content-type": "application/json", ...reply.headers });
  response.end(JSON.stringify(reply.body));
}

/** The state behind the routes. */
class Operations {
  readonly #clock: Clock;
  readonly #services: Map<string, Service>;
  readonly #answered = new Map<string, Reply>();
  readonly #deployments: { id: string; service: string; version: string; time: string }[] = [];
  #restarts = 0;
  #tickets = 0;
  #repeated = 0;
  #warm = false;

  constructor(clock: Clock) {
    this.#clock = clock;
    const ago = (ms: number) => new Date(clock.now() - ms).toISOString();
    const failing: Service = {
      name: "checkout",
      state: "failing",
      version: "v7",
      errorsPerMinute: 42,
      changes: [
        { time: ago(9 * MINUTE), what: "deployment of v7" },
        { time: ago(95 * MINUTE), what: "deployment of v6" },
      ],
    };
    const healthy: Service = { name: "search", state: "healthy", version: "v31", errorsPerMinute: 0, changes: [] };
    this.#services = new Map([failing, healthy].map((service) => [service.name, service]));
    this.#deployments.push({ id: "dep-1", service: "checkout", version: "v7", time: ago(9 * MINUTE) });
  }

  effects(): Effects {
    // The first deployment was there from the start.
    const deployments = this.#deployments.length - 1;
    return { restarts: this.#restarts, tickets: this.#tickets, deployments, repeated: this.#repeated };
  }

  handle(method: string, path: readonly string[], body: Record<string, unknown>, key: string | undefined): Reply {
    if (method === "GET") return this.#read(path);
    if (method !== "POST") return { status: 405, body: { error: "GET and POST only" } };
    const earlier = key === undefined ? undefined : this.#answered.get(key);
    if (earlier !== undefined) {
      this.#repeated += 1;
      return earlier;
    }
    const reply = this.#write(path, body);
    if (key !== undefined && reply.status < 300) this.#answered.set(key, reply);
    return reply;
  }

  #read([collection, name, part]: readonly string[]): Reply {
    if (collection === "deployments" && name === undefined) {
      return { status: 200, body: { deployments: [...this.#deployments].reverse() } };
    }
    const service = collection === "services" ? this.#services.get(name ?? "") : undefined;
    if (service === undefined) return { status: 404, body: { error: "no such service" } };
    if (part === "changes") return this.#changes(service);
    const { state, version, errorsPerMinute } = service;
    return { status: 200, body: { name: service.name, state, version, errorsPerMinute } };
  }

  // Cold once: the first reader is asked to come back, as a real service behind a cache would ask.
  #changes(service: Service): Reply {
    if (!this.#warm) {
      this.#warm = true;
      const headers = { "retry-after": String(RETRY_AFTER_SECONDS) };
      return { status: 503, body: { error: "the change log is loading" }, headers };
    }
    return { status: 200, body: { changes: service.changes } };
  }

  #write([collection, name, part]: readonly string[], body: Record<string, unknown>): Reply {
    const time = new Date(this.#clock.now()).toISOString();
    if (collection === "tickets" && name === undefined) {
      this.#tickets += 1;
      return { status: 201, body: { ticketId: `OPS-${this.#tickets}`, service: body["service"], time } };
    }
    if (collection === "deployments" && name === undefined) {
      const deployment = { id: `dep-${this.#deployments.length + 1}`, service: String(body["service"]) };
      this.#deployments.push({ ...deployment, version: String(body["version"]), time });
      return { status: 201, body: { deploymentId: deployment.id, time } };
    }
    const service = collection === "services" && part === "restart" ? this.#services.get(name ?? "") : undefined;
    if (service === undefined) return { status: 404, body: { error: "no such service" } };
    this.#restarts += 1;
    service.state = "healthy";
    service.errorsPerMinute = 0;
    service.changes.unshift({ time, what: `restart (${String(body["reason"] ?? "no reason given")})` });
    return { status: 200, body: { restartId: `restart-${this.#restarts}`, time } };
  }
}

async function runAlone(): Promise<void> {
  const { values } = parseArgs({
    options: { port: { type: "string", default: "7999" }, token: { type: "string", default: "" } },
  });
  if (values.token === "") {
    process.stderr.write("status service: --token is required: every request has to carry it as a bearer token\n");
    process.exitCode = 2;
    return;
  }
  const service = await startStatusService(values.token, Number(values.port), systemClock());
  process.stdout.write(`status service ready ${service.url} (Ctrl-C ends it)\n`);
  const stop = () => void service.close();
  process.once("SIGINT", stop);
  process.once("SIGTERM", stop);
}

if (resolve(process.argv[1] ?? "") === fileURLToPath(import.meta.url)) await runAlone();
