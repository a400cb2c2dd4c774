// What a call carries beside its message: the authenticated principal, the peer's address, and a way to hang up.
// Set by rpc_handler.ts (address, hanging up) and authentication.ts (principal); read by the handlers.
// Never set from anything the caller says about itself.

import type { ContextValues } from "@connectrpc/connect";
import { createContextKey } from "@connectrpc/connect";
import { assert } from "../../kit/errors.ts";
import type { Principal } from "../commands/views.ts";

/** Where a connection comes from. */
export interface Peer {
  /** IP address, such as "127.0.0.1". */
  readonly address: string;
  /** Address and port. */
  readonly name: string;
}

/** The authenticated caller; undefined on open methods. */
export const principalKey = createContextKey<Principal | undefined>(undefined, { description: "principal" });
/** The other end of the connection. */
export const peerKey = createContextKey<Peer>({ address: "", name: "" }, { description: "peer" });
/** Resets the stream of the call, for a peer that does not even read an error. */
export const hangUpKey = createContextKey<() => void>(() => undefined, { description: "hang up" });

/** The caller of a method that is not open. */
export function principalOf(context: { readonly values: ContextValues }): Principal {
  const principal = context.values.get(principalKey);
  assert(principal !== undefined, "a handler ran without a principal");
  return principal;
}
