// Floods of HTTP/2 frames: each connection breaks a rule that the server counts, and is ended for it. Called through attacks.ts.

import { type Rate, TokenBucket } from "../../kit/token_bucket.ts";
import { RPC_LIMITS, rateOf } from "../../server/rpc/limits.ts";
import type { Attack, Budget } from "./attack.ts";
import * as h2 from "./frames.ts";
import type { Wire } from "./wire.ts";

/** A path that every listener answers without credentials. */
export const OPEN_PATH = "/grpc.health.v1.Health/Check";
/** Frames that are written together. */
const TOGETHER = 500;
const NOT_MORE = 4_000_000;
const PINGS = rateOf(RPC_LIMITS, "ping");

async function greeted(budget: Budget): Promise<Wire | undefined> {
  const wire = await budget.wire("h2");
  await wire?.write(h2.greeting());
  return wire;
}

interface FloodOptions {
  readonly reads?: boolean;
  /** What the server allows a connection of such frames; it offends with the first beyond that. Absent: with its first bytes. */
  readonly allowed?: Rate;
}

/** Writes the same bytes until the server closes the connection. */
function flood(
  bytesOf: (round: number) => Buffer,
  each: number,
  { reads = true, allowed }: FloodOptions = {},
): Attack["run"] {
  return (budget) =>
    budget.lanes(async () => {
      const wire = await greeted(budget);
      if (wire === undefined) return;
      if (!reads) wire.socket.pause();
      const left = allowed && new TokenBucket(allowed, performance.now());
      for (let round = 0; !budget.over && budget.tally.sent < NOT_MORE; round += 1) {
        const nowMs = performance.now();
        for (let frame = 0; frame < each; frame += 1) if (left?.take(nowMs) !== true) wire.offends();
        if (!(await wire.write(bytesOf(round)))) return;
        budget.tally.sent += each;
        await budget.pause(1);
      }
      // A paused socket does not see that it was closed.
      wire.socket.resume();
    });
}

const repeated = (bytes: Buffer, times: number) => Buffer.concat(Array.from({ length: times }, () => bytes));
const headersOf = (stream: number, flags: number) =>
  h2.frame("headers", flags, stream, h2.callHeaders(OPEN_PATH, "localhost"));

const limits = { connections: 200, together: 2 } as const;
const everywhere = () => true;

/** By name. */
export const FRAME_ATTACKS = {
  rapid_reset: {
    ...{ on: everywhere, offends: true, limits },
    run: flood((round) => {
      const frames: Buffer[] = [];
      for (let index = 0; index < TOGETHER; index += 1) {
        const stream = (round * TOGETHER + index) * 2 + 1;
        frames.push(headersOf(stream, h2.END_HEADERS | h2.END_STREAM), h2.reset(stream));
      }
      return Buffer.concat(frames);
    }, TOGETHER),
  },
  continuation_flood: {
    ...{ on: everywhere, offends: true, limits },
    run: flood((round) => {
      const more = repeated(h2.frame("continuation", 0, 1, h2.headerBlock({ "x-more": "y".repeat(100) })), TOGETHER);
      return round === 0 ? Buffer.concat([headersOf(1, 0), more]) : more;
    }, TOGETHER),
  },
  settings_flood: {
    ...{ on: everywhere, offends: true, limits },
    run: flood(() => repeated(h2.settings({ [h2.SETTING.initialWindow]: 65_535 }), TOGETHER), TOGETHER),
  },
  ping_flood: {
    ...{ on: everywhere, offends: true, limits },
    run: flood(() => repeated(h2.ping(), TOGETHER), TOGETHER, { allowed: PINGS }),
  },
  ping_flood_unread: {
    ...{ on: everywhere, offends: true, limits },
    run: flood(() => repeated(h2.ping(), TOGETHER), TOGETHER, { reads: false, allowed: PINGS }),
  },
  window_overflow: {
    ...{ on: everywhere, offends: true, limits: { connections: 500, together: 4 } },
    async run(budget) {
      await budget.lanes(async () => {
        const wire = await greeted(budget);
        if (wire === undefined) return;
        wire.offends();
        budget.tally.sent += 2;
        await wire.write(repeated(h2.windowUpdate(0, 0x7fff_ffff), 2));
        await Promise.race([wire.closed, budget.pause(2_000)]);
      });
    },
  },
  empty_data: {
    ...{ on: everywhere, offends: true, limits },
    run: flood((round) => {
      const empty = repeated(h2.frame("data", 0, 1), TOGETHER);
      return round === 0 ? Buffer.concat([headersOf(1, h2.END_HEADERS), empty]) : empty;
    }, TOGETHER),
  },
} as const satisfies Readonly<Record<string, Attack>>;
