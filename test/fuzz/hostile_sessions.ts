// Streams of hostile frames over real sockets to the worker port of a server. Called by frame_run.ts.
// A session counts only the frames that it wrote while the server still read it.

import { type ClientHttp2Session, connect } from "node:http2";
import { fromBinary } from "@bufbuild/protobuf";
import type { Random } from "../../kit/random.ts";
import { SessionResponseSchema } from "../../proto/gen/orloj/v1/worker_pb.ts";
import { brokenFrame, hostileFrame, soundFrame, soundHello } from "./frames.ts";
import { HostileValues } from "./hostile_values.ts";

const FRAMES_MAX = 40;
const SESSION_TIMEOUT_MS = 30_000;
/** Frames after which a session waits for what the server says: an open stream is not flooded into a closed one. */
const TOGETHER = 4;

export interface SessionResult {
  /** Frames written. */
  readonly frames: number;
  /** gRPC status at its end, "reset" if the stream broke, "timeout" if the server did nothing about it. */
  readonly status: string;
  readonly message: string;
  /** Tasks that the server handed out. */
  readonly leased: number;
  /** All that was written. */
  readonly written: Uint8Array;
}

/** Connections to the worker port, made again when the server ends one. */
export class Dialer {
  readonly #origin: string;
  readonly #token: string;
  #http2: ClientHttp2Session | undefined;

  constructor(origin: string, token: string) {
    this.#origin = origin;
    this.#token = token;
  }

  /** A stream of WorkerService.Session; encoding names a compression that the server does not take. */
  stream(encoding: string | undefined) {
    if (this.#http2 === undefined || this.#http2.closed || this.#http2.destroyed) {
      this.#http2 = connect(this.#origin);
      this.#http2.on("error", () => undefined);
    }
    return this.#http2.request({
      ":method": "POST",
      ":path": "/orloj.v1.WorkerService/Session",
      "content-type": "application/grpc+proto",
      te: "trailers",
      authorization: `Bearer ${this.#token}`,
      ...(encoding !== undefined && { "grpc-encoding": encoding }),
    });
  }

  close() {
    this.#http2?.destroy();
  }
}

/** One session, from its hello to its end. */
export function hostileSession(dialer: Dialer, random: Random, name: string): Promise<SessionResult> {
  const known: string[] = [];
  const values = new HostileValues(random, () => known.slice(-6));
  const stream = dialer.stream(random.next() < 0.02 ? "gzip" : undefined);
  const written: Buffer[] = [];
  let status = "reset";
  let message = "";
  let open = true;
  let leased = 0;
  let left = FRAMES_MAX;
  let received = Buffer.alloc(0);
  const write = (frame: Buffer) => {
    written.push(frame);
    stream.write(frame);
  };
  const note = (headers: { [name: string]: unknown }) => {
    if (headers["grpc-status"] !== undefined) status = String(headers["grpc-status"]);
    message = decodeURIComponent(String(headers["grpc-message"] ?? ""));
  };
  stream.on("response", note);
  stream.on("trailers", note);
  stream.on("error", () => undefined);
  stream.on("data", (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
    while (received.length >= 5 && received.length >= 5 + received.readUInt32BE(1)) {
      const end = 5 + received.readUInt32BE(1);
      const { frame } = fromBinary(SessionResponseSchema, received.subarray(5, end));
      received = received.subarray(end);
      if (frame.case === "welcome") known.push(frame.value.sessionId);
      if (frame.case !== "assign") continue;
      for (const { taskId, token, viewDigest } of frame.value.assignments) known.push(taskId, token, viewDigest);
      leased += frame.value.assignments.length;
    }
  });
  return new Promise((resolve) => {
    const finish = () => {
      if (!open) return;
      open = false;
      clearTimeout(timer);
      stream.destroy();
      resolve({ frames: written.length, status, message, leased, written: Buffer.concat(written) });
    };
    const timer = setTimeout(() => {
      status = "timeout";
      finish();
    }, SESSION_TIMEOUT_MS);
    stream.once("end", finish);
    stream.once("close", finish);
    const greeted = random.next() < 0.95;
    if (greeted) {
      write(soundHello(name, 5));
      write(soundFrame({ case: "credit", value: { freeSlots: 5, lastAssignSequence: 0n } }));
      // What follows waits for the welcome, and often for tasks.
      stream.once("data", () => setTimeout(part, random.next() < 0.5 ? 0 : 30));
    } else part();
    function part() {
      for (let count = 0; open && count < TOGETHER && left > 0; count += 1, left -= 1) {
        if (random.next() > 0.015) write(hostileFrame(random, values));
        else {
          write(brokenFrame(random, values));
          left = 0;
        }
      }
      if (!open) return;
      if (left > 0) setTimeout(part, 3);
      else stream.end();
    }
  });
}
