// What a call carries beside its message: the peer, the authenticated principal, what it may reach, and ways to end it.
// Set by rpc_handler.ts (peer, ending) and authentication.ts (principal, plane); read by the handlers.
// Never set from anything the caller says about itself, but for the trace of its call.

import type { ContextValues } from "@connectrpc/connect";
import { createContextKey } from "@connectrpc/connect";
import { assert } from "../../kit/errors.ts";
import { traceContextIn } from "../../kit/trace.ts";
import type { UseCases } from "../commands/control_plane.ts";
import type { Principal } from "../commands/views.ts";
import type { PeerCertificate } from "../identity/client_certificate.ts";
import type { CertificateListener } from "../identity/identify.ts";

/** Where a connection comes from, and what it proved. */
export interface Peer {
  /** IP address, such as "127.0.0.1". */
  readonly address: string;
  /** Address and port. */
  readonly name: string;
  /** The listener that it came to. */
  readonly listener: CertificateListener;
  /** That listener serves this machine alone. */
  readonly loopback: boolean;
  readonly certificate?: PeerCertificate;
}

type Context = { readonly values: ContextValues };

/** The authenticated caller; undefined on open methods. */
export const principalKey = createContextKey<Principal | undefined>(undefined, { description: "principal" });
/** The use cases as far as the caller's rights for this method reach; undefined on open methods. */
export const planeKey = createContextKey<UseCases | undefined>(undefined, { description: "plane" });
/** The other end of the connection. */
export const peerKey = createContextKey<Peer>(
  { address: "", name: "", listener: "api", loopback: false },
  { description: "peer" },
);
/** Aborted, with the reason that the peer is told, when the call may not go on; a handler that waits for it ends. */
export const endedKey = createContextKey<AbortController>(new AbortController(), { description: "ended" });
/** Resets the stream of the call, for a peer that does not even read an error. */
export const hangUpKey = createContextKey<() => void>(() => undefined, { description: "hang up" });
/** Aborts when the connection of the call has become old, and a stream should go on over another one; undefined over HTTP/1.1. */
export const oldAgeKey = createContextKey<AbortSignal | undefined>(undefined, { description: "old age" });

/** The caller of a method that is not open, with the trace that it says its call is part of. */
export function principalOf(context: Context & { readonly requestHeader: Headers }): Principal {
  const principal = context.values.get(principalKey);
  assert(principal !== undefined, "a handler ran without a principal");
  const trace = traceContextIn(context.requestHeader.get("traceparent"));
  return trace === undefined ? principal : { ...principal, traceId: trace.traceId };
}

/** What the caller of a method that is not open may reach. */
export function planeOf(context: Context): UseCases {
  const plane = context.values.get(planeKey);
  assert(plane !== undefined, "a handler ran without a plane");
  return plane;
}
