// Serves a Connect router on Node requests: Connect, gRPC and gRPC-Web by content type, on HTTP/2 and HTTP/1.1.
// Made by listeners.ts, one a listener. Stands in for connectNodeAdapter, which writes failures to the console and lets a
// request without a usable Host header throw out of the server's event handler.
// Never throws and never leaves a response open.

import { constants } from "node:http2";
import { Code, type ConnectRouter, createConnectRouter, createContextValues } from "@connectrpc/connect";
import {
  type compressionGzip,
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from "@connectrpc/connect-node";
import type { Clock } from "../../kit/clock.ts";
import { SECOND } from "../../kit/units.ts";
import { createGate, type GateOptions } from "./authentication.ts";
import { endedKey, hangUpKey, type Peer, peerKey } from "./call_context.ts";
import { toConnectError } from "./error_map.ts";
import { FailedAttempts } from "./failed_attempts.ts";
import { createFailureInterceptor } from "./failures.ts";
import { certificateOf } from "./peer_certificate.ts";

// Time that a caller has to end its side after it was answered.
const LINGER_MS = 1 * SECOND;

/** A request of Node's HTTP/1.1 server or of its HTTP/2 server. */
export type NodeRequest = Parameters<typeof universalRequestFromNodeRequest>[0];
/** The response that belongs to it. */
export type NodeResponse = Parameters<typeof universalResponseToNodeResponse>[1];
/** What a port calls for each request. */
export type NodeHandler = (request: NodeRequest, response: NodeResponse) => void;

/** How a router is served. */
export interface RpcHandlerOptions extends Omit<GateOptions, "attempts"> {
  /** Name of the listener, and whether it serves this machine alone. */
  readonly listener: { readonly name: Peer["listener"]; readonly loopback: boolean };
  readonly readBytesMax: number;
  readonly writeBytesMax: number;
  /** Compressions taken and, when the caller takes them, used; none saves the CPU on worker streams. */
  readonly compressions: readonly (typeof compressionGzip)[];
  readonly routes: (router: ConnectRouter) => void;
}

/** The handler of a listener. */
export function createRpcHandler(options: RpcHandlerOptions): NodeHandler {
  const router = createConnectRouter({
    readMaxBytes: options.readBytesMax,
    writeMaxBytes: options.writeBytesMax,
    acceptCompression: [...options.compressions],
    requestGate: createGate({ ...options, attempts: new FailedAttempts(options.clock) }),
    interceptors: [createFailureInterceptor(options.log, options.controlPlane)],
    shutdownSignal: options.shutdown,
  });
  options.routes(router);
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
  const serve = async (request: NodeRequest, response: NodeResponse) => {
    const handler = handlers.get(request.url?.split("?", 1)[0] ?? "");
    if (handler === undefined) return answer(response, 404, "unimplemented", "this listener does not serve that path");
    // A kept-alive HTTP/1.1 connection has no GOAWAY: this is how it learns that the server stops.
    if (options.shutdown.aborted && request.httpVersionMajor === 1) response.setHeader("connection", "close");
    let call: ReturnType<typeof universalRequestFromNodeRequest>;
    try {
      call = universalRequestFromNodeRequest(request, response, undefined, contextOf(options, request, response));
    } catch {
      return answer(
        response,
        400,
        "invalid_argument",
        "the request has no usable Host or :authority: name this server",
      );
    }
    resetUnread(response, options.clock);
    await universalResponseToNodeResponse(await handler(call), response);
  };
  return (request, response) => {
    serve(request, response).catch((error: unknown) => {
      const mapped = toConnectError(error);
      const expected = mapped.code === Code.Canceled || mapped.code === Code.Aborted;
      if (!expected) options.log.error("rpc.broken", { path: request.url?.slice(0, 256), error });
      hangUp(response);
    });
  };
}

// A stream that is answered while its caller still sends would stay half open for as long as the caller likes, and hold up a
// drain: it is reset without an error, as RFC 9113 8.1 says. Not at once: Node drops trailers that wait behind a reset.
function resetUnread(response: NodeResponse, clock: Clock): void {
  if (!("stream" in response)) return;
  const { stream } = response;
  stream?.once("finish", () => {
    if (stream.readableEnded) return;
    const cancel = clock.after(LINGER_MS, () => stream.close(constants.NGHTTP2_NO_ERROR));
    stream.once("close", cancel);
  });
}

function contextOf({ listener }: RpcHandlerOptions, request: NodeRequest, response: NodeResponse) {
  const { remoteAddress: address = "", remotePort } = request.socket;
  const name = address.includes(":") ? `[${address}]:${remotePort}` : `${address}:${remotePort}`;
  const peer: Peer = { address, name, listener: listener.name, loopback: listener.loopback };
  const certificate = certificateOf(socketOf(request));
  return createContextValues()
    .set(peerKey, certificate === undefined ? peer : { ...peer, certificate })
    .set(endedKey, new AbortController())
    .set(hangUpKey, () => hangUp(response));
}

// Node's HTTP/2 server gives requests a stand-in for the socket that does not tell of certificates.
function socketOf(request: NodeRequest): object | undefined {
  return "stream" in request ? request.stream?.session?.socket : request.socket;
}

function answer(response: NodeResponse, status: number, code: string, message: string): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify({ code, message }));
}

function hangUp(response: NodeResponse): void {
  if ("stream" in response) response.stream?.close(constants.NGHTTP2_CANCEL);
  else response.destroy();
}
