// The limits of every listener, with their defaults: nothing on the network side is unbounded.
// Read by port.ts, session_guard.ts, rpc_handler.ts and listeners.ts; main may override single values.
// Never read from the environment here: config.ts does that.

import { DomainError } from "../../kit/errors.ts";
import { KIB, MIB, MINUTE, SECOND } from "../../kit/units.ts";

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
  /** Concurrent HTTP/2 streams a connection. */
  readonly streamsMax: number;
  /** Bytes of all headers of a request. */
  readonly headerBytesMax: number;
  /** Header fields of a request. */
  readonly headerFieldsMax: number;
  /** Streams that a peer may reset at once, and a second after that; more ends its connection. */
  readonly streamResetBurst: number;
  readonly streamResetRate: number;
  /** Time to send enough bytes to tell HTTP/2 from HTTP/1.1, in ms. */
  readonly firstBytesMs: number;
  /** Time to send the HTTP/2 settings, or the headers of an HTTP/1.1 request, in ms. */
  readonly handshakeMs: number;
  /** Time to send a whole HTTP/1.1 request, in ms. */
  readonly requestMs: number;
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
  connectionsMax: 1_000,
  streamsMax: 100,
  headerBytesMax: 16 * KIB,
  headerFieldsMax: 100,
  streamResetBurst: 200,
  streamResetRate: 33,
  firstBytesMs: 5 * SECOND,
  handshakeMs: 5 * SECOND,
  requestMs: MINUTE,
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
