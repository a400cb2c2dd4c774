// The calls that a listener serves at a time: no more than its limits allow, and none whose caller neither sends nor reads.
// Owned by listeners.ts, one a listener; the handler of each listener enters every request here before it looks at it.
// A call that is one too many is reset as not processed (HTTP/2 REFUSED_STREAM, HTTP/1.1 503): it may be sent again as it is.
//
// Call: taking its request → answering → answered. Each second every open call is looked at: too slow in one of them is hung up.

import { constants } from "node:http2";
import type { Clock } from "../../kit/clock.ts";
import { SECOND } from "../../kit/units.ts";
import type { OnOffence } from "./connections.ts";
import type { RpcLimits } from "./limits.ts";
import { hangUp, type NodeRequest, type NodeResponse } from "./node_call.ts";
import { PeerCounts, type TooMany } from "./peer_counts.ts";

// Time that a caller has to end its side after it was answered.
const LINGER_MS = 1 * SECOND;

/** What calls need. */
export interface CallsOptions {
  readonly clock: Clock;
  readonly limits: RpcLimits;
  readonly onOffence: OnOffence;
}

interface OpenCall {
  readonly request: NodeRequest;
  readonly response: NodeResponse;
  readonly sinceMs: number;
  /** The caller may write for as long as it likes. */
  endless: boolean;
  /** Bytes that waited for the caller when it was last looked at, and since when they are the same. */
  unread: number;
  unreadSinceMs: number;
}

/** See the file header. */
export class Calls {
  readonly #options: CallsOptions;
  readonly #counts: PeerCounts;
  readonly #open = new Map<NodeRequest, OpenCall>();
  #looking = false;

  constructor(options: CallsOptions) {
    this.#options = options;
    this.#counts = new PeerCounts(options.limits.callsMax, options.limits.callsPerPeerMax);
  }

  /** Counts a request until its response is closed. False: it was one too many, and has been refused. */
  enter(request: NodeRequest, response: NodeResponse): boolean {
    const { clock, onOffence } = this.#options;
    const address = request.socket.remoteAddress ?? "";
    const tooMany = this.#counts.enter(address);
    if (tooMany !== undefined) {
      onOffence(address, "CALL_LIMIT", `too many calls ${tooMany}`);
      refuse(response);
      return false;
    }
    const sinceMs = clock.monotonic();
    this.#open.set(request, { request, response, sinceMs, endless: false, unread: 0, unreadSinceMs: sinceMs });
    const closing = "stream" in response && response.stream !== undefined ? response.stream : response;
    closing.once("close", () => {
      this.#counts.leave(address);
      this.#open.delete(request);
    });
    resetUnread(response, clock);
    this.#look();
    return true;
  }

  /** Why no call of this peer would be taken now; undefined: one would. */
  full(address: string): TooMany | undefined {
    return this.#counts.full(address);
  }

  /** The caller of this one may write for as long as it likes: a stream. */
  endless(request: NodeRequest): void {
    const call = this.#open.get(request);
    if (call !== undefined) call.endless = true;
  }

  #look(): void {
    if (this.#looking) return;
    this.#looking = true;
    const { clock, limits } = this.#options;
    clock.after(limits.slowCheckMs, () => {
      this.#looking = false;
      const nowMs = clock.monotonic();
      for (const call of this.#open.values()) if (this.#isTooSlow(call, nowMs)) hangUp(call.response);
      if (this.#open.size > 0) this.#look();
    });
  }

  #isTooSlow(call: OpenCall, nowMs: number): boolean {
    const { limits } = this.#options;
    const unread = unreadOf(call.response);
    if (unread === 0 || unread !== call.unread) {
      call.unread = unread;
      call.unreadSinceMs = nowMs;
    }
    if (unread > 0 && nowMs - call.unreadSinceMs >= limits.answerMs) return true;
    return !call.endless && !isComplete(call.request) && nowMs - call.sinceMs >= limits.requestMs;
  }
}

function isComplete(request: NodeRequest): boolean {
  return "stream" in request ? request.stream.readableEnded || request.stream.endAfterHeaders : request.complete;
}

// Bytes that the caller has not made room for; one more when the end of the answer waits for it too.
function unreadOf(response: NodeResponse): number {
  const stream = "stream" in response ? response.stream : undefined;
  if (stream === undefined)
    return response.writableLength + (response.writableEnded && !response.writableFinished ? 1 : 0);
  if (stream.destroyed) return 0;
  return stream.bufferSize + (stream.writableEnded && !stream.writableFinished ? 1 : 0);
}

function refuse(response: NodeResponse): void {
  if ("stream" in response) return void response.stream?.close(constants.NGHTTP2_REFUSED_STREAM);
  response.writeHead(503, { "content-type": "application/json", "retry-after": "1", connection: "close" });
  const message = "this server has as many calls at a time as it takes: try again in a moment";
  response.end(JSON.stringify({ code: "unavailable", message }));
}

// A stream that is answered while its caller still sends would stay half open for as long as the caller likes, and hold up a
// drain: it is reset without an error, as RFC 9113 8.1 says. Not at once: Node drops trailers that wait behind a reset.
function resetUnread(response: NodeResponse, clock: Clock): void {
  if (!("stream" in response)) return;
  const { stream } = response;
  stream?.once("finish", () => {
    if (stream.readableEnded || stream.closed) return;
    const cancel = clock.after(LINGER_MS, () => stream.close(constants.NGHTTP2_NO_ERROR));
    stream.once("close", cancel);
  });
}
