// A fetch function whose every request goes through the check of addresses that http tools go through, and whose answers are
// bounded. Called by mcp.ts, which hands it to the MCP client library. Follows no redirect by itself.
// Keeps the failure that the last refused POST means: the library forgets what Retry-After said.

import type { Clock } from "../../kit/clock.ts";
import type { ToolRun } from "./executor.ts";
import { exchange, type Progress, statusFailure, TooLarge } from "./http_exchange.ts";
import type { Network } from "./network.ts";

/** What the requests of one call may do, and what became of them. */
export interface FetchBounds {
  readonly allowPrivateNetwork: boolean;
  /** Largest sum of all answers. */
  readonly bytesMax: number;
  /** Aborts whatever is under way. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
}

/** A fetch function, and what went wrong beneath it. */
export interface GuardedFetch {
  readonly fetch: (url: string | URL, init?: RequestInit) => Promise<Response>;
  /** What ended a request: an error of the connection, or a refusal of a POST. */
  trouble(): { readonly error?: unknown; readonly refusal?: ToolRun };
}

/** See the file header. */
export function createGuardedFetch(network: Network, bounds: FetchBounds): GuardedFetch {
  let bytes = 0;
  const trouble: { error?: unknown; refusal?: ToolRun } = {};
  return {
    trouble: () => trouble,
    async fetch(url, init = {}) {
      const request = new Request(url, { ...init, redirect: "manual", signal: null });
      const fail = (error: unknown): never => {
        // What goes wrong with the end of a session says nothing about the call.
        if (request.method !== "DELETE") trouble.error ??= error;
        throw error;
      };
      const body =
        init.body === undefined || init.body === null ? undefined : new Uint8Array(await request.arrayBuffer());
      const target = { method: request.method, url: new URL(url), headers: Object.fromEntries(request.headers), body };
      const signal = AbortSignal.any([bounds.signal, ...(init.signal ? [init.signal] : [])]);
      const progress: Progress = { sent: false };
      const send = async () => await exchange(target, bounds.allowPrivateNetwork, network, signal, progress);
      const incoming = await send().catch(fail);
      const refusal = request.method === "POST" ? statusFailure(incoming, bounds.clock) : undefined;
      if (refusal !== undefined) trouble.refusal = refusal;
      const chunks = async function* () {
        try {
          for await (const chunk of incoming as AsyncIterable<Uint8Array>) {
            bytes += chunk.length;
            if (bytes > bounds.bytesMax) fail(new TooLarge());
            yield chunk;
          }
        } finally {
          incoming.destroy();
        }
      };
      const status = incoming.statusCode ?? 500;
      const headers = Object.entries(incoming.headersDistinct).flatMap(([name, values]) =>
        (values ?? []).map((value): [string, string] => [name, value]),
      );
      const empty = status === 204 || status === 205 || status === 304;
      if (empty) incoming.resume();
      return new Response(empty ? null : ReadableStream.from(chunks()), { status, headers });
    },
  };
}
