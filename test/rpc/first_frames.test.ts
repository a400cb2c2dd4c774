// What the first bytes of a connection say. The listeners that act on it: limits.test.ts, hostile_peers.test.ts.

import { expect, test } from "vitest";
import { protocolOf, streamsIn } from "../../server/rpc/first_frames.ts";
import * as h2 from "../floods/frames.ts";

test.each<[string, ReturnType<typeof protocolOf>]>([
  ["", undefined],
  ["PRI * HTTP/2.0\r\n", undefined],
  [h2.PREFACE.toString("latin1"), "http2"],
  [`${h2.PREFACE.toString("latin1")}anything`, "http2"],
  ["P", undefined],
  ["POST / HTTP/1.1\r\n", "http1"],
  ["\u0016\u0003\u0001", "http1"],
])("%j is %s", (text, protocol) => {
  expect(protocolOf(Buffer.from(text, "latin1"))).toBe(protocol);
});

test("streams are counted by their HEADERS frames, also the one that goes on in the next read", () => {
  const headers = h2.frame("headers", h2.END_HEADERS, 1, h2.callHeaders("/a/B", "localhost"));
  const all = Buffer.concat([h2.greeting({ [h2.SETTING.initialWindow]: 1 }), headers, h2.reset(1), h2.ping(), headers]);
  expect(streamsIn(all)).toBe(2);
  expect(streamsIn(all.subarray(0, all.length - 1))).toBe(2);
  expect(streamsIn(all.subarray(0, all.length - headers.length + 8))).toBe(1);
  expect(streamsIn(h2.PREFACE)).toBe(0);
});

test("what is no frame is walked through once, and counts for what it looks like", () => {
  expect(streamsIn(Buffer.concat([h2.PREFACE, Buffer.alloc(65_536, 0xff)]))).toBe(0);
  expect(streamsIn(Buffer.concat([h2.PREFACE, Buffer.alloc(9_000)]))).toBe(0);
});
