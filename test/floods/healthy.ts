// Clients that do what is right while others attack: one for each listener, from an address of its own, and what their calls took.
// Called by campaign.ts. Each call stands alone; one that fails or takes too long is a failed one.

import { once } from "node:events";
import { get } from "node:http";
import { type ClientHttp2Session, connect } from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";
import { percentile } from "../../bench/percentile.ts";
import { messageOf } from "../../kit/errors.ts";
import type { OrlojClient } from "../../sdk/index.ts";
import { OPEN_PATH } from "./frame_attacks.ts";

const PAUSE_MS = 15;
const PATIENCE_MS = 10_000;
const PROBLEMS_MAX = 5;

/** What the calls of one client took in one stretch of time. */
export interface Pace {
  readonly calls: number;
  readonly failed: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
}

/** Listeners that have a client. */
export const CLIENTS = ["api", "worker", "ops"] as const;
export type ClientName = (typeof CLIENTS)[number];

interface Sample {
  readonly atMs: number;
  readonly ms: number;
  readonly failed: boolean;
}

/** See the file header. */
export class Healthy {
  readonly #samples: Record<ClientName, Sample[]> = { api: [], worker: [], ops: [] };
  readonly #stop = new AbortController();
  readonly #running: Promise<unknown>;
  readonly #worker: WorkerPort;
  /** What the last failed calls were told. */
  readonly problems: string[] = [];

  constructor(places: { readonly client: OrlojClient; readonly worker: string; readonly ops: string }) {
    this.#worker = new WorkerPort(places.worker);
    const calls: Record<ClientName, () => Promise<unknown>> = {
      api: () => places.client.workflows.listRuns({ pageSize: 1 }, { timeoutMs: PATIENCE_MS }),
      worker: () => this.#worker.check(),
      ops: () => fetched(`${places.ops}/readyz`),
    };
    this.#running = Promise.all(CLIENTS.map((name) => this.#call(name, calls[name])));
  }

  /** What was measured from one moment to another (performance.now()). */
  between(fromMs: number, toMs: number): Record<ClientName, Pace> {
    const pace = (name: ClientName): Pace => {
      const own = this.#samples[name].filter(({ atMs }) => atMs >= fromMs && atMs < toMs);
      const took = own.map(({ ms }) => ms);
      const tenths = (share: number) => Math.round(percentile(took, share) * 10) / 10;
      const failed = own.filter((sample) => sample.failed).length;
      return { calls: own.length, failed, p50_ms: tenths(0.5), p99_ms: tenths(0.99) };
    };
    return { api: pace("api"), worker: pace("worker"), ops: pace("ops") };
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#worker.close();
    await this.#running;
  }

  async #call(name: ClientName, call: () => Promise<unknown>): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const began = performance.now();
      const problem = await call().then(
        () => undefined,
        (error: unknown) => messageOf(error),
      );
      if (this.#stop.signal.aborted) return;
      if (problem !== undefined && this.problems.length < PROBLEMS_MAX) this.problems.push(`${name}: ${problem}`);
      this.#samples[name].push({ atMs: began, ms: performance.now() - began, failed: problem !== undefined });
      await sleep(PAUSE_MS);
    }
  }
}

// The worker port's health, over one connection as a worker has it, made again when it ends.
class WorkerPort {
  readonly #origin: string;
  #session: ClientHttp2Session | undefined;

  constructor(origin: string) {
    this.#origin = origin;
  }

  async check(): Promise<void> {
    if (this.#session === undefined || this.#session.closed || this.#session.destroyed) {
      this.#session = connect(this.#origin);
      this.#session.on("error", () => undefined);
    }
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const stream = this.#session.request(
      { ":method": "POST", ":path": OPEN_PATH, "content-type": "application/grpc", te: "trailers" },
      { signal },
    );
    stream.on("error", () => undefined);
    stream.end(Buffer.alloc(5));
    stream.resume();
    const [trailers] = (await once(stream, "trailers", { signal })) as [Record<string, unknown>];
    if (trailers["grpc-status"] !== "0") throw new Error(`health ended with ${String(trailers["grpc-status"])}`);
  }

  close(): void {
    this.#session?.destroy();
  }
}

// A connection of its own each time, as probes have.
function fetched(url: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = get(url, { agent: false, timeout: PATIENCE_MS }, (response) => {
      response.resume();
      response.once("end", () =>
        response.statusCode === 200 ? resolve() : reject(new Error(`answered ${response.statusCode}`)),
      );
    });
    request.once("timeout", () => request.destroy(new Error("no answer in time")));
    request.once("error", reject);
  });
}
