// One Session stream over grpc-js, typed by the protobuf-es descriptors; frames in, frames out, one end.
// Opened by session.ts for each connection. Knows no frame's meaning.
// Obeys the transport: write() says false when its buffer is full, and onWritable comes when there is room again.

import { create, type DescMethod, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Client, type ClientDuplexStream, credentials, Metadata, type StatusObject, status } from "@grpc/grpc-js";
import { messageOf } from "../../kit/errors.ts";
import { MIB, SECOND } from "../../kit/units.ts";
import {
  type SessionRequest,
  SessionRequestSchema,
  type SessionResponse,
  SessionResponseSchema,
  WorkerService,
} from "../../proto/gen/orloj/v1/worker_pb.ts";
import type { ClientTls, SecuredChannel } from "./client_tls.ts";

/** A frame to the server. */
export type RequestFrame = SessionRequest["frame"];
/** A frame from the server. */
export type ResponseFrame = SessionResponse["frame"];

/** Why a stream ended. */
export interface StreamEnd {
  /** True: trying again without a change of configuration is useless. */
  readonly refused: boolean;
  readonly message: string;
}

/** What a stream tells; onEnd comes once, and nothing after it. */
export interface StreamHandlers {
  onFrame(frame: ResponseFrame): void;
  onWritable(): void;
  onEnd(end: StreamEnd): void;
}

/** An open stream. */
export interface FrameStream {
  /** Takes a frame; false: send no more until onWritable. */
  write(frame: RequestFrame): boolean;
  /** Half-closes after what was written. */
  end(): void;
  /** Ends at once. */
  cancel(): void;
}

/** Opens a stream to an endpoint (host:port). */
export type OpenStream = (endpoint: string, handlers: StreamHandlers) => FrameStream;

const CHANNEL_OPTIONS = {
  "grpc.keepalive_time_ms": 10 * SECOND,
  "grpc.keepalive_timeout_ms": 5 * SECOND,
  "grpc.max_receive_message_length": 16 * MIB,
  "grpc.max_send_message_length": 16 * MIB,
  // Each connection has a channel of its own: the back-off is ours, not a shared subchannel's.
  "grpc.use_local_subchannel_pool": 1,
  "grpc.enable_retries": 0,
} as const;

// Wrong token, wrong right, wrong request, a server that is no worker listener: none heals by itself.
const REFUSALS: readonly number[] = [
  status.UNAUTHENTICATED,
  status.PERMISSION_DENIED,
  status.INVALID_ARGUMENT,
  status.UNIMPLEMENTED,
];

/** How a worker proves itself: by certificate files, or by a join token, which is sent as `authorization: Bearer …` and never logged. */
export interface WorkerCredentials {
  readonly tls?: ClientTls;
  readonly joinToken?: string;
}

/** Streams of a worker with these credentials. With certificates every connection is made with what the files hold then. */
export function grpcStreams({ tls, joinToken }: WorkerCredentials): OpenStream {
  return (endpoint, handlers) => {
    const host = endpoint.replace(/:\d+$/, "");
    const loopback = host === "localhost" || host === "[::1]" || host.startsWith("127.");
    let channel: SecuredChannel;
    try {
      channel = tls?.secured(endpoint) ?? { credentials: credentials.createInsecure(), options: {} };
    } catch (error) {
      return endedStream(handlers, messageOf(error));
    }
    const client = new Client(endpoint, channel.credentials, {
      ...CHANNEL_OPTIONS,
      ...channel.options,
      "grpc.enable_http_proxy": loopback ? 0 : 1,
    });
    const metadata = new Metadata();
    if (tls === undefined && joinToken !== undefined) metadata.set("authorization", `Bearer ${joinToken}`);
    const call = bidiStream(client, WorkerService.method.session, metadata);
    attach(call, client, handlers, tls === undefined ? "" : CERTIFICATE_HINT);
    return {
      write: (frame) => call.write(create(SessionRequestSchema, { frame })),
      end: () => call.end(),
      cancel: () => call.cancel(),
    };
  };
}

// TLS has no words for it: a server that does not take a certificate only closes the connection.
const CERTIFICATE_HINT =
  " (a server that does not take this worker's certificate closes the connection: orloj audit list --kind security.refused says so)";

// No connection was tried.
function endedStream(handlers: StreamHandlers, message: string): FrameStream {
  queueMicrotask(() => handlers.onEnd({ refused: false, message }));
  return { write: () => true, end: () => undefined, cancel: () => undefined };
}

type SessionCall = ClientDuplexStream<SessionRequest, SessionResponse>;

function bidiStream(client: Client, method: DescMethod, metadata: Metadata): SessionCall {
  return client.makeBidiStreamRequest<SessionRequest, SessionResponse>(
    `/${method.parent.typeName}/${method.name}`,
    (frame) => Buffer.from(toBinary(SessionRequestSchema, frame)),
    (bytes) => fromBinary(SessionResponseSchema, bytes),
    metadata,
    {},
  );
}

// hint: said after the words for a connection on which the server said nothing.
function attach(call: SessionCall, client: Client, handlers: StreamHandlers, hint: string): void {
  let ended = false;
  let heard = false;
  const finish = (end: StreamEnd) => {
    if (ended) return;
    ended = true;
    client.close();
    handlers.onEnd(end);
  };
  call.on("data", (response) => {
    heard = true;
    if (!ended) handlers.onFrame(response.frame);
  });
  call.on("drain", () => {
    if (!ended) handlers.onWritable();
  });
  // The status event follows every end, with or without an error; the error itself carries nothing more.
  call.on("error", () => {});
  call.on("status", ({ code, details }: StatusObject) => {
    const words = code === status.OK ? "the server closed the stream" : `${status[code] ?? code}: ${details}`;
    const message = code === status.UNAVAILABLE && !heard ? `${words}${hint}` : words;
    finish({ refused: REFUSALS.includes(code), message });
  });
}
