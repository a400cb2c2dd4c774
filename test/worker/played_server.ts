// A control plane that a test plays by hand: a real connect-node listener, whose every frame the test sends and awaits itself.
// Used by the session tests.

import { createSecureServer, createServer, type SecureServerOptions, type ServerHttp2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { type Clock, systemClock } from "../../kit/clock.ts";
import { type Random, seededRandom } from "../../kit/random.ts";
import {
  type Hello,
  type SessionRequest,
  type SessionResponse,
  SessionResponseSchema,
  WorkerService,
} from "../../proto/gen/orloj/v1/worker_pb.ts";
import { assembleWorker, type Worker, type WorkerOptions } from "../../worker/worker.ts";

type Frame = SessionRequest["frame"];
type Case = NonNullable<Frame["case"]>;
type ValueOf<Name extends Case> = Extract<Frame, { case: Name }>["value"];
type ResponseInit = NonNullable<MessageInitShape<typeof SessionResponseSchema>["frame"]>;

/** One stream, seen from the server. */
export class PlayedStream {
  readonly hello: Hello;
  readonly authorization: string;
  /** The connection that carries it. */
  readonly connection: ServerHttp2Session;
  readonly #frames: Frame[] = [];
  readonly #outgoing: SessionResponse[] = [];
  #arrived: () => void = () => {};
  #wake: () => void = () => {};
  #closed = false;
  readonly #over = Promise.withResolvers<void>();
  /** Resolves when the worker has ended the stream. */
  readonly ended = this.#over.promise;

  constructor(hello: Hello, authorization: string, connection: ServerHttp2Session) {
    this.hello = hello;
    this.authorization = authorization;
    this.connection = connection;
  }

  /** Sends a frame. */
  send(frame: ResponseInit): void {
    this.#outgoing.push(create(SessionResponseSchema, { frame }));
    this.#wake();
  }

  /** Sends Welcome; long lease times by default. */
  welcome(
    changes: {
      sessionId?: string;
      ttlMs?: number;
      held?: { taskId: string; token: string; keep: boolean }[];
      takesTaskLogs?: boolean;
    } = {},
  ): void {
    const ttlMs = changes.ttlMs ?? 30_000;
    const duration = (ms: number) => ({ seconds: BigInt(Math.floor(ms / 1_000)), nanos: (ms % 1_000) * 1_000_000 });
    const value = {
      sessionId: changes.sessionId ?? "ses_1",
      epoch: 1n,
      leaseTtl: duration(ttlMs),
      renewInterval: duration(Math.floor(ttlMs / 3)),
      acceptDeadline: duration(5_000),
      frameBytesMax: 4_194_304,
      inlinePayloadBytesMax: 262_144,
      held: changes.held ?? [],
      takesTaskLogs: changes.takesTaskLogs ?? false,
    };
    this.send({ case: "welcome", value });
  }

  /** The next frame of that kind for which `matches` holds; earlier ones are skipped and forgotten. */
  async next<Name extends Case>(
    name: Name,
    matches: (value: ValueOf<Name>) => boolean = () => true,
  ): Promise<ValueOf<Name>> {
    for (;;) {
      const index = this.#frames.findIndex((frame) => frame.case === name && matches(frame.value as ValueOf<Name>));
      if (index >= 0) return this.#frames.splice(index, 1)[0]?.value as ValueOf<Name>;
      if (this.#closed) throw new Error(`the stream ended before a ${name} frame came`);
      await new Promise<void>((resolve) => {
        this.#arrived = resolve;
      });
    }
  }

  /** Frames that came and that nobody asked for. */
  rest(): (string | undefined)[] {
    return this.#frames.map((frame) => frame.case);
  }

  take(frame: Frame): void {
    this.#frames.push(frame);
    this.#arrived();
  }

  /** Ends the stream as a crash does. */
  lose(): void {
    this.connection.destroy();
  }

  close(): void {
    this.#closed = true;
    this.#over.resolve();
    this.#arrived();
    this.#wake();
  }

  async *responses(): AsyncIterable<SessionResponse> {
    for (;;) {
      while (this.#outgoing.length > 0) yield this.#outgoing.shift() as SessionResponse;
      if (this.#closed) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

/** A listener that hands its streams to the test. */
export class PlayedServer {
  endpoint = "";
  readonly #streams: PlayedStream[] = [];
  readonly #connections = new Set<ServerHttp2Session>();
  #arrived: () => void = () => {};
  /** Refuses every stream with this code. */
  refusal: Code | undefined;
  #refusals = 0;
  readonly #server: ReturnType<typeof createServer> | ReturnType<typeof createSecureServer>;

  /** @param tls certificates; without them it speaks h2c. */
  constructor(tls?: SecureServerOptions) {
    const handler = connectNodeAdapter({
      routes: (router) => {
        router.service(WorkerService, {
          session: (requests, context) => this.#session(requests, context.requestHeader.get("authorization") ?? ""),
        });
      },
    });
    this.#server = tls === undefined ? createServer(handler) : createSecureServer(tls, handler);
  }

  /** Listens on a port of an address of loopback. */
  async listen(port = 0, host = "127.0.0.1"): Promise<void> {
    this.#server.on("session", (session) => {
      this.#connections.add(session);
      session.on("error", () => {});
      session.on("close", () => this.#connections.delete(session));
    });
    await new Promise<void>((resolve) => this.#server.listen(port, host, resolve));
    this.endpoint = `${host}:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Resolves when so many streams were refused. */
  async refused(count: number): Promise<void> {
    while (this.#refusals < count) {
      await new Promise<void>((resolve) => {
        this.#arrived = resolve;
      });
    }
  }

  /** Streams that came and that nobody took. */
  get streams(): number {
    return this.#streams.length;
  }

  /** The next stream, after its Hello. */
  async stream(): Promise<PlayedStream> {
    for (;;) {
      const stream = this.#streams.shift();
      if (stream !== undefined) return stream;
      await this.waits();
    }
  }

  /** Resolves when there is a stream that nobody took. */
  async waits(): Promise<void> {
    while (this.#streams.length === 0) {
      await new Promise<void>((resolve) => {
        this.#arrived = resolve;
      });
    }
  }

  async close(): Promise<void> {
    for (const session of this.#connections) session.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async *#session(requests: AsyncIterable<SessionRequest>, authorization: string): AsyncIterable<SessionResponse> {
    if (this.refusal !== undefined) {
      this.#refusals += 1;
      this.#arrived();
      throw new ConnectError("not you", this.refusal);
    }
    const iterator = requests[Symbol.asyncIterator]();
    const first = await iterator.next();
    if (first.done === true || first.value.frame.case !== "hello")
      throw new ConnectError("no hello", Code.InvalidArgument);
    const connection = [...this.#connections].at(-1) as ServerHttp2Session;
    const stream = new PlayedStream(first.value.frame.value, authorization, connection);
    const read = async () => {
      try {
        for (;;) {
          const item = await iterator.next();
          if (item.done === true) break;
          stream.take(item.value.frame);
        }
      } catch {
        // A lost stream ends like any other here; the tests look at what came before.
      }
      stream.close();
    };
    const reading = read();
    this.#streams.push(stream);
    this.#arrived();
    yield* stream.responses();
    await reading;
  }
}

/** Randomness that leaves endpoints and addresses in the order in which they are given, and waits for nothing. */
export const inOrder: Random = { ...seededRandom(7), next: () => 0 };

/** A worker for a played server. */
export function playedWorker(
  endpoints: readonly string[],
  changes: Partial<WorkerOptions> = {},
  clock: Clock = systemClock(),
  random: Random = seededRandom(7),
  connections: Parameters<typeof assembleWorker>[3] = {},
): Worker {
  const options = { endpoints, joinToken: "join-me", name: "w1", slots: 2, ...changes };
  return assembleWorker(options, clock, random, connections);
}
