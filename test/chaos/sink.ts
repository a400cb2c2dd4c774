// The world outside: an HTTP service that tools call, and that counts what reached it. It is the ground truth: what the control
// plane says of itself is held against it. Runs in the harness, which is never killed.
// Paths: /honour keeps its effects by Idempotency-Key; /once honours no key; /read has no effect; /denied must never be called.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What became of one operation, named by its caller in `op`. */
export interface Operation {
  readonly path: string;
  /** Requests that arrived. */
  arrivals: number;
  /** Effects that they had: at /honour one a key, at /once one a request. */
  effects: number;
  /** Receipts of the effects, in order. */
  readonly receipts: string[];
}

/** See the file header. */
export class Sink {
  readonly operations = new Map<string, Operation>();
  /** Share of requests to /honour that are answered with 503 before they have an effect. */
  failShare = 0;
  deniedCalls = 0;
  readonly #server: Server;
  readonly #receiptByKey = new Map<string, string>();
  readonly #inFlight = new Map<string, number>();
  readonly #random: () => number;

  constructor(random: () => number) {
    this.#random = random;
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch(() => response.destroy());
    });
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Request ids of calls that arrived and are not answered yet. */
  inFlight(): ReadonlySet<string> {
    return new Set(this.#inFlight.keys());
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = JSON.parse((await bodyOf(request)) || "{}") as { op?: string; delayMs?: number };
    const path = new URL(request.url ?? "/", "http://sink").pathname;
    const key = String(request.headers["idempotency-key"] ?? "");
    if (path === "/denied") this.deniedCalls += 1;
    if (path === "/honour" && this.#random() < this.failShare) {
      response.writeHead(503, { "content-type": "application/json", "retry-after": "0" }).end("{}");
      return;
    }
    const receipt = this.#effect(path, body.op ?? "", key);
    this.#inFlight.set(key, (this.#inFlight.get(key) ?? 0) + 1);
    response.once("close", () => {
      const left = (this.#inFlight.get(key) ?? 1) - 1;
      if (left === 0) this.#inFlight.delete(key);
      else this.#inFlight.set(key, left);
    });
    if (body.delayMs !== undefined) await new Promise((resolve) => setTimeout(resolve, body.delayMs));
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ receipt }));
  }

  #effect(path: string, op: string, key: string): string {
    const operation = this.operations.get(op) ?? { path, arrivals: 0, effects: 0, receipts: [] };
    this.operations.set(op, operation);
    operation.arrivals += 1;
    const known = path === "/honour" ? this.#receiptByKey.get(key) : undefined;
    if (known !== undefined) return known;
    if (path !== "/read") operation.effects += 1;
    const receipt = `${op}#${operation.effects}`;
    operation.receipts.push(receipt);
    if (path === "/honour") this.#receiptByKey.set(key, receipt);
    return receipt;
  }
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}
