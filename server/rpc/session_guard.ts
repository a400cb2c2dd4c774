// Watches over one HTTP/2 connection: settings in time, a ping every 10 s that must be answered within 5 s, no flood of PING or SETTINGS
// frames or of resets; one without calls, or one that is old, is closed politely.
// Called by connections.ts for every session; Node's HTTP/2 server does none of it by itself, and a black-holed peer stays unseen for
// over 40 s even while writing.
//
// greeting (settings) → kept → [idle: GOAWAY, closed] → [old: GOAWAY, worker streams told to move] → destroyed after the grace

import {
  constants,
  type Http2Session,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { Clock } from "../../kit/clock.ts";
import { type Rate, TokenBucket } from "../../kit/token_bucket.ts";
import { type RpcLimits, rateOf } from "./limits.ts";

const FLOODS = {
  PING_FLOOD: "too many PING frames",
  SETTINGS_FLOOD: "too many SETTINGS frames",
  RESET_FLOOD: "too many streams that were reset",
  HEADER_FLOOD: "headers larger than the settings allow, which were not acknowledged",
} as const;

/** Why a connection ended: told to the log, and as a security event when the peer did what nobody does by mistake. */
export interface SessionOffence {
  readonly why: string;
  /** Of the security event; absent: none. */
  readonly reason?: keyof typeof FLOODS;
}

/** What a guard needs. */
export interface GuardOptions {
  readonly clock: Clock;
  readonly limits: RpcLimits;
  /** 0 to 1: which part of the spread of ages is this session's. */
  readonly spread: number;
  /** Told before the guard ends the session. */
  readonly onEnd: (offence: SessionOffence) => void;
}

/** What HTTP/2 counts for a header field beside its bytes. */
const FIELD_BYTES = 32;

const aging = new WeakMap<Http2Session, AbortController>();

/** Aborts when the connection has become old, and its streams should go on elsewhere; never for one that is not guarded. */
export function oldAge(session: Http2Session | undefined): AbortSignal | undefined {
  return session === undefined ? undefined : aging.get(session)?.signal;
}

/** Guards a session until it closes. */
export function guardSession(session: ServerHttp2Session, options: GuardOptions): void {
  const { clock, limits } = options;
  const began = clock.monotonic();
  const oldMs = limits.ageMs * (0.9 + 0.2 * options.spread);
  const old = new AbortController();
  aging.set(session, old);
  const use = new Use(clock);
  let cancel: () => void = () => undefined;
  let isEnded = false;
  const end = (offence: SessionOffence) => {
    if (isEnded) return;
    isEnded = true;
    cancel();
    options.onEnd(offence);
    // Node may have been first; what it was ended for is told all the same.
    if (session.destroyed) return;
    if (offence.reason !== undefined) session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    session.destroy();
  };
  cancel = clock.after(limits.handshakeMs, () => end({ why: "no HTTP/2 settings in time" }));
  const pingLater = () => {
    cancel = clock.after(limits.pingIntervalMs, ping);
  };
  const ping = () => {
    if (session.destroyed) return;
    const ageMs = clock.monotonic() - began;
    if (ageMs >= oldMs + limits.ageGraceMs) return end({ why: "the connection is old" });
    if (ageMs >= oldMs && !old.signal.aborted) {
      session.close();
      old.abort();
    } else if (use.idleMs() >= limits.idleMs) session.close();
    if (session.destroyed) return;
    // After its GOAWAY a session of Node sends no pings: from then on it is time alone that ends it.
    if (session.closed) return pingLater();
    cancel = clock.after(limits.pingTimeoutMs, () => end({ why: "a ping was not answered" }));
    session.ping((error) => {
      cancel();
      if (!session.destroyed && (error === null || session.closed)) pingLater();
    });
  };
  session.once("remoteSettings", () => {
    cancel();
    pingLater();
  });
  session.once("close", () => cancel());
  const offend = (reason: keyof typeof FLOODS) => end({ why: FLOODS[reason], reason });
  const bounded = (reason: keyof typeof FLOODS, rate: Rate) => {
    const bucket = new TokenBucket(rate, clock.monotonic());
    return () => {
      if (!bucket.take(clock.monotonic())) offend(reason);
    };
  };
  session.on("ping", bounded("PING_FLOOD", rateOf(limits, "ping")));
  session.on("remoteSettings", bounded("SETTINGS_FLOOD", rateOf(limits, "settings")));
  const onReset = bounded("RESET_FLOOD", rateOf(limits, "streamReset"));
  // Before the server's own listener, which makes a request of it.
  session.prependListener("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    if (isEnded) return;
    // Node itself holds its peer to the settings once they are acknowledged, and refuses such streams alone. Who does not acknowledge them?
    if (session.pendingSettingsAck && bytesOf(headers) > limits.headerBytesMax) return offend("HEADER_FLOOD");
    let isCounted = false;
    const count = () => {
      if (isCounted || !wasReset(stream.rstCode, session.destroyed)) return;
      isCounted = true;
      onReset();
    };
    // Reset in the same read that opened it.
    if (stream.closed || stream.destroyed) return count();
    use.began();
    // Told in the middle of a read; its close is told after it, and thousands of streams fit into one.
    stream.once("aborted", count);
    stream.once("close", () => {
      use.ended();
      count();
    });
  });
}

// As HTTP/2 counts them (RFC 9113, 6.5.2).
function bytesOf(headers: IncomingHttpHeaders): number {
  let bytes = 0;
  for (const [name, value = ""] of Object.entries(headers)) {
    const values = typeof value === "string" ? [value] : value;
    for (const one of values) bytes += name.length + one.length + FIELD_BYTES;
  }
  return bytes;
}

// Not what was refused here, nor what ended together with its session.
function wasReset(code: number, isOver: boolean): boolean {
  if (isOver) return code === constants.NGHTTP2_CANCEL;
  return code !== constants.NGHTTP2_NO_ERROR && code !== constants.NGHTTP2_REFUSED_STREAM;
}

// How long a session has had no stream.
class Use {
  readonly #clock: Clock;
  #open = 0;
  #sinceMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#sinceMs = clock.monotonic();
  }

  began(): void {
    this.#open += 1;
  }

  ended(): void {
    this.#open -= 1;
    this.#sinceMs = this.#clock.monotonic();
  }

  idleMs(): number {
    return this.#open > 0 ? 0 : this.#clock.monotonic() - this.#sinceMs;
  }
}
