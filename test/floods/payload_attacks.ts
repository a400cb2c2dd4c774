// What is in the bytes: too large, too many, compressed a thousandfold, or nonsense. Called through attacks.ts.
// Two of them come from callers with credentials: a bomb on the API, and a worker that never stops talking.

import { gzipSync } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import { SessionRequestSchema } from "../../proto/gen/orloj/v1/worker_pb.ts";
import type { Attack } from "./attack.ts";
import { OPEN_PATH } from "./frame_attacks.ts";
import * as h2 from "./frames.ts";

const MIB = 1_048_576;
const BOMB_BYTES = 64 * MIB;
const BOMBS = 20;
/** Messages of a worker that one write holds, and all that are tried. */
const TOGETHER = 2_000;
const MESSAGES_MAX = 1_000_000;
const FRAME_MAX = 16_000;

const limits = { connections: 300, together: 4 } as const;

const frameOf = (frame: Parameters<typeof create<typeof SessionRequestSchema>>[1]) =>
  h2.message(toBinary(SessionRequestSchema, create(SessionRequestSchema, frame)));

/** DATA frames for bytes of any length; the windows are the server's business to enforce. */
function dataFrames(stream: number, bytes: Buffer, last: boolean): Buffer {
  const frames: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += FRAME_MAX) {
    const ends = last && at + FRAME_MAX >= bytes.length;
    frames.push(h2.frame("data", ends ? h2.END_STREAM : 0, stream, bytes.subarray(at, at + FRAME_MAX)));
  }
  return Buffer.concat(frames);
}

/** Requests with headers of 60 KB, 50 on each connection. */
function bigHeaders(acknowledges: boolean): Attack["run"] {
  return async (budget) => {
    const block = h2.callHeaders(OPEN_PATH, "localhost", { "x-big": "y".repeat(60_000) });
    await budget.lanes(async () => {
      const wire = await budget.wire("h2");
      if (acknowledges) wire?.answer();
      await wire?.write(h2.greeting());
      while (acknowledges && wire?.bytesRead === 0 && !wire.isClosed && !budget.over) await budget.pause(1);
      for (let stream = 1; stream < 100 && wire !== undefined && !wire.isClosed; stream += 2) {
        const frames = [h2.frame("headers", h2.END_STREAM, stream, block.subarray(0, FRAME_MAX))];
        for (let at = FRAME_MAX; at < block.length; at += FRAME_MAX) {
          const flags = at + FRAME_MAX >= block.length ? h2.END_HEADERS : 0;
          frames.push(h2.frame("continuation", flags, stream, block.subarray(at, at + FRAME_MAX)));
        }
        if (!(await wire.write(Buffer.concat(frames)))) return;
        budget.tally.sent += 1;
        await budget.pause(1);
      }
      wire?.destroy();
    });
  };
}

/** By name. */
export const PAYLOAD_ATTACKS = {
  big_headers: { ...{ on: () => true, offends: false, limits }, run: bigHeaders(false) },
  // Settings bind who acknowledged them: other code of the server refuses these headers.
  big_headers_acknowledged: { ...{ on: () => true, offends: false, limits }, run: bigHeaders(true) },
  big_headers_http1: {
    ...{ on: ({ http1 }) => http1, offends: true, limits },
    async run(budget) {
      await budget.lanes(async () => {
        const wire = await budget.wire("http/1.1");
        wire?.offends();
        await wire?.write("GET / HTTP/1.1\r\nhost: localhost\r\n");
        while (wire !== undefined && !budget.over) {
          if (!(await wire.write(`x-big: ${"y".repeat(8_000)}\r\n`))) return;
          budget.tally.sent += 1;
          await budget.pause(1);
        }
      });
    },
  },
  gzip_bomb: {
    ...{ on: ({ listener }) => listener === "api", offends: false, limits: { connections: 200, together: 4 } },
    async run(budget) {
      const { token } = budget.target;
      const bomb = gzipSync(Buffer.alloc(BOMB_BYTES));
      const head = `POST /orloj.v1.ManifestService/Validate HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${token}\r\n`;
      const type = `content-type: application/proto\r\ncontent-encoding: gzip\r\ncontent-length: ${bomb.length}\r\n\r\n`;
      await budget.lanes(async () => {
        const wire = await budget.wire("http/1.1");
        for (let bombs = 0; wire !== undefined && bombs < BOMBS && !budget.over; bombs += 1) {
          const before = wire.bytesRead;
          if (!(await wire.write(Buffer.concat([Buffer.from(head + type), bomb])))) return;
          budget.tally.sent += 1;
          while (wire.bytesRead === before && !wire.isClosed && !budget.over) await budget.pause(5);
        }
        wire?.destroy();
      });
    },
  },
  tiny_messages: {
    ...{ on: ({ listener }) => listener === "worker", offends: false, limits: { connections: 2, together: 2 } },
    async run(budget) {
      const authorization = `Bearer ${budget.target.token}`;
      const path = "/orloj.v1.WorkerService/Session";
      const hello = frameOf({
        frame: {
          case: "hello",
          value: { protocolVersion: 1, instanceId: "flood", workerName: "flood", slots: 1, runtimes: ["model"] },
        },
      });
      const credit = frameOf({ frame: { case: "credit", value: { freeSlots: 0, lastAssignSequence: 0n } } });
      const many = Buffer.concat(Array.from({ length: TOGETHER }, () => credit));
      await budget.lanes(async () => {
        const wire = await budget.wire("h2");
        if (wire === undefined) return;
        const window = wire.windows();
        const over = budget.hold().then(() => false);
        await wire.write(h2.greeting());
        await wire.write(h2.frame("headers", h2.END_HEADERS, 1, h2.callHeaders(path, "localhost", { authorization })));
        await wire.write(dataFrames(1, hello, false));
        while (!budget.over && !wire.isClosed && budget.tally.sent < MESSAGES_MAX) {
          if (!(await Promise.race([window.take(many.length), over]))) return;
          await wire.write(dataFrames(1, many, false));
          budget.tally.sent += TOGETHER;
        }
      });
    },
  },
  garbage: {
    ...{ on: () => true, offends: true, limits: { connections: 1_000, together: 10 } },
    async run(budget) {
      const noise = Buffer.from(Array.from({ length: 4_096 }, (_, index) => (index * 37 + 129) % 256));
      let turn = 0;
      await budget.lanes(async () => {
        turn += 1;
        // Before TLS or where the protocol would begin, and after a right beginning.
        const wire = await budget.wire(turn % 2 === 0 ? "raw" : "h2");
        wire?.offends();
        await wire?.write(turn % 4 === 1 ? Buffer.concat([h2.PREFACE, noise]) : noise);
        budget.tally.sent += 1;
        if (wire !== undefined) await Promise.race([wire.closed, budget.pause(2_000)]);
      });
    },
  },
} as const satisfies Readonly<Record<string, Attack>>;
