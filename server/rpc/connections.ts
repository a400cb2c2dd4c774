// The connections of one listening port, with TLS or without: listens, keeps count, guards HTTP/2 sessions, and ends them all.
// Owned by port.ts and tls_port.ts, which know how a connection begins.
// Never reads a byte of one.

import { constants, type ServerHttp2Session, type ServerOptions } from "node:http2";
import type { AddressInfo, Server, Socket } from "node:net";
import type { Clock } from "../../kit/clock.ts";
import { DomainError } from "../../kit/errors.ts";
import type { Logger } from "../telemetry/log.ts";
import { FloodGate } from "./flood_gate.ts";
import type { RpcLimits } from "./limits.ts";
import { PeerCounts, type TooMany } from "./peer_counts.ts";
import { guardSession } from "./session_guard.ts";

// So many more resets than are allowed, so that the guard sees that it was one too many.
const RESETS_BESIDE = 20;
// Ages of connections are spread evenly, however many begin together.
const GOLDEN_RATIO = 0.618_033_988_75;

/** Something that a peer did and no right client does; recorded as a security event. */
export type OnOffence = (address: string, reason: string, why: string) => void;

/** Whose connections they are. */
export interface ConnectionsOptions {
  /** "api", "worker" or "ops", for messages. */
  readonly name: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: RpcLimits;
  readonly onOffence: OnOffence;
  /** Why no call of a peer would be taken now; undefined: one would. */
  readonly callsFull: (address: string) => TooMany | undefined;
}

