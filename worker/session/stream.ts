// One Session stream over grpc-js, typed by the protobuf-es descriptors; frames in, frames out, one end.
// Opened by session.ts for each connection. Knows no frame's meaning.
// Obeys the transport: write() says false when its buffer is full, and onWritable comes when there is room again.

import { create, type DescMethod, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Client, type ClientDuplexStream, credentials, Metadata, type StatusObject, status } from "@grpc/grpc-js";
import type { Clock } from "../../kit/clock.ts";
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
import type { Dialer } from "./dial.ts";

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
  /** Ends at once. why: the message of the end. */
  cancel(why?: string): void;
  /** What has to come next, for messages. */
  readonly awaited: string;
}

/** Opens a stream to an endpoint (host:port). */
export type OpenStream = (endpoint: string, handlers: StreamHandlers) => FrameStream;

const CHANNEL_OPTIONS = {
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
export function grpcStreams({ tls, joinToken }: WorkerCredentials, dialer: Dialer): OpenStream {
  const { clock, times } = dialer.options;
  return (endpoint, handlers) => {
    let channel: SecuredChannel;
    try {
      channel = tls?.secured(endpoint) ?? { credentials: credentials.createInsecure(), options: {} };
    } catch (error) {
      return endedStream(handlers, messageOf(error));
    }
    const dial = dialer.dial(endpoint, channel.credentials);
    const client = new Client(dial.target, dial.credentials, {
      ...CHANNEL_OPTIONS,
      ...channel.options,
      "grpc.keepalive_time_ms": times.pingMs,
      "grpc.keepalive_timeout_ms": times.pingAnswerMs,
      ...dial.options,
    });
    const metadata = new Metadata();
    if (tls === undefined && joinToken !== undefined) metadata.set("authorization", `Bearer ${joinToken}`);
    const call = bidiStream(client, WorkerService.method.session, metadata);
    let given: string | undefined;
    const cancel = (why?: string) => {
      given ??= why;
      call.cancel();
    };
    const unread = new UnreadWatch(clock, times.unreadMs, () => {
      cancel(`the server has not read for ${times.unreadMs / SECOND} s`);
    });
    let heard = false;
    attach(call, {
      onFrame: (frame) => {
        heard = true;
        handlers.onFrame(frame);
      },
      onWritable: handlers.onWritable,
      onEnd: ({ refused, message }) => {
        unread.stop();
        client.close();
        dial.release();
        const hint = tls !== undefined && dial.secured && !heard && !refused ? CERTIFICATE_HINT : "";
        handlers.onEnd({ refused, message: given ?? dial.failure ?? `${message}${hint}` });
      },
    });
    return {
      write(frame) {
        unread.sent();
        return call.write(create(SessionRequestSchema, { frame }), () => unread.taken());
      },
      end: () => call.end(),
      cancel,
      get awaited() {
        return dial.awaited;
      },
    };
  };
}

// TLS has no words for it: a server that does not take a certificate only closes the connection.
const CERTIFICATE_HINT =
  " (a server that does not take this worker's certificate closes the connection: orloj audit list --kind security.refused says so)";

// No connection was tried.
function endedStream(handlers: StreamHandlers, message: string): FrameStream {
  queueMicrotask(() => handlers.onEnd({ refused: false, message }));
  return { write: () => true, end: () => undefined, cancel: () => undefined, awaited: "" };
}

/** Calls back when frames wait and none was taken for a while. */
class UnreadWatch {
  readonly #arm: () => () => void;
  #waiting = 0;
  #cancel = () => {};
  #stopped = false;

  constructor(clock: Clock, limitMs: number, onLate: () => void) {
    this.#arm = () => clock.after(limitMs, onLate);
  }

  sent(): void {
    this.#waiting += 1;
    if (this.#waiting === 1 && !this.#stopped) this.#cancel = this.#arm();
  }

  taken(): void {
    this.#waiting -= 1;
    this.#cancel();
    if (this.#waiting > 0 && !this.#stopped) this.#cancel = this.#arm();
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel();
  }
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

function attach(call: SessionCall, handlers: StreamHandlers): void {
  let ended = false;
  call.on("data", (response) => {
    if (!ended) handlers.onFrame(response.frame);
  });
  call.on("drain", () => {
    if (!ended) handlers.onWritable();
  });
  // The status event follows every end, with or without an error; the error itself carries nothing more.
  call.on("error", () => {});
  call.on("status", ({ code, details }: StatusObject) => {
    if (ended) return;
    ended = true;
    const message = code === status.OK ? "the server closed the stream" : `${status[code] ?? code}: ${plain(details)}`;
    handlers.onEnd({ refused: REFUSALS.includes(code), message });
  });
}

// What grpc-js says around the reason of a connection that did not come about.
function plain(details: string): string {
  return details
    .replace(/^No connection established\. Last error: (?:Error: )?/, "")
    .replace(/\.? Resolution note: $/, "");
}

/** A stream that ended: how, where, and when it was opened (monotonic). */
export interface Connected {
  readonly end: StreamEnd & { readonly polite: boolean };
  /** The server had taken the worker in. */
  readonly attached: boolean;
  readonly endpoint: string;
  readonly startMs: number;
}
