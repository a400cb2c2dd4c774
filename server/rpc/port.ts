// One listening port without TLS: HTTP/2 (prior knowledge), HTTP/1.1, or both, told apart by the first bytes.
// Owned by listeners.ts. Every limit of limits.ts that concerns connections is set here.
// Never reads a request: that is the handler's.
//
// Connection: peeking → HTTP/2 | HTTP/1.1 | refused. Port: new → listening → draining (stopAccepting) → closed (destroy).

import { createServer as createHttp1Server } from "node:http";
import { constants, createServer as createHttp2Server, type Http2Server } from "node:http2";
import { createServer as createNetServer, type Server, type Socket } from "node:net";
import { Connections, type ConnectionsOptions, goAway, http2Limits } from "./connections.ts";
import { type Protocol, protocolOf, streamsIn } from "./first_frames.ts";
import { answerAll, type NodeHandler, skipReset } from "./node_call.ts";

/** What a port needs. */
export interface PortOptions extends ConnectionsOptions {
  readonly handler: NodeHandler;
  /** What is served. */
  readonly protocols: readonly Protocol[];
}

const HTTP1_REFUSAL = "this port serves workers over HTTP/2; the API is on another port\n";

/** A port as the listeners use it, with TLS or without. */
export interface ListeningPort {
  /** Listens. @param port 0 for any free one. @returns the real port. @throws CONFIG_INVALID if the address cannot be had. */
  listen(host: string, port: number): Promise<number>;
  /** Takes no new connection, tells HTTP/2 peers to go elsewhere (GOAWAY), closes idle HTTP/1.1 connections. */
  stopAccepting(): void;
  /** Resolves when no connection is left. */
  idle(): Promise<void>;
  /** Ends every connection now; resolves when all are closed. */
  destroy(): Promise<void>;
}

/** See the file header. */
export class Port implements ListeningPort {
  readonly #options: PortOptions;
  readonly #server: Server;
  readonly #http2: Http2Server | undefined;
  readonly #serveHttp1: ((socket: Socket) => void) | undefined;
  readonly #connections: Connections;

  constructor(options: PortOptions) {
    this.#options = options;
    const serves = (protocol: Protocol) => options.protocols.includes(protocol);
    this.#http2 = serves("http2") ? http2Server(options) : undefined;
    this.#http2?.on("session", (session) => this.#connections.guard(session));
    if (serves("http1")) {
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
    this.#connections = new Connections(this.#server, options);
    this.#server.on("connection", (socket: Socket) => this.#connections.admit(socket, () => this.#peek(socket)));
  }

  listen(host: string, port: number): Promise<number> {
    return this.#connections.listen(host, port);
  }

  stopAccepting(): void {
    this.#connections.stopAccepting();
    if ("closeIdleConnections" in this.#server) (this.#server.closeIdleConnections as () => void)();
  }

  idle(): Promise<void> {
    return this.#connections.idle();
  }

  async destroy(): Promise<void> {
    this.stopAccepting();
    await this.#connections.destroy();
  }

  #peek(socket: Socket): void {
    // Resets are the peer's business; the protocol servers see them as well.
    socket.on("error", () => socket.destroy());
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
      this.#serve(socket, protocol, seen);
    };
    socket.on("data", onData);
  }

  #serve(socket: Socket, protocol: Protocol, seen: Buffer): void {
    if (protocol === "http2") {
      if (this.#http2 === undefined) goAway(socket, constants.NGHTTP2_HTTP_1_1_REQUIRED);
      else if (this.#connections.takesStreams(socket, streamsIn(seen)) && this.#connections.takesCalls(socket))
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

function http1Server({ limits, handler }: PortOptions) {
  const server = createHttp1Server(
    {
      maxHeaderSize: limits.headerBytesMax,
      headersTimeout: limits.handshakeMs,
      requestTimeout: limits.requestMs,
      connectionsCheckingInterval: limits.slowCheckMs,
    },
    handler,
  );
  server.maxHeadersCount = limits.headerFieldsMax;
  return server;
}

function http2Server({ limits, handler }: PortOptions): Http2Server {
  const server = createHttp2Server(http2Limits(limits), handler);
  // Protocol errors of a peer end its own session; without a listener Node would tell nobody, which is right here.
  server.on("sessionError", () => undefined);
  return answerAll(skipReset(server), handler);
}