/** What bounds each HTTP/2 connection. */
export function http2Limits(limits: RpcLimits): ServerOptions {
  return {
    maxHeaderListPairs: limits.headerFieldsMax,
    // The guard counts resets and has them recorded; Node's own count ends a connection in the middle of a read, and tells nobody.
    streamResetBurst: limits.streamResetBurst + RESETS_BESIDE,
    streamResetRate: limits.streamResetRate,
    maxSessionInvalidFrames: limits.strayFramesMax,
    maxSessionRejectedStreams: limits.strayFramesMax,
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
  readonly #counts: PeerCounts;
  readonly #gate: FloodGate;
  /** By address and port of the peer. */
  readonly #sockets = new Map<string, Socket>();
  readonly #sessions = new Map<ServerHttp2Session, { readonly socket: Socket | undefined; over: boolean }>();
  #looking = false;
  #onIdle: (() => void)[] = [];
  #guarded = 0;

  constructor(server: Server, options: ConnectionsOptions) {
    this.#server = server;
    this.#options = options;
    this.#counts = new PeerCounts(options.limits.connectionsMax, options.limits.connectionsPerPeerMax);
    this.#gate = new FloodGate(options.clock, options.limits);
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

  /** Counts a new connection until it closes, and has it begin: at once, unless its peer has just flooded. One too many is closed. */
  admit(socket: Socket, begin: () => void): void {
    const { remoteAddress: address } = socket;
    // Without an address it is gone already.
    const waitMs = address === undefined ? undefined : this.#enter(address);
    if (address === undefined || waitMs === undefined) {
      socket.on("error", () => undefined);
      socket.destroy();
      return;
    }
    this.#keep(socket, address);
    if (waitMs === 0) {
      begin();
      return;
    }
    socket.on("error", () => socket.destroy());
    socket.once("close", this.#options.clock.after(waitMs, begin));
  }

  /**
   * False: no call of this peer would be taken, so that its new HTTP/2 connection is told to come again, and closed. Refusing its
   * streams one by one would cost a hundred times as much.
   */
  takesCalls(socket: Socket): boolean {
    const { callsFull, onOffence } = this.#options;
    const { remoteAddress: address = "" } = socket;
    const tooMany = callsFull(address);
    if (tooMany === undefined) return true;
    onOffence(address, "CALL_LIMIT", `too many calls ${tooMany}`);
    goAway(socket, constants.NGHTTP2_NO_ERROR);
    return false;
  }

  /** False: a new HTTP/2 connection opens so many streams with its first bytes that it would be ended for them, and so is told, and closed. */
  takesStreams(socket: Socket, streams: number): boolean {
    const { limits, onOffence } = this.#options;
    if (streams <= limits.streamsMax + limits.strayFramesMax) return true;
    const { remoteAddress: address = "" } = socket;
    this.#gate.flooded(address);
    onOffence(address, "STREAM_FLOOD", "too many streams at once");
    goAway(socket, constants.NGHTTP2_ENHANCE_YOUR_CALM);
    return false;
  }

  /** Watches over an HTTP/2 session until it closes, and sees to it that its socket closes too. */
  guard(session: ServerHttp2Session): void {
    const { clock, limits, log, name, onOffence } = this.#options;
    const { remoteAddress: peer = "" } = session.socket;
    this.#sessions.set(session, { socket: this.#sockets.get(endOf(session.socket)), over: false });
    session.once("close", () => this.#sessions.delete(session));
    this.#look();
    this.#guarded += 1;
    guardSession(session, {
      ...{ clock, limits, spread: (this.#guarded * GOLDEN_RATIO) % 1 },
      onEnd: ({ why, reason }) => {
        log.info("rpc.connection_ended", { listener: name, peer, why });
        if (reason === undefined) return;
        this.#gate.flooded(peer);
        onOffence(peer, reason, why);
      },
    });
  }

  /** Takes no new connection, and tells HTTP/2 peers to go elsewhere (GOAWAY). */
  stopAccepting(): void {
    if (this.#server.listening) this.#server.close();
    for (const session of this.#sessions.keys()) session.close();
  }

  /** Resolves when no connection is left. */
  idle(): Promise<void> {
    if (this.#sockets.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  /** Ends every connection now; resolves when all are closed. */
  async destroy(): Promise<void> {
    this.stopAccepting();
    for (const session of this.#sessions.keys()) session.destroy();
    for (const socket of this.#sockets.values()) socket.destroy();
    await this.idle();
  }

  // Ms until a new connection of that address may begin; undefined: it is one too many.
  #enter(address: string): number | undefined {
    const tooMany = this.#counts.enter(address);
    if (tooMany === undefined) {
      const waitMs = this.#gate.waitMs(address);
      if (waitMs !== undefined) return waitMs;
      this.#counts.leave(address);
    }
    const { name, log, onOffence } = this.#options;
    const why = `too many connections ${tooMany ?? "so soon after a flood"}`;
    log.debug("rpc.connection_refused", { listener: name, peer: address, why });
    onOffence(address, "CONNECTION_LIMIT", why);
    return undefined;
  }

  #keep(socket: Socket, address: string): void {
    const key = endOf(socket);
    this.#sockets.set(key, socket);
    socket.setNoDelay(true);
    socket.once("close", () => {
      this.#counts.leave(address);
      this.#sockets.delete(key);
      if (this.#sockets.size === 0) for (const resolve of this.#onIdle.splice(0)) resolve();
    });
  }

  // Node waits for the peer to take in the last frame of a session, and after a polite end for its side to close: for as long as it likes.
  #look(): void {
    if (this.#looking) return;
    this.#looking = true;
    const { clock, limits } = this.#options;
    clock.after(limits.slowCheckMs, () => {
      this.#looking = false;
      for (const [session, state] of this.#sessions) {
        if (state.over) state.socket?.destroy();
        state.over = session.destroyed;
      }
      if (this.#sessions.size > 0) this.#look();
    });
  }
}

/** Ends a connection that is about to speak HTTP/2: SETTINGS, and a GOAWAY which says that no stream was processed, and why. */
export function goAway(socket: Socket, code: number): void {
  // Of each frame: length, type, flags, stream, content.
  const why = code.toString(16).padStart(8, "0");
  const frames = ["000000", "04", "00", "00000000", "000008", "07", "00", "00000000", "00000000", why];
  socket.resume();
  socket.end(Buffer.from(frames.join(""), "hex"), () => socket.destroy());
}

function endOf({ remoteAddress, remotePort }: Pick<Socket, "remoteAddress" | "remotePort">): string {
  return `${remoteAddress} ${remotePort}`;
}
