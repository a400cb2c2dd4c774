// Real listeners on free ports over the fake control plane, with clients of every protocol.
// Used by the rpc tests; close() ends clients and listeners and must leave no handle.
// Never shares anything between tests.

import { connect as connectTcp, type Socket } from "node:net";
import type { Interceptor, Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
  Http2SessionManager,
} from "@connectrpc/connect-node";
import { type Clock, systemClock } from "../../kit/clock.ts";
import {
  createListeners,
  type ListenerPorts,
  type Listeners,
  type ListenersOptions,
} from "../../server/rpc/listeners.ts";
import { createLogger } from "../../server/telemetry/log.ts";
import { FakeControlPlane } from "./fake_control_plane.ts";
import type { ManualClock } from "./manual_clock.ts";

export type Protocol = "grpc" | "grpc-web" | "grpc-web over HTTP/1.1" | "connect" | "connect over HTTP/1.1, JSON";
export const PROTOCOLS: readonly Protocol[] = [
  "grpc",
  "grpc-web",
  "grpc-web over HTTP/1.1",
  "connect",
  "connect over HTTP/1.1, JSON",
];

export interface Rig {
  readonly plane: FakeControlPlane;
  readonly listeners: Listeners;
  readonly ports: ListenerPorts;
  /** Parsed log lines. */
  readonly log: Record<string, unknown>[];
  transport(options?: { protocol?: Protocol; token?: string; port?: "api" | "worker" }): Transport;
  /** A raw connection that sends these bytes. */
  raw(port: "api" | "worker" | "ops", bytes: string | Uint8Array): Socket;
  close(): Promise<void>;
}

export async function startRig(options: Partial<ListenersOptions> & { clock?: Clock } = {}): Promise<Rig> {
  const plane = new FakeControlPlane();
  const lines: Record<string, unknown>[] = [];
  const clock = options.clock ?? systemClock();
  const address = { host: "127.0.0.1", port: 0 };
  const log = createLogger({ clock, level: "debug", sink: (line) => void lines.push(JSON.parse(line)) });
  const limits = { drainMs: 200, closeMs: 200, ...options.limits };
  const all = { controlPlane: plane, clock, log, api: address, worker: address, ops: address, ...options, limits };
  const listeners = createListeners(all);
  const ports = await listeners.start();
  const sessions: Http2SessionManager[] = [];
  const sockets: Socket[] = [];
  return {
    plane,
    listeners,
    ports,
    log: lines,
    transport({ protocol = "grpc", token = "tok-admin", port = "api" } = {}) {
      const baseUrl = `http://127.0.0.1:${ports[port]}`;
      const bearer: Interceptor = (next) => (request) => {
        if (token !== "") request.header.set("authorization", `Bearer ${token}`);
        return next(request);
      };
      const interceptors = [bearer];
      if (protocol === "grpc-web over HTTP/1.1") {
        return createGrpcWebTransport({ baseUrl, httpVersion: "1.1", interceptors });
      }
      if (protocol === "connect over HTTP/1.1, JSON") {
        return createConnectTransport({ baseUrl, httpVersion: "1.1", interceptors, useBinaryFormat: false });
      }
      const sessionManager = new Http2SessionManager(baseUrl);
      sessions.push(sessionManager);
      if (protocol === "grpc") return createGrpcTransport({ baseUrl, interceptors, sessionManager });
      if (protocol === "grpc-web") {
        return createGrpcWebTransport({ baseUrl, httpVersion: "2", interceptors, sessionManager });
      }
      return createConnectTransport({ baseUrl, httpVersion: "2", interceptors, sessionManager });
    },
    raw(port, bytes) {
      const socket = connectTcp(ports[port], "127.0.0.1");
      sockets.push(socket);
      socket.on("error", () => undefined);
      socket.write(bytes);
      return socket;
    },
    async close() {
      for (const session of sessions) session.abort();
      for (const socket of sockets) socket.destroy();
      let stopped = false;
      const stopping = listeners.stop().finally(() => {
        stopped = true;
      });
      // A manual clock moves on until every limit of stop() has passed.
      while ("advance" in clock && !stopped) {
        (clock as ManualClock).advance(10_000);
        await new Promise((resolve) => setImmediate(resolve));
      }
      await stopping;
    },
  };
}

/** Everything that a raw connection says until its end. */
export function readAll(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
    });
    socket.once("close", () => resolve(text));
  });
}
