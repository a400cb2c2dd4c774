// The limits of every listener, with their defaults: nothing on the network side is unbounded.
// Read by port.ts, connections.ts, flood_gate.ts, session_guard.ts, calls.ts, rpc_handler.ts and listeners.ts; main may override single values. docs/limits.md is their table.
// Never read from the environment here: config_file.ts reads what an operator may set.

import { DomainError } from "../../kit/errors.ts";
import type { Rate } from "../../kit/token_bucket.ts";
import { HOUR, KIB, MIB, MINUTE, SECOND } from "../../kit/units.ts";

/** Limits of the listeners. */
export interface RpcLimits {
  /** Largest message taken, after decompression, in bytes. */
  readonly readBytesMax: number;
  /** Largest message sent on the API listener, in bytes. */
  readonly apiWriteBytesMax: number;
  /** Largest message sent on the worker listener, in bytes; gRPC clients refuse more than 4 MiB by default. */
  readonly workerWriteBytesMax: number;
  /** Connections at a time and listener; further ones are closed at once. */
  readonly connectionsMax: number;
  /** Of them of one peer (an IPv4 address, an IPv6 /64). */
  readonly connectionsPerPeerMax: number;
  /** Calls at a time and listener, streams included; further ones are refused before they are read. */
  readonly callsMax: number;
  /** Of them of one peer. */
  readonly callsPerPeerMax: number;
  /** Calls of one caller, at once and a second after that, where callRates says nothing else. */
  readonly callBurst: number;
  readonly callRate: number;
  /** Concurrent HTTP/2 streams a connection. */
  readonly streamsMax: number;
  /** Bytes of all headers of a request. */
  readonly headerBytesMax: number;
  /** Header fields of a request. */
  readonly headerFieldsMax: number;
  /** Streams that a peer may reset at once, and a second after that; more ends its connection. */
  readonly streamResetBurst: number;
  readonly streamResetRate: number;
  /** PING frames that a peer may send at once, and a second after that; more ends its connection. */
  readonly pingBurst: number;
  readonly pingRate: number;
  /** SETTINGS frames, likewise. */
  readonly settingsBurst: number;
  readonly settingsRate: number;
  /** New connections that a peer which has just flooded may have at once, and a second after that; what is over waits. */
  readonly flooderConnectionBurst: number;
  readonly flooderConnectionRate: number;
  /** How long after a flood that goes on, in ms. */
  readonly flooderMs: number;
  /** Longest that such a connection waits, in ms; what would wait longer is closed. */
  readonly flooderWaitMs: number;
  /** Frames out of place, and streams beyond streamsMax, that end an HTTP/2 connection. */
  readonly strayFramesMax: number;
  /** Messages that a caller may write into one stream at once, and a second after that; what is over waits. */
  readonly messageBurst: number;
  readonly messageRate: number;
  /** Time to send enough bytes to tell HTTP/2 from HTTP/1.1, in ms. */
  readonly firstBytesMs: number;
  /** Time to send the HTTP/2 settings, or the headers of an HTTP/1.1 request, in ms. */
  readonly handshakeMs: number;
  /** How often slow requests, unread answers and sessions that are over are looked for, in ms. */
  readonly slowCheckMs: number;
  /** Time to send a whole request, in ms; streams that callers write to have no end. */
  readonly requestMs: number;
  /** Time that the caller may leave an answer, or a part of one, unread, in ms. */
  readonly answerMs: number;
  /** Time after which an HTTP/2 connection without a call is closed politely, in ms; it is looked at once a ping. */
  readonly idleMs: number;
  /** Age at which an HTTP/2 connection is closed politely, in ms, a tenth more or less; and the time that its calls then have. */
  readonly ageMs: number;
  readonly ageGraceMs: number;
  /** Time between HTTP/2 pings, in ms. */
  readonly pingIntervalMs: number;
  /** Time to answer a ping before the connection is destroyed, in ms. */
  readonly pingTimeoutMs: number;
  /** Time that a worker may leave a frame unread before its stream is reset, in ms; well below the lease ttl. */
  readonly unreadMs: number;
  /** At stop: time that calls and worker streams have to end by themselves, in ms. */
  readonly drainMs: number;
  /** At stop: time between aborting what is left and destroying its connections, in ms. */
  readonly closeMs: number;
}

/** Defaults of the limits. */
export const RPC_LIMITS: RpcLimits = Object.freeze({
  readBytesMax: 4 * MIB,
  apiWriteBytesMax: 32 * MIB,
  workerWriteBytesMax: 4 * MIB,
  connectionsMax: 2_000,
  connectionsPerPeerMax: 1_000,
  callsMax: 2_000,
  callsPerPeerMax: 500,
  callBurst: 10_000,
  callRate: 2_000,
  streamsMax: 100,
  headerBytesMax: 16 * KIB,
  headerFieldsMax: 100,
  streamResetBurst: 200,
  streamResetRate: 33,
  pingBurst: 1_000,
  pingRate: 500,
  settingsBurst: 100,
  settingsRate: 10,
  flooderConnectionBurst: 5,
  flooderConnectionRate: 10,
  flooderMs: 10 * SECOND,
  flooderWaitMs: 2 * SECOND,
  strayFramesMax: 100,
  messageBurst: 10_000,
  messageRate: 5_000,
  firstBytesMs: 5 * SECOND,
  handshakeMs: 5 * SECOND,
  slowCheckMs: 1 * SECOND,
  requestMs: MINUTE,
  answerMs: MINUTE,
  idleMs: 5 * MINUTE,
  ageMs: HOUR,
  ageGraceMs: 5 * MINUTE,
  pingIntervalMs: 10 * SECOND,
  pingTimeoutMs: 5 * SECOND,
  unreadMs: 15 * SECOND,
  drainMs: 10 * SECOND,
  closeMs: 2 * SECOND,
});

/**
 * The defaults with overrides.
 *
 * @throws DomainError CONFIG_INVALID for a value that is not a positive whole number.
 */
export function rpcLimits(overrides: Partial<RpcLimits> = {}): RpcLimits {
  const limits = { ...RPC_LIMITS, ...overrides };
  for (const [name, value] of Object.entries(limits)) {
    if (Number.isSafeInteger(value) && value > 0) continue;
    throw new DomainError("CONFIG_INVALID", `limit ${name} is ${value}: set a whole number above 0`, { limit: name });
  }
  return limits;
}

/** The limits of a kind as a rate. */
export function rateOf(
  limits: RpcLimits,
  kind: "call" | "ping" | "settings" | "streamReset" | "flooderConnection" | "message",
): Rate {
  return { atOnce: limits[`${kind}Burst`], perSecond: limits[`${kind}Rate`] };
}
