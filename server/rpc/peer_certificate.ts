// Reads the certificate of a TLS connection, once a connection.
// Called by rpc_handler.ts for every request.

import type { TLSSocket } from "node:tls";
import type { PeerCertificate } from "../identity/client_certificate.ts";

const read = new WeakMap<object, PeerCertificate | "none">();

/** What the peer of a socket proved; undefined without TLS or without a certificate. */
export function certificateOf(socket: object | undefined): PeerCertificate | undefined {
  // Read, not asked for with `in`: an HTTP/2 session's stand-in for the socket answers that for the session.
  if (socket === undefined || (socket as Partial<TLSSocket>).encrypted !== true) return undefined;
  let found = read.get(socket);
  if (found === undefined) {
    const { authorized } = socket as TLSSocket;
    const certificate = (socket as TLSSocket).getPeerX509Certificate();
    found = certificate === undefined ? "none" : { trusted: authorized, certificate };
    read.set(socket, found);
  }
  return found === "none" ? undefined : found;
}
