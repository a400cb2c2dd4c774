// One listening port with TLS 1.3: HTTP/2 and, if asked for, HTTP/1.1 by ALPN. Client certificates are asked for when there is a CA to check them by.
// Owned by listeners.ts, in the place of port.ts. Where certificates are a must, a peer without a good one is sent away before a byte of HTTP;
// where they are one proof of several, a bad one passes the handshake: the gate refuses its calls, and records that.
// Without session tickets: every connection proves itself, also one of a peer that was here before.
//
// Port: new → listening → draining (stopAccepting) → closed (destroy).

import { constants } from "node:crypto";
import { createSecureServer, type Http2SecureServer } from "node:http2";
import type { Socket } from "node:net";
import type { SecureContextOptions, TLSSocket } from "node:tls";
import { messageOf } from "../../kit/errors.ts";
import { Connections, http2Limits } from "./connections.ts";
import { answerAll, skipReset } from "./node_call.ts";
import type { ListeningPort, PortOptions } from "./port.ts";

/** Keys of 112 bits of security and more, in certificates too: no RSA below 2,048 bits, no SHA-1. */
const STRONG = "DEFAULT:@SECLEVEL=2";

/** Certificates and key, PEM. */
export interface TlsMaterial {
  readonly cert: string;
  readonly key: string;
  /** Whose client certificates are taken; absent: none is asked for. */
  readonly clientCa?: string;
  /** Revocation lists of those CAs, PEM; absent: nothing is revoked. Decided by the gate, on open streams too. */
  readonly crl?: string;
}

/** What a port with TLS needs. */
export interface TlsPortOptions extends PortOptions {
  readonly tls: TlsMaterial;
  /** Nobody gets in without a certificate that TLS finds good. */
  readonly mutual: boolean;
}

/** See the file header. */
export class TlsPort implements ListeningPort {
  readonly #server: Http2SecureServer;
  readonly #connections: Connections;

  constructor(options: TlsPortOptions) {
    const { limits, handler, protocols, mutual, tls } = options;
    // Options of the HTTP/1.1 side, which the types of this server do not know.
    const http1 = { maxHeaderSize: limits.headerBytesMax, connectionsCheckingInterval: limits.slowCheckMs };
    this.#server = createSecureServer(
      {
        ...secureContext(tls),
        ...http1,
        allowHTTP1: protocols.includes("http1"),
        minVersion: "TLSv1.3",
        requestCert: mutual || tls.clientCa !== undefined,
        rejectUnauthorized: false,
        secureOptions: constants.SSL_OP_NO_TICKET,
        handshakeTimeout: limits.handshakeMs,
        ...http2Limits(limits),
      },
      handler,
    );
    const server = answerAll(skipReset(this.#server), handler);
    Object.assign(server, { headersTimeout: limits.handshakeMs, requestTimeout: limits.requestMs });
    Object.assign(server, { maxHeadersCount: limits.headerFieldsMax });
    this.#connections = new Connections(server, options);
    const handshakes = server.listeners("connection") as ((socket: Socket) => void)[];
    server.removeAllListeners("connection");
    server.on("connection", (socket: Socket) =>
      this.#connections.admit(socket, () => {
        for (const shake of handshakes) shake.call(server, socket);
      }),
    );
    server.on("session", (session) => this.#connections.guard(session));
    server.on("sessionError", () => undefined);
    server.on("tlsClientError", (error, socket) => {
      const address = socket.remoteAddress ?? "";
      if (!isGoneAway(error)) options.onOffence(address, `TLS_HANDSHAKE: ${codeOf(error)}`, messageOf(error));
      socket.destroy();
    });
    const serving = server.listeners("secureConnection") as ((socket: TLSSocket) => void)[];
    server.removeAllListeners("secureConnection");
    server.on("secureConnection", (socket: TLSSocket) => {
      if (mutual && !isLetIn(socket, options)) return;
      if (socket.alpnProtocol === "h2" && !this.#connections.takesCalls(socket)) return;
      for (const serve of serving) serve.call(server, socket);
    });
  }

  listen(host: string, port: number): Promise<number> {
    return this.#connections.listen(host, port);
  }

  /** New connections get other certificates. */
  replace(tls: TlsMaterial): void {
    this.#server.setSecureContext({
      ...secureContext(tls),
      minVersion: "TLSv1.3",
      secureOptions: constants.SSL_OP_NO_TICKET,
    });
  }

  stopAccepting(): void {
    this.#connections.stopAccepting();
  }

  idle(): Promise<void> {
    return this.#connections.idle();
  }

  destroy(): Promise<void> {
    return this.#connections.destroy();
  }
}

/** What TLS is set up with: the files, and keys that are strong enough. */
export function secureContext({ cert, key, clientCa }: TlsMaterial): SecureContextOptions {
  return { cert, key, ciphers: STRONG, ...(clientCa !== undefined && { ca: clientCa }) };
}

// Not by Node's own rejectUnauthorized: that tells neither of which peer nor why.
function isLetIn(socket: TLSSocket, { onOffence }: TlsPortOptions): boolean {
  if (socket.authorized) return true;
  const isThere = socket.getPeerX509Certificate() !== undefined;
  const code = isThere ? String(socket.authorizationError) : "NO_CERTIFICATE";
  onOffence(socket.remoteAddress ?? "", `TLS_HANDSHAKE: ${code}`, "the peer's certificate is missing or not good");
  socket.destroy();
  return false;
}

function codeOf(error: Error): string {
  return "code" in error && typeof error.code === "string" ? error.code : "UNKNOWN";
}

// A peer that only looks whether somebody listens, as health checks of balancers do, is no attempt at anything.
function isGoneAway(error: Error): boolean {
  return "code" in error && (error.code === "ECONNRESET" || error.code === "EPIPE");
}
