// One listening port: HTTP/2 without TLS (prior knowledge) and, if asked for, HTTP/1.1, told apart by the first bytes.
// Owned by listeners.ts. Every limit of limits.ts that concerns connections is set here.
// Never reads a request: that is the handler's.
//
// Connection: peeking → HTTP/2 | HTTP/1.1 | refused. Port: new → listening → draining (stopAccepting) → closed (destroy).

import { createServer as createHttp1Server } from "node:http";
import { createServer as createHttp2Server, type Http2Server, type ServerHttp2Session } from "node:http2";
import { type AddressInfo, createServer as createNetServer, type Server, type Socket } from "node:net";
import type { Clock } from "../../kit/clock.ts";
import { DomainError } from "../../kit/errors.ts";
import type { Logger } from "../telemetry/log.ts";
import type { RpcLimits } from "./limits.ts";
import type { NodeHandler } from "./rpc_handler.ts";
import { guardSession } from "./session_guard.ts";

/** What a port needs. */
export interface PortOptions {
  /** "api", "worker" or "ops", for messages. */
  readonly name: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: RpcLimits;
  readonly handler: NodeHandler;
  /** Serve HTTP/1.1 as well. */
  readonly http1: boolean;
}

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const HTTP1_REFUSAL = "this port serves workers over HTTP/2; the API is on another port\n";

/** A port as the listeners use it, with TLS or without. */
export interface ListeningPort {
  listen(host: string, port: number): Promise<number>;
  stopAccepting(): void;
  idle(): Promise<void>;
  destroy(): Promise<void>;
}

/** See the file header. */
export class Port implements ListeningPort {
  readonly #options: PortOptions;
  readonly #server: Server;
  readonly #http2: Http2Server;
  readonly #serveHttp1: ((socket: Socket) => void) | undefined;
  readonly #sockets = new Set<Socket>();
  readonly #sessions = new Set<ServerHttp2Session>();
  #onIdle: (() => void)[] = [];

  constructor(options: PortOptions) {
    this.#options = options;
    this.#http2 = http2Server(options);
    this.#http2.on("session", (session) => this.#guard(session));
    if (options.http1) {
      // The HTTP/1.1 server owns the port, so that Node's own time limits for slow requests run; its connection listener is
      // called only once a connection proved to be HTTP/1.1.
      const server = http1Server(options);
      const [listener] = server.listeners("connection") as ((socket: Socket) => void)[];
      server.removeAllListeners("connection");
      this.#serveHttp1 = listener?.bind(server);
      this.#server = server;
    } else {
      this.#server = createNetServer();
    }
    this.#server.maxConnections = options.limits.connectionsMax;
    this.#server.on("drop", () =>
      options.log.warn("rpc.connection_refused", { listener: options.name, why: "too many" }),
    );
    this.#server.on("connection", (socket: Socket) => this.#peek(socket));
  }

  /**
   * Listens.
   *
   * @param port 0 for any free one.
   * @returns the real port. @throws CONFIG_INVALID if the address cannot be had.
   */
  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      const onError = (error: NodeJS.ErrnoException) => {
        const why =
          error.code === "EADDRINUSE" ? "it is in use: stop what holds it or choose another port" : error.message;
        const message = `the ${this.#options.name} listener cannot have ${host}:${port}: ${why}`;
        reject(new DomainError("CONFIG_INVALID", message, { listener: this.#options.name }, error));
      };
      this.#server.once("error", onError);
      this.#server.listen(port, host, () => {
        this.#server.off("error", onError);
        this.#server.on("error", (error) => this.#options.log.error("rpc.listener", { error }));
        resolve((this.#server.address() as AddressInfo).port);
      });
    });
  }

  /** Takes no new connection, tells HTTP/2 peers to go elsewhere (GOAWAY), closes idle HTTP/1.1 connections. */
  stopAccepting(): void {
    if (this.#server.listening) this.#server.close();
    for (const session of this.#sessions) session.close();
    if ("closeIdleConnections" in this.#server) (this.#server.closeIdleConnections as () => void)();
  }

  /** Resolves when no connection is left. */
  idle(): Promise<void> {
    if (this.#sockets.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  /** Ends every connection now; resolves when all are closed. */
  async destroy(): Promise<void> {
    this.stopAccepting();
    for (const session of this.#sessions) session.destroy();
    for (const socket of this.#sockets) socket.destroy();
    await this.idle();
  }

  #guard(session: ServerHttp2Session): void {
    this.#sessions.add(session);
    session.once("close", () => this.#sessions.delete(session));
    const { clock, limits, log, name } = this.#options;
    guardSession(session, clock, limits, (why) => log.info("rpc.connection_ended", { listener: name, why }));
  }

  #peek(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once("close", () => {
      this.#sockets.delete(socket);
      if (this.#sockets.size === 0) for (const resolve of this.#onIdle.splice(0)) resolve();
    });
    // Resets are the peer's business; the protocol servers see them as well.
    socket.on("error", () => socket.destroy());
    socket.setNoDelay(true);
    const cancel = this.#options.clock.after(this.#options.limits.firstBytesMs, () => socket.destroy());
    socket.once("close", cancel);
    let seen: Buffer = Buffer.alloc(0);
    const onData = (chunk: Buffer) => {
      seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
      const protocol = protocolOf(seen);
      if (protocol === undefined) return;
      cancel();
      socket.off("data", onData);
      socket.off("close", cancel);
      socket.pause();
      socket.unshift(seen);
      this.#serve(socket, protocol);
    };
    socket.on("data", onData);
  }

  #serve(socket: Socket, protocol: "http1" | "http2"): void {
    if (protocol === "http2") {
      this.#http2.emit("connection", socket);
    } else if (this.#serveHttp1 !== undefined) {
      this.#serveHttp1(socket);
      socket.resume();
    } else {
      const head = `HTTP/1.1 505 HTTP Version Not Supported\r\ncontent-type: text/plain\r\nconnection: close\r\n`;
      socket.resume();
      socket.end(`${head}content-length: ${HTTP1_REFUSAL.length}\r\n\r\n${HTTP1_REFUSAL}`, () => socket.destroy());
    }
  }
}

/** What the first bytes say; undefined while they may still become either. A prefix of the preface that differs is HTTP/1.1. */
function protocolOf(seen: Buffer): "http1" | "http2" | undefined {
  const length = Math.min(seen.length, PREFACE.length);
  if (!seen.subarray(0, length).equals(PREFACE.subarray(0, length))) return "http1";
  return length === PREFACE.length ? "http2" : undefined;
}

function http1Server({ limits, handler }: PortOptions) {
  const server = createHttp1Server(
    {
      maxHeaderSize: limits.headerBytesMax,
      headersTimeout: limits.handshakeMs,
      requestTimeout: limits.requestMs,
      connectionsCheckingInterval: limits.handshakeMs,
    },
    handler,
  );
  server.maxHeadersCount = limits.headerFieldsMax;
  return server;
}

function http2Server({ limits, handler }: PortOptions): Http2Server {
  const server = createHttp2Server(
    {
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
  // Protocol errors of a peer end its own session; without a listener Node would tell nobody, which is right here.
  server.on("sessionError", () => undefined);
  return server;
}
