// What is held: connections and streams that are opened and left, answers that nobody reads, requests that never end.
// Called through attacks.ts. The server cannot know each for an attack at once: it must not suffer, and closes what has a time limit.

import { create, toBinary } from "@bufbuild/protobuf";
import { ServerReflectionRequestSchema } from "../../proto/gen/grpc/reflection/v1/reflection_pb.ts";
import type { Attack, Budget } from "./attack.ts";
import { OPEN_PATH } from "./frame_attacks.ts";
import * as h2 from "./frames.ts";

/** Streams of a connection, as many as the server allows. */
const STREAMS = 100;
const REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const QUESTIONS = 40;
/** Pause between the bytes of a slow one. */
const DRIP_MS = 500;

const question = h2.message(
  toBinary(
    ServerReflectionRequestSchema,
    create(ServerReflectionRequestSchema, {
      messageRequest: { case: "fileContainingSymbol", value: "orloj.v1.WorkflowService" },
    }),
  ),
);

const streams = (frames: (stream: number) => Buffer) =>
  Buffer.concat(Array.from({ length: STREAMS }, (_, index) => frames(index * 2 + 1)));

interface Opening {
  readonly protocol: "h2" | "http/1.1" | "raw";
  /** What counts as sent on each connection. */
  readonly sent: number;
  /** Answers pings, as a client that wants to stay does. */
  readonly answers?: boolean;
}

/** Opens as many connections as there are, each with these bytes. */
async function openAll(budget: Budget, bytes: Buffer, of: Opening): Promise<void> {
  await budget.lanes(async () => {
    const wire = await budget.wire(of.protocol);
    if (wire === undefined) return await budget.pause(5);
    if (of.answers === true) wire.answer();
    if (bytes.length > 0) await wire.write(bytes);
    budget.tally.sent += of.sent;
  });
}

/** Opens them and holds them. */
function held(bytes: Buffer, of: Opening): Attack["run"] {
  return async (budget) => {
    await openAll(budget, bytes, of);
    await budget.hold();
  };
}

/** Opens them, and then sends a byte after the other. */
function dripping(first: Buffer, next: Buffer, protocol: "h2" | "http/1.1"): Attack["run"] {
  return async (budget) => {
    await openAll(budget, first, { protocol, sent: 1 });
    while (!budget.over) {
      await Promise.all(budget.open.map((wire) => wire.write(next)));
      await budget.pause(DRIP_MS);
    }
  };
}

const many = { connections: 1_000, together: 20 } as const;
const some = { connections: 100, together: 10 } as const;

/** By name. */
export const HELD_ATTACKS = {
  idle_tcp: {
    ...{ on: () => true, offends: true, limits: many },
    run: held(Buffer.alloc(0), { protocol: "raw", sent: 0 }),
  },
  idle_http2: {
    ...{ on: () => true, offends: false, limits: many },
    run: held(h2.greeting(), { protocol: "h2", sent: 0, answers: true }),
  },
  connection_flood: {
    ...{ on: () => true, offends: false, limits: { connections: 4_000, together: 50 } },
    run: held(h2.greeting(), { protocol: "h2", sent: 0, answers: true }),
  },
  held_streams: {
    ...{ on: () => true, offends: false, limits: { connections: 600, together: 10 } },
    run: held(
      Buffer.concat([
        h2.greeting(),
        streams((stream) => h2.frame("headers", h2.END_HEADERS, stream, h2.callHeaders(OPEN_PATH, "localhost"))),
      ]),
      { protocol: "h2", sent: STREAMS, answers: true },
    ),
  },
  zero_window: {
    ...{ on: () => true, offends: false, limits: some },
    run: held(
      Buffer.concat([
        h2.greeting({ [h2.SETTING.initialWindow]: 0 }),
        streams((stream) =>
          Buffer.concat([
            h2.frame("headers", h2.END_HEADERS, stream, h2.callHeaders(REFLECTION, "localhost")),
            h2.frame("data", 0, stream, Buffer.concat(Array.from({ length: QUESTIONS }, () => question))),
          ]),
        ),
      ]),
      { protocol: "h2", sent: STREAMS, answers: true },
    ),
  },
  slow_headers: {
    ...{ on: ({ http1 }) => http1, offends: true, limits: { connections: 500, together: 20 } },
    run: dripping(Buffer.from("GET / HTTP/1.1\r\nhost: localhost\r\nx-slow: "), Buffer.from("y"), "http/1.1"),
  },
  slow_frame: {
    ...{ on: () => true, offends: false, limits: { connections: 500, together: 20 } },
    // Half a header block: the rest comes byte by byte.
    run: dripping(
      Buffer.concat([h2.greeting(), h2.frame("headers", h2.END_HEADERS, 1, Buffer.alloc(10_000)).subarray(0, 20)]),
      Buffer.from([0]),
      "h2",
    ),
  },
  slow_body: {
    ...{ on: () => true, offends: false, limits: some },
    run: dripping(
      Buffer.concat([
        h2.greeting(),
        h2.frame("headers", h2.END_HEADERS, 1, h2.callHeaders(OPEN_PATH, "localhost")),
        h2.frame("data", 0, 1, Buffer.from([0, 0, 0, 255, 255])),
      ]),
      h2.frame("data", 0, 1, Buffer.from([1])),
      "h2",
    ),
  },
} as const satisfies Readonly<Record<string, Attack>>;
