// The parts of the floods that could hide a failure: what is judged, and that the attacker's frames are frames. `npm run floods` is the run.

import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { Budget } from "./attack.ts";
import * as h2 from "./frames.ts";
import type { Pace } from "./healthy.ts";
import { type Entry, violationsOf } from "./verdict.ts";
import type { Target } from "./wire.ts";

const pace = (p99: number, more: Partial<Pace> = {}): Pace => ({
  calls: 100,
  failed: 0,
  p50_ms: 1,
  p99_ms: p99,
  ...more,
});
const fine = { before: pace(100), during: pace(250), after: pace(100) };
const SOUND: Entry = {
  ...{ attack: "ping_flood", listener: "api", offends: true, seconds: 4 },
  ...{ connections: 10, closed: 10, still_open: 0, gone_ms_max: 900, sent: 1_000, open_max: 2 },
  healthy: { api: fine, worker: fine, ops: fine },
  ...{ rss_growth_mib: 40, rss_left_mib: 5, settled_ms: 100, exits: 0 },
  files: { before: 40, most: 90, after: 41 },
};

test("a sound attack has no violation, and a slow machine alone makes none", () => {
  expect(violationsOf(SOUND)).toEqual([]);
  const noisy = { before: pace(2), during: pace(200), after: pace(200) };
  expect(violationsOf({ ...SOUND, healthy: { ...SOUND.healthy, api: noisy } })).toEqual([]);
});

test.each<[string, Partial<Entry>, RegExp]>([
  ["a server that ended", { exits: 1 }, /the server ended/],
  ["a slow client", { healthy: { ...SOUND.healthy, ops: { ...fine, during: pace(301) } } }, /p99 of ops during: 301/],
  [
    "a client that stays slow",
    { healthy: { ...SOUND.healthy, api: { ...fine, after: pace(999) } } },
    /p99 of api after/,
  ],
  [
    "a failed call",
    { healthy: { ...SOUND.healthy, worker: { ...fine, during: pace(1, { failed: 2 }) } } },
    /2 of 100 healthy calls of worker failed during/,
  ],
  [
    "a client that was not served at all",
    { healthy: { ...SOUND.healthy, api: { ...fine, during: pace(0, { calls: 0 }) } } },
    /api was not called during/,
  ],
  ["memory", { rss_growth_mib: 100 }, /memory grew by 100/],
  ["memory that stays", { rss_left_mib: 50 }, /did not come back/],
  ["files that stay", { files: { before: 40, most: 90, after: 53 } }, /open files went from 40 to 53/],
  ["an offender who stays", { still_open: 1 }, /1 offenders were still connected/],
  ["an offender who is let be for long", { gone_ms_max: 6_501 }, /connected for 6501 ms/],
  ["an attack that is none", { sent: 0, connections: 0 }, /nothing was sent/],
])("%s is a violation", (_what, broken, message) => {
  expect(violationsOf({ ...SOUND, ...broken })).toEqual([expect.stringMatching(message)]);
});

test("the frames are what HTTP/2 servers read, and a budget ends and closes what it opened", async () => {
  const server = createServer();
  let seen: { path: string | undefined; big: number; body: string } | undefined;
  const sockets = new Set<unknown>();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  server.on("stream", (stream, headers) => {
    let body = "";
    stream.on("error", () => undefined);
    stream.on("data", (chunk: Buffer) => {
      body += chunk.toString("latin1");
      seen = { path: headers[":path"], big: String(headers["x-big"]).length, body };
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => new Promise<void>((resolve) => server.close(() => resolve())));
  const { port } = server.address() as AddressInfo;
  const target: Target = {
    ...{ listener: "api", host: "127.0.0.1", port, tls: false, http1: false, from: "127.0.0.1", token: "" },
  };
  const budget = new Budget(target, { seconds: 10, connections: 1, together: 1 });
  const wire = await budget.wire();
  expect(wire).toBeDefined();
  expect(await budget.wire()).toBeUndefined();
  wire?.answer();
  const block = h2.callHeaders("/a/B", "localhost", { "x-big": "y".repeat(300) });
  const body = h2.message(Buffer.from("hi"));
  await wire?.write(Buffer.concat([h2.greeting(), h2.ping(), h2.frame("headers", h2.END_HEADERS, 1, block)]));
  await wire?.write(h2.frame("data", 0, 1, body));
  while (seen === undefined) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(seen).toEqual({ path: "/a/B", big: 300, body: body.toString("latin1") });
  expect(wire?.isClosed).toBe(false);
  const tally = await budget.end(false);
  expect(tally).toMatchObject({ connections: 1, closed: 0, still_open: 0, open_max: 1 });
  while (sockets.size > 0) await new Promise((resolve) => setTimeout(resolve, 5));
});
