// One listening port with TLS 1.3: HTTP/2 and HTTP/1.1 by ALPN. Client certificates are asked for when there is a CA to check them by.
// Owned by listeners.ts, in the place of port.ts. Lets a bad certificate through the handshake: the gate refuses its calls, and records that.
// Without session tickets: every connection proves itself, also one of a peer that was here before.
//
// Port: new → listening → draining (stopAccepting) → closed (destroy).

import { constants } from "node:crypto";
import { createSecureServer, type Http2SecureServer, type ServerHttp2Session } from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import type { SecureContextOptions } from "node:tls";
import { DomainError, messageOf } from "../../kit/errors.ts";
import type { ListeningPort, PortOptions } from "./port.ts";
import { guardSession } from "./session_guard.ts";

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
  readonly #options: TlsPortOptions;
  readonly #server: Http2SecureServer;
  readonly #sockets = new Set<Socket>();
  readonly #sessions = new Set<ServerHttp2Session>();
  #onIdle: (() => void)[] = [];

  constructor(options: TlsPortOptions) {
    this.#options = options;
    const { limits, handler, log, name } = options;
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
        maxHeaderListPairs: limits.headerFieldsMax,
        streamResetBurst: limits.streamResetBurst,
        streamResetRate: limits.streamResetRate,
        settings: {
          maxConcurrentStreams: limits.streamsMax,
          maxHeaderListSize: limits.headerBytesMax,
          enableConnectProtocol: false,
        },
      },
      handler,
    );
    const server = this.#server;
    Object.assign(server, { headersTimeout: limits.handshakeMs, requestTimeout: limits.requestMs });
    Object.assign(server, { maxHeadersCount: limits.headerFieldsMax });
    server.maxConnections = limits.connectionsMax;
    server.on("drop", () => log.warn("rpc.connection_refused", { listener: name, why: "too many" }));
    server.on("connection", (socket: Socket) => this.#track(socket));
    server.on("session", (session) => this.#guard(session));
    server.on("sessionError", () => undefined);
    server.on("tlsClientError", (error, socket) => {
      const address = socket.remoteAddress ?? "";
      if (!isGoneAway(error)) options.onHandshakeFailure(address, messageOf(error));
      socket.destroy();
    });
  }

  /** Listens. @param port 0 for any free one. @returns the real port. @throws CONFIG_INVALID if the address cannot be had. */
  listen(host: string, port: number): Promise<number> {
    const { name, log } = this.#options;
    return new Promise((resolve, reject) => {
      const onError = (error: NodeJS.ErrnoException) => {
        const why =
          error.code === "EADDRINUSE" ? "it is in use: stop what holds it or choose another port" : error.message;
        const message = `the ${name} listener cannot have ${host}:${port}: ${why}`;
        reject(new DomainError("CONFIG_INVALID", message, { listener: name }, error));
      };
      this.#server.once("error", onError);
      this.#server.listen(port, host, () => {
        this.#server.off("error", onError);
        this.#server.on("error", (error) => log.error("rpc.listener", { error }));
        resolve((this.#server.address() as AddressInfo).port);
      });
    });
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
    if (this.#server.listening) this.#server.close();
    for (const session of this.#sessions) session.close();
  }

  idle(): Promise<void> {
    if (this.#sockets.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  async destroy(): Promise<void> {
    this.stopAccepting();
    for (const session of this.#sessions) session.destroy();
    for (const socket of this.#sockets) socket.destroy();
    await this.idle();
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    socket.once("close", () => {
      this.#sockets.delete(socket);
      if (this.#sockets.size === 0) for (const resolve of this.#onIdle.splice(0)) resolve();
    });
  }

  #guard(session: ServerHttp2Session): void {
    this.#sessions.add(session);
    session.once("close", () => this.#sessions.delete(session));
    const { clock, limits, log, name } = this.#options;
    guardSession(session, clock, limits, (why) => log.info("rpc.connection_ended", { listener: name, why }));
  }
}

function secureContext({ cert, key, clientCa }: TlsMaterial): SecureContextOptions {
  return { cert, key, ciphers: STRONG, ...(clientCa !== undefined && { ca: clientCa }) };
}

// A peer that only looks whether somebody listens, as health checks of balancers do, is no attempt at anything.
function isGoneAway(error: Error): boolean {
  return "code" in error && (error.code === "ECONNRESET" || error.code === "EPIPE");
}
