// One listening port with TLS 1.3: HTTP/2 and HTTP/1.1 by ALPN. Client certificates are asked for when there is a CA to check them by.
// Owned by listeners.ts, in the place of port.ts. Lets a bad certificate through the handshake: the gate refuses its calls, and records that.
// Without session tickets: every connection proves itself, also one of a peer that was here before.
//
// Port: new → listening → draining (stopAccepting) → closed (destroy).

import { constants } from "node:crypto";
import { createSecureServer, type Http2SecureServer } from "node:http2";
import type { Socket } from "node:net";
import type { SecureContextOptions } from "node:tls";
import { messageOf } from "../../kit/errors.ts";
import { Connections, http2Limits } from "./connections.ts";
import type { ListeningPort, PortOptions } from "./port.ts";

/** Keys of 112 bits of security and more, in certificates too: no RSA below 2,048 bits, no SHA-1. */
const STRONG = "DEFAULT:@SECLEVEL=2";

/** Certificates and key, PEM. */
export interface TlsMaterial {
  readonly cert: string;
  readonly key: string;
  /** Whose client certificates are taken; absent: none is asked for. */
  readonly clientCa?: string;
}

/** What a port with TLS needs. */
export interface TlsPortOptions extends Omit<PortOptions, "http1"> {
  readonly tls: TlsMaterial;
  /** A handshake failed; called with the address of the peer. */
  readonly onHandshakeFailure: (address: string, why: string) => void;
}

/** See the file header. */
export class TlsPort implements ListeningPort {
  readonly #server: Http2SecureServer;
  readonly #connections: Connections;

  constructor(options: TlsPortOptions) {
    const { limits, handler } = options;
    // Options of the HTTP/1.1 side, which the types of this server do not know.
    const http1 = { maxHeaderSize: limits.headerBytesMax, connectionsCheckingInterval: limits.handshakeMs };
    this.#server = createSecureServer(
      {
        ...secureContext(options.tls),
        ...http1,
        allowHTTP1: true,
        minVersion: "TLSv1.3",
        requestCert: options.tls.clientCa !== undefined,
        rejectUnauthorized: false,
        secureOptions: constants.SSL_OP_NO_TICKET,
        handshakeTimeout: limits.handshakeMs,
        ...http2Limits(limits),
      },
      handler,
    );
    const server = this.#server;
    Object.assign(server, { headersTimeout: limits.handshakeMs, requestTimeout: limits.requestMs });
    Object.assign(server, { maxHeadersCount: limits.headerFieldsMax });
    this.#connections = new Connections(server, options);
    server.on("connection", (socket: Socket) => this.#connections.track(socket));
    server.on("session", (session) => this.#connections.guard(session));
    server.on("sessionError", () => undefined);
    server.on("tlsClientError", (error, socket) => {
      const address = socket.remoteAddress ?? "";
      if (!isGoneAway(error)) options.onHandshakeFailure(address, messageOf(error));
      socket.destroy();
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

function secureContext({ cert, key, clientCa }: TlsMaterial): SecureContextOptions {
  return { cert, key, ciphers: STRONG, ...(clientCa !== undefined && { ca: clientCa }) };
}

// A peer that only looks whether somebody listens, as health checks of balancers do, is no attempt at anything.
function isGoneAway(error: Error): boolean {
  return "code" in error && (error.code === "ECONNRESET" || error.code === "EPIPE");
}
