// An HTTP server that counts effects: the ground truth for "called once", "never called" and "both at the same time".
//
//   const sink = await startCountingServer();
//   sink.hold("/slow", 2);                       // requests to /slow wait until two are in flight, then all are answered
//   … tools call sink.url + "/slow" …
//   sink.count("/slow"); sink.calls("/slow")[0].idempotencyKey; sink.inFlightMax("/slow");
//
// Answers 200 {"ok":true,"path":…,"count":…} unless respond() says otherwise. Closed at the end of the test file.

import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { atEndOfFile } from "./cleanup.ts";

/** One request that arrived. */
export interface Call {
  readonly method: string;
  /** Path without query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  readonly idempotencyKey: string | undefined;
  readonly body: string;
  /** The client went away before it was answered. */
  aborted: boolean;
}

/** An answer; what is missing is as the file header says. */
export interface Answer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** See the file header. Paths match exactly. */
export interface CountingServer {
  readonly url: string;
  readonly port: number;
  /** Requests that arrived, in order; all paths without an argument. */
  calls(path?: string): readonly Call[];
  count(path?: string): number;
  /** Requests by idempotency key. */
  countsByKey(path: string): ReadonlyMap<string, number>;
  /** Most requests that were in flight at once. */
  inFlightMax(path: string): number;
  /** Resolves when n requests to the path have arrived; rejects after timeoutMs (20 s). */
  waitForCount(path: string, n: number, timeoutMs?: number): Promise<void>;
  /** Resolves when a request to the path was given up by its client. */
  waitForAbort(path: string, timeoutMs?: number): Promise<Call>;
  /** Holds requests to the path until n of them are in flight (Infinity: until release). */
  hold(path: string, n?: number): void;
  /** Answers what is held and ends the hold. */
  release(path: string): void;
  /** Answers of a path from now on; called with the call and its number on that path, from 1. */
  respond(path: string, answer: (call: Call, number: number) => Answer): void;
  close(): Promise<void>;
}

interface PathState {
  inFlight: number;
  inFlightMax: number;
  barrier: number;
  waiting: (() => void)[];
  answer: ((call: Call, number: number) => Answer) | undefined;
}

const WAIT_MS = 20_000;

/** Starts one on a free port of 127.0.0.1. */
export async function startCountingServer(): Promise<CountingServer> {
  const all: Call[] = [];
  const paths = new Map<string, PathState>();
  const watchers = new Set<() => void>();
  const tell = () => {
    for (const watcher of [...watchers]) watcher();
  };
  const stateOf = (path: string): PathState => {
    const state = paths.get(path) ?? { inFlight: 0, inFlightMax: 0, barrier: 0, waiting: [], answer: undefined };
    paths.set(path, state);
    return state;
  };
  const free = (state: PathState) => {
    for (const go of state.waiting.splice(0)) go();
  };
  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const url = new URL(request.url ?? "/", "http://sink");
    const state = stateOf(url.pathname);
    const key = request.headers["idempotency-key"];
    const call: Call = {
      method: request.method ?? "",
      path: url.pathname,
      query: url.searchParams,
      headers: request.headers,
      idempotencyKey: Array.isArray(key) ? key[0] : key,
      body: await bodyOf(request),
      aborted: false,
    };
    all.push(call);
    const number = all.filter((other) => other.path === call.path).length;
    state.inFlight += 1;
    state.inFlightMax = Math.max(state.inFlightMax, state.inFlight);
    response.once("close", () => {
      state.inFlight -= 1;
      call.aborted = !response.writableFinished;
      tell();
    });
    tell();
    if (state.barrier > 0) {
      const freed = new Promise<void>((resolve) => state.waiting.push(resolve));
      if (state.inFlight >= state.barrier) free(state);
      await freed;
    }
    const answer = state.answer?.(call, number) ?? {};
    response.writeHead(answer.status ?? 200, { "content-type": "application/json", ...answer.headers });
    response.end(answer.body ?? JSON.stringify({ ok: true, path: call.path, count: number }));
  };
  const server = createServer((request, response) => {
    serve(request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const until = <Found>(look: () => Found | undefined, what: string, timeoutMs: number) =>
    new Promise<Found>((resolve, reject) => {
      const check = () => {
        const found = look();
        if (found === undefined) return;
        clearTimeout(timer);
        watchers.delete(check);
        resolve(found);
      };
      const timer = setTimeout(() => {
        watchers.delete(check);
        reject(
          new Error(`${what} did not happen within ${timeoutMs} ms; calls: ${all.map((call) => call.path).join(" ")}`),
        );
      }, timeoutMs);
      watchers.add(check);
      check();
    });
  const calls = (path?: string) => (path === undefined ? all : all.filter((call) => call.path === path));
  const close = async () => {
    for (const state of paths.values()) free(state);
    server.closeAllConnections();
    if (server.listening) await new Promise((resolve) => server.close(resolve));
  };
  atEndOfFile(close);
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    calls,
    count: (path) => calls(path).length,
    countsByKey: (path) => {
      const counts = new Map<string, number>();
      for (const { idempotencyKey = "" } of calls(path))
        counts.set(idempotencyKey, (counts.get(idempotencyKey) ?? 0) + 1);
      return counts;
    },
    inFlightMax: (path) => stateOf(path).inFlightMax,
    waitForCount: async (path, n, timeoutMs = WAIT_MS) => {
      await until(() => (calls(path).length >= n ? true : undefined), `request ${n} to ${path}`, timeoutMs);
    },
    waitForAbort: (path, timeoutMs = WAIT_MS) =>
      until(() => calls(path).find((call) => call.aborted), `a given-up request to ${path}`, timeoutMs),
    hold: (path, n = Number.POSITIVE_INFINITY) => {
      stateOf(path).barrier = n;
    },
    release: (path) => {
      const state = stateOf(path);
      state.barrier = 0;
      free(state);
    },
    respond: (path, answer) => {
      stateOf(path).answer = answer;
    },
    close,
  };
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}
