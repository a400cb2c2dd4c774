// One worker stream over TLS, spoken by hand: with any certificate, from any address of this machine, with any version.
// Used by worker_mtls.test.ts. Tells how it ended; never throws for what the server does.

import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from "node:http2";
import { connect as connectTcp } from "node:net";
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from "node:tls";
import { fromBinary } from "@bufbuild/protobuf";
import { type SessionResponse, SessionResponseSchema } from "../../proto/gen/orloj/v1/worker_pb.ts";
import { soundFrame, soundHello } from "../fuzz/frames.ts";

const WAIT_MS = 30_000;

/** How to connect. */
export interface Dialling {
  readonly port: number;
  /** Address of this machine that the connection comes from. */
  readonly from: string;
  readonly ca: string;
  readonly cert?: string;
  readonly key?: string;
  readonly maxVersion?: "TLSv1.2";
  /** A session to resume. */
  readonly session?: Buffer;
  readonly plaintext?: boolean;
  /** Of the worker, in Hello. */
  readonly name?: string;
  /** Any method; the worker's session by default. */
  readonly path?: string;
}

type Frame = SessionResponse["frame"];
type Case = NonNullable<Frame["case"]>;
type Value<C extends Case> = Extract<Frame, { case: C }>["value"];

/** See the file header. */
export class SecuredStream {
  readonly #frames: Frame[] = [];
  readonly #waiting = new Set<() => void>();
  readonly #session: ClientHttp2Session;
  readonly #stream: ClientHttp2Stream;
  readonly #socket: TLSSocket | undefined;
  #received = Buffer.alloc(0);
  /** grpc-status, HTTP status, or "closed"; undefined while it lives. */
  end: string | undefined;
  message = "";
  /** What the server gave for a resumption, if anything. */
  ticket: Buffer | undefined;
  isResumed = false;

  constructor(dialling: Dialling) {
    const { port, from, plaintext = false, name = "w1", path = "/orloj.v1.WorkerService/Session" } = dialling;
    this.#socket = plaintext ? undefined : this.#secure(dialling);
    const createConnection = () => this.#socket ?? connectTcp({ host: "127.0.0.1", port, localAddress: from });
    this.#session = connectHttp2(`${plaintext ? "http" : "https"}://127.0.0.1:${port}`, { createConnection });
    this.#session.on("error", () => this.#ended("closed"));
    this.#session.on("close", () => this.#ended("closed"));
    const headers = { ":method": "POST", ":path": path, "content-type": "application/grpc+proto", te: "trailers" };
    this.#stream = this.#session.request(headers);
    for (const event of ["response", "trailers"] as const) this.#stream.on(event, (told) => this.#note(told));
    this.#stream.on("data", (chunk: Buffer) => this.#take(chunk));
    this.#stream.on("error", () => this.#ended("closed"));
    this.#stream.on("close", () => this.#ended("closed"));
    this.#stream.write(soundHello(name, 1));
  }

  send(frame: Parameters<typeof soundFrame>[0]): void {
    this.#stream.write(soundFrame(frame));
  }

  /** The next frame of a kind, or undefined once the stream has ended. */
  async take<C extends Case>(kind: C): Promise<Value<C> | undefined> {
    const found = () => this.#frames.findIndex((frame) => frame.case === kind);
    await this.#until(() => this.end !== undefined || found() >= 0);
    const at = found();
    return this.#frames.splice(at, at < 0 ? 0 : 1)[0]?.value as Value<C> | undefined;
  }

  /** "welcome", or how the stream ended. */
  async outcome(): Promise<string> {
    await this.#until(() => this.end !== undefined || this.#frames.some((frame) => frame.case === "welcome"));
    return this.end ?? "welcome";
  }

  /** Resolves when the stream has ended, with how. */
  async ended(): Promise<string> {
    await this.#until(() => this.end !== undefined);
    return this.end as string;
  }

  close(): void {
    this.#session.destroy();
    this.#socket?.destroy();
  }

  #secure({ port, from, ca, cert, key, maxVersion, session }: Dialling): TLSSocket {
    const options: ConnectionOptions = {
      ...{ host: "127.0.0.1", port, localAddress: from, ca, ALPNProtocols: ["h2"] },
      // What a peer would settle for is its own affair: the server is to refuse.
      ciphers: "DEFAULT:@SECLEVEL=0",
      ...(cert !== undefined && { cert }),
      ...(key !== undefined && { key }),
      ...(maxVersion !== undefined && { maxVersion }),
      ...(session !== undefined && { session }),
    };
    const socket = connectTls(options);
    socket.on("error", () => this.#ended("closed"));
    socket.on("session", (ticket: Buffer) => {
      this.ticket = ticket;
    });
    socket.once("secureConnect", () => {
      this.isResumed = socket.isSessionReused();
    });
    return socket;
  }

  #note(headers: { readonly [name: string]: unknown }): void {
    const status = headers["grpc-status"];
    if (typeof headers["grpc-message"] === "string") this.message = decodeURIComponent(headers["grpc-message"]);
    if (status !== undefined) this.#ended(String(status));
    else if (headers[":status"] !== undefined && headers[":status"] !== 200) this.#ended(`HTTP ${headers[":status"]}`);
  }

  #take(chunk: Buffer): void {
    this.#received = Buffer.concat([this.#received, chunk]);
    while (this.#received.length >= 5 && this.#received.length >= 5 + this.#received.readUInt32BE(1)) {
      const size = 5 + this.#received.readUInt32BE(1);
      this.#frames.push(fromBinary(SessionResponseSchema, this.#received.subarray(5, size)).frame);
      this.#received = this.#received.subarray(size);
    }
    this.#tell();
  }

  #ended(how: string): void {
    if (this.end !== undefined) return;
    this.end = how;
    this.#tell();
    this.close();
  }

  #tell(): void {
    for (const look of this.#waiting) look();
  }

  async #until(isDone: () => boolean): Promise<void> {
    if (isDone()) return;
    await new Promise<void>((resolve, reject) => {
      const done = (error?: Error) => {
        clearTimeout(timer);
        this.#waiting.delete(look);
        if (error) reject(error);
        else resolve();
      };
      const look = () => {
        if (isDone()) done();
      };
      const timer = setTimeout(() => done(new Error(`nothing came within ${WAIT_MS} ms`)), WAIT_MS);
      this.#waiting.add(look);
    });
  }
}
