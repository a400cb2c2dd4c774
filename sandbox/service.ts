// The sandbox: a small HTTP service for the examples to work on, with real state, real answers, and real trouble.
// Started by main.ts (`orloj sandbox`) and by the demo. Every request but a webhook needs the bearer token.
// Counts its own effects, so that whoever says "nothing was deployed" can ask it. Keeps everything in memory.

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Clock } from "../kit/clock.ts";
import { messageOf } from "../kit/errors.ts";
import { KIB } from "../kit/units.ts";
import { Desk } from "./desk.ts";
import { Notices } from "./notices.ts";
import { Operations } from "./operations.ts";
import { type Asked, type Effects, noEffects, type Reply, refusal } from "./reply.ts";

const BODY_BYTES_MAX = 64 * KIB;

/** How a sandbox is reached and what it believes. */
export interface SandboxOptions {
  /** Port on 127.0.0.1; 0 takes a free one. */
  readonly port: number;
  /** Bearer token of every request but a webhook. */
  readonly token: string;
  /** Secret that webhooks are signed with: `whsec_` and base64. */
  readonly signingSecret: string;
}

/** A running sandbox. */
export interface Sandbox {
  /** Base URL without a slash at the end. */
  readonly url: string;
  effects(): Readonly<Effects>;
  close(): Promise<void>;
}

/** Starts the service on 127.0.0.1. */
export async function startSandbox(options: SandboxOptions, clock: Clock): Promise<Sandbox> {
  const parts = new Parts(options, clock);
  const server = createServer((request, response) => {
    parts
      .answer(request)
      .catch((error: unknown): Reply => refusal(400, messageOf(error)))
      .then((reply) => send(response, reply))
      .catch(() => response.destroy());
  });
  await new Promise<void>((done, failed) => {
    server.once("error", failed);
    server.listen(options.port, "127.0.0.1", done);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    effects: () => ({ ...parts.effects }),
    close: () =>
      new Promise<void>((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
}

/** The environment by which a server gives the examples this service: their secrets, by name. */
export function secretsOf(
  url: string,
  { token, signingSecret }: Pick<SandboxOptions, "token" | "signingSecret">,
): Record<string, string> {
  return {
    ORLOJ_SECRET_OPERATIONS_URL: url,
    ORLOJ_SECRET_OPERATIONS_TOKEN: token,
    ORLOJ_SECRET_OPERATIONS_SIGNING: signingSecret,
    ORLOJ_SECRET_HELP_URL: url,
    ORLOJ_SECRET_HELP_TOKEN: token,
    ORLOJ_SECRET_PAY_URL: url,
    ORLOJ_SECRET_PAY_TOKEN: token,
  };
}

/** What stands behind the routes. */
class Parts {
  readonly effects: Effects = noEffects();
  readonly #token: string;
  readonly #operations: Operations;
  readonly #desk: Desk;
  readonly #notices: Notices;
  readonly #answered = new Map<string, Reply>();

  constructor({ token, signingSecret }: SandboxOptions, clock: Clock) {
    this.#token = token;
    this.#operations = new Operations(clock, this.effects);
    this.#desk = new Desk(this.effects);
    this.#notices = new Notices(clock, signingSecret, this.effects);
  }

  async answer(request: IncomingMessage): Promise<Reply> {
    const { method = "GET", headers } = request;
    const url = new URL(request.url ?? "/", "http://localhost");
    const path = url.pathname.split("/").slice(1).map(decodeURIComponent);
    // A webhook is believed for its signature; it carries no token.
    if (method === "POST" && path[0] === "notices") return this.#notices.receive(headers, await readBytes(request));
    if (headers.authorization !== `Bearer ${this.#token}`) return refusal(401, "a bearer token is required");
    if (method !== "GET" && method !== "POST") return refusal(405, "GET and POST only");
    const body = method === "POST" ? jsonObject(await readBytes(request)) : {};
    const asked: Asked = { method, path, query: url.searchParams, body };
    const key = headers["idempotency-key"];
    return method === "POST" && typeof key === "string" ? this.#once(key, asked) : this.#route(asked);
  }

  // A key that was seen gets the answer of then: also the one that was lost on its way.
  #once(key: string, asked: Asked): Reply {
    const earlier = this.#answered.get(key);
    if (earlier !== undefined) {
      this.effects.repeated += 1;
      return earlier;
    }
    const reply = this.#route(asked);
    if (reply.status < 300) this.#answered.set(key, { status: reply.status, body: reply.body });
    return reply;
  }

  #route(asked: Asked): Reply {
    if (asked.method === "GET" && asked.path[0] === "effects") return { status: 200, body: this.effects };
    if (asked.method === "GET" && asked.path[0] === "notices") return this.#notices.list();
    return this.#operations.answer(asked) ?? this.#desk.answer(asked) ?? refusal(404, "there is nothing here");
  }
}

async function readBytes(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) throw new Error(`the body is longer than ${BODY_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function jsonObject(bytes: Buffer): Record<string, unknown> {
  const value: unknown = JSON.parse(bytes.toString("utf8") || "{}");
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new Error("the body is no JSON object");
  return value as Record<string, unknown>;
}

function send(response: ServerResponse, reply: Reply): void {
  if (reply.lost === true) {
    response.destroy();
    return;
  }
  response.writeHead(reply.status, { "content-type": "application/json", ...reply.headers });
  response.end(JSON.stringify(reply.body));
}
