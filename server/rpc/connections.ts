// The connections of one listening port, with TLS or without: listens, keeps count, guards HTTP/2 sessions, and ends them all.
// Owned by port.ts and tls_port.ts, which know how a connection begins.
// Never reads a byte of one.

import type { ServerHttp2Session, ServerOptions } from "node:http2";
import type { AddressInfo, Server, Socket } from "node:net";
import type { Clock } from "../../kit/clock.ts";
import { DomainError } from "../../kit/errors.ts";
import type { Logger } from "../telemetry/log.ts";
import type { RpcLimits } from "./limits.ts";
import { guardSession } from "./session_guard.ts";

/** Whose connections they are. */
export interface ConnectionsOptions {
  /** "api", "worker" or "ops", for messages. */
  readonly name: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: RpcLimits;
}

/** What bounds each HTTP/2 connection. */
export function http2Limits(limits: RpcLimits): ServerOptions {
  return {
    maxHeaderListPairs: limits.headerFieldsMax,
    streamResetBurst: limits.streamResetBurst,
    streamResetRate: limits.streamResetRate,
    settings: {
      maxConcurrentStreams: limits.streamsMax,
      maxHeaderListSize: limits.headerBytesMax,
      enableConnectProtocol: false,
    },
  };
}

/** See the file header. */
export class Connections {
  readonly #server: Server;
  readonly #options: ConnectionsOptions;
  readonly #sockets = new Set<Socket>();
  readonly #sessions = new Set<ServerHttp2Session>();
  #onIdle: (() => void)[] = [];

  constructor(server: Server, options: ConnectionsOptions) {
    this.#server = server;
    this.#options = options;
    const { limits, log, name } = options;
    server.maxConnections = limits.connectionsMax;
    server.on("drop", () => log.warn("rpc.connection_refused", { listener: name, why: "too many" }));
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

  /** Counts a new connection until it closes. */
  track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    socket.once("close", () => {
      this.#sockets.delete(socket);
      if (this.#sockets.size === 0) for (const resolve of this.#onIdle.splice(0)) resolve();
    });
  }

  /** Watches over an HTTP/2 session until it closes. */
  guard(session: ServerHttp2Session): void {
    this.#sessions.add(session);
    session.once("close", () => this.#sessions.delete(session));
    const { clock, limits, log, name } = this.#options;
    guardSession(session, clock, limits, (why) => log.info("rpc.connection_ended", { listener: name, why }));
  }

  /** Takes no new connection, and tells HTTP/2 peers to go elsewhere (GOAWAY). */
  stopAccepting(): void {
    if (this.#server.listening) this.#server.close();
    for (const session of this.#sessions) session.close();
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
}
