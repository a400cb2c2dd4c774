// A request and its response as Node's HTTP/1.1 and HTTP/2 servers hand them over, and how to break one off.
// Used by calls.ts, rpc_handler.ts, ops.ts and the ports.

import type { EventEmitter } from "node:events";
import { constants, type Http2SecureServer, type Http2Server, type ServerHttp2Stream } from "node:http2";
import type { universalRequestFromNodeRequest, universalResponseToNodeResponse } from "@connectrpc/connect-node";

/** A request of Node's HTTP/1.1 server or of its HTTP/2 server. */
export type NodeRequest = Parameters<typeof universalRequestFromNodeRequest>[0];
/** The response that belongs to it. */
export type NodeResponse = Parameters<typeof universalResponseToNodeResponse>[1];
/** What a port calls for each request. */
export type NodeHandler = (request: NodeRequest, response: NodeResponse) => void;

/** Breaks a call off: resets its stream, or closes its HTTP/1.1 connection. */
export function hangUp(response: NodeResponse): void {
  if ("stream" in response) response.stream?.close(constants.NGHTTP2_CANCEL);
  else response.destroy();
}

/** Has an HTTP/2 server make no request of a stream that was reset before anybody could look at it: thousands fit into one read. */
export function skipReset<Server extends Http2Server | Http2SecureServer>(server: Server): Server {
  const makeRequests = server.listeners("stream") as ((stream: ServerHttp2Stream, ...more: unknown[]) => void)[];
  server.removeAllListeners("stream");
  server.on("stream", (stream, ...more) => {
    if (!stream.closed && !stream.destroyed) for (const make of makeRequests) make.call(server, stream, ...more);
    // Nobody else hears of its end.
    else stream.on("error", () => undefined);
  });
  return server;
}

/** Has an HTTP/2 server hand over what it would answer by itself, and leave half open: CONNECT, and expectations that nobody knows. */
export function answerAll<Server extends EventEmitter>(server: Server, handler: NodeHandler): Server {
  server.on("checkExpectation", handler);
  // Of an HTTP/1.1 connection the second argument is its socket.
  server.on("connect", (request: NodeRequest, response: NodeResponse) => {
    if ("stream" in request) handler(request, response);
    else response.destroy();
  });
  return server;
}
