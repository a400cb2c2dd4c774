// Serves a Connect router on Node requests: Connect, gRPC and gRPC-Web by content type, on HTTP/2 and HTTP/1.1.
// Made by listeners.ts, one a listener. Stands in for connectNodeAdapter, which writes failures to the console and lets a
// request without a usable Host header throw out of the server's event handler.
// Never throws and never leaves a response open.

import { Code, type ConnectRouter, createConnectRouter, createContextValues } from "@connectrpc/connect";
import {
  type compressionGzip,
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from "@connectrpc/connect-node";
import { KIB } from "../../kit/units.ts";
import { createGate, type GateOptions } from "./authentication.ts";
import { endedKey, hangUpKey, oldAgeKey, type Peer, peerKey } from "./call_context.ts";
import type { Calls } from "./calls.ts";
import { toConnectError } from "./error_map.ts";
import { FailedAttempts } from "./failed_attempts.ts";
import { createFailureInterceptor } from "./failures.ts";
import { hangUp, type NodeHandler, type NodeRequest, type NodeResponse } from "./node_call.ts";
import { certificateOf } from "./peer_certificate.ts";
import { oldAge } from "./session_guard.ts";
import { Turns } from "./turns.ts";

/** Answers shorter than this are sent as they are: packing them takes longer than sending them over any network but a slow one. */
const COMPRESSED_MIN = 64 * KIB;

/** How a router is served. */
export interface RpcHandlerOptions extends Omit<GateOptions, "attempts"> {
  /** Name of the listener, and whether it serves this machine alone. */
  readonly listener: { readonly name: Peer["listener"]; readonly loopback: boolean };
  readonly calls: Calls;
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
    compressMinBytes: COMPRESSED_MIN,
    requestGate: createGate({ ...options, attempts: new FailedAttempts(options.clock) }),
    interceptors: [createFailureInterceptor(options.log, options.controlPlane)],
    shutdownSignal: options.shutdown,
  });
  options.routes(router);
  const isStream = (kind: string) => kind === "client_streaming" || kind === "bidi_streaming";
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
  const serve = async (request: NodeRequest, response: NodeResponse) => {
    const handler = handlers.get(request.url?.split("?", 1)[0] ?? "");
    if (handler === undefined) return answer(response, 404, "unimplemented", "this listener does not serve that path");
    if (isStream(handler.method.methodKind)) options.calls.endless(request);
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
    await universalResponseToNodeResponse(await handler(call), response);
  };
  const begin = (request: NodeRequest, response: NodeResponse) => {
    serve(request, response).catch((error: unknown) => {
      const mapped = toConnectError(error);
      const expected = mapped.code === Code.Canceled || mapped.code === Code.Aborted;
      if (!expected) options.log.error("rpc.broken", { path: request.url?.slice(0, 256), error });
      hangUp(response);
    });
  };
  const later = new Turns();
  return (request, response) => {
    if (!options.calls.enter(request, response)) return;
    if (!("stream" in request)) return begin(request, response);
    later.add(() => {
      if (!request.stream.destroyed && !request.stream.closed) begin(request, response);
    });
  };
}

function contextOf({ listener }: RpcHandlerOptions, request: NodeRequest, response: NodeResponse) {
  const { remoteAddress: address = "", remotePort } = request.socket;
  const name = address.includes(":") ? `[${address}]:${remotePort}` : `${address}:${remotePort}`;
  const peer: Peer = { address, name, listener: listener.name, loopback: listener.loopback };
  const certificate = certificateOf(socketOf(request));
  return createContextValues()
    .set(peerKey, certificate === undefined ? peer : { ...peer, certificate })
    .set(endedKey, new AbortController())
    .set(hangUpKey, () => hangUp(response))
    .set(oldAgeKey, "stream" in request ? oldAge(request.stream?.session) : undefined);
}

// Node's HTTP/2 server gives requests a stand-in for the socket that does not tell of certificates.
function socketOf(request: NodeRequest): object | undefined {
  return "stream" in request ? request.stream?.session?.socket : request.socket;
}

function answer(response: NodeResponse, status: number, code: string, message: string): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify({ code, message }));
}
