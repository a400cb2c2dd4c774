// The limits of a listener that concern peers, calls and callers: what is one too many or too slow is ended, the others are served.
// Raw sockets against real listeners; times by a manual clock.

import { createHook } from "node:async_hooks";
import { once } from "node:events";
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
  constants,
  type OutgoingHttpHeaders,
} from "node:http2";
import type { Socket } from "node:net";
import { createClient } from "@connectrpc/connect";
import { afterEach, expect, test } from "vitest";
import { WorkerService } from "../../proto/gen/orloj/v1/worker_pb.ts";
import { WorkflowService } from "../../proto/gen/orloj/v1/workflow_pb.ts";
import { OrlojError } from "../../sdk/index.ts";
import type { Principal } from "../../server/commands/views.ts";
import type { ListenersOptions } from "../../server/rpc/listeners.ts";
import * as h2 from "../floods/frames.ts";
import { type ManualClock, manualClock } from "./manual_clock.ts";
import { type Rig, readAll, startRig } from "./rig.ts";

const HEALTH = "/grpc.health.v1.Health/Check";
const ANN: Principal = { id: "ann", kind: "user", groups: [], claims: {}, method: "token", roles: ["invoker"] };
let rig: Rig;
let clock: ManualClock;
const sessions: ClientHttp2Session[] = [];

async function start(limits: ListenersOptions["limits"], more: Partial<ListenersOptions> = {}) {
  clock = manualClock();
  rig = await startRig({ ...more, clock, limits: { drainMs: 1, closeMs: 1, ...limits } });
  rig.plane.principals.set("tok-ann", ANN);
}
afterEach(async () => {
  for (const session of sessions.splice(0)) session.destroy();
  await rig.close();
});

function connected(port: "api" | "worker" = "api"): ClientHttp2Session {
  const session = connectHttp2(`http://127.0.0.1:${rig.ports[port]}`);
  session.on("error", () => undefined);
  sessions.push(session);
  return session;
}

function call(session: ClientHttp2Session, path = HEALTH): ClientHttp2Stream {
  const stream = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
  });
  stream.on("error", () => undefined);
  stream.resume();
  return stream;
}

const closed = (stream: ClientHttp2Stream | ClientHttp2Session) =>
  stream.destroyed ? Promise.resolve() : new Promise<void>((resolve) => stream.once("close", () => resolve()));
const runs = (token = "tok-admin") => createClient(WorkflowService, rig.transport({ token }));
const reasonOf = (promise: Promise<unknown>) =>
  promise.then(() => "OK").catch((error) => OrlojError.from(error).reason);
const reasons = () => rig.plane.refusals.map(({ reason, listener }) => `${listener} ${reason}`);

/** Resolves once these bytes have come. */
async function seen(socket: Socket, bytes: Buffer): Promise<void> {
  let all = Buffer.alloc(0);
  while (!all.includes(bytes)) {
    const [chunk] = (await once(socket, "data")) as [Buffer];
    all = Buffer.concat([all, chunk]);
  }
}

// No other timer of a listener is of this length.
const PING_MS = 7_000;

/** Lets the clock go on ping by ping, each once the one before was answered. One connection at a time. */
async function goOn(pings: number) {
  for (let ping = 0; ping < pings; ping += 1) {
    await clock.armed(PING_MS);
    clock.advance(PING_MS);
  }
}

test("connections of one peer beyond its share are closed at once and recorded, those that are there are served", async () => {
  await start({ connectionsPerPeerMax: 3 });
  const session = connected();
  await once(session, "remoteSettings");
  const sockets = Array.from({ length: 4 }, () => rig.raw("api", "P"));
  await Promise.race(sockets.map((socket) => readAll(socket)));
  await rig.plane.until(() => rig.plane.refusals.length > 0);
  expect(reasons()).toContain("api CONNECTION_LIMIT");
  const answered = call(session, "/nothing");
  const [headers] = await once(answered, "response");
  expect(headers[":status"]).toBe(404);
});

test("a call beyond those that a peer may have open is refused as not processed, and another one when one has ended", async () => {
  await start({ callsPerPeerMax: 2 });
  const session = connected();
  const [first, second] = [call(session), call(session)];
  await once(session, "remoteSettings");
  const third = call(session);
  await closed(third);
  expect(third.rstCode).toBe(constants.NGHTTP2_REFUSED_STREAM);
  const http1 = await fetch(`http://127.0.0.1:${rig.ports.api}${HEALTH}`, { method: "POST", body: "{}" });
  expect([http1.status, http1.headers.get("retry-after")]).toEqual([503, "1"]);
  expect(await http1.json()).toMatchObject({ code: "unavailable" });
  // Each listener counts for itself.
  expect((await fetch(`http://127.0.0.1:${rig.ports.ops}/healthz`)).status).toBe(200);
  first.close(constants.NGHTTP2_CANCEL);
  await closed(first);
  const again = call(session, "/nothing");
  const [headers] = await once(again, "response");
  expect(headers[":status"]).toBe(404);
  expect(second.destroyed).toBe(false);
  expect(reasons()).toContain("api CALL_LIMIT");
});

test("a new HTTP/2 connection of a peer without a call left is told to come again before its streams are looked at", async () => {
  await start({ callsPerPeerMax: 1 });
  const session = connected();
  const held = call(session);
  await once(session, "remoteSettings");
  // The second one is refused: the first one counts by now.
  await closed(call(session));
  const socket = rig.raw("api", h2.greeting());
  // SETTINGS, and GOAWAY: no stream was processed, no error.
  const frames = Buffer.concat([h2.frame("settings", 0, 0), h2.frame("goaway", 0, 0, Buffer.alloc(8))]);
  expect(Buffer.from(await readAll(socket), "latin1")).toEqual(frames);
  expect(reasons()).toContain("api CALL_LIMIT");
  const away = call(connected());
  await closed(away);
  expect(away.rstCode).toBe(constants.NGHTTP2_REFUSED_STREAM);
  held.close(constants.NGHTTP2_CANCEL);
  await closed(held);
  const [headers] = await once(call(connected(), "/nothing"), "response");
  expect(headers[":status"]).toBe(404);
});

test("HTTP/2 on the operations listener is told that HTTP/1.1 is spoken there", async () => {
  await start({});
  const frames = Buffer.concat([
    h2.frame("settings", 0, 0),
    h2.frame("goaway", 0, 0, Buffer.from([0, 0, 0, 0, 0, 0, 0, 0x0d])),
  ]);
  expect(Buffer.from(await readAll(rig.raw("ops", h2.greeting())), "latin1")).toEqual(frames);
  expect((await fetch(`http://127.0.0.1:${rig.ports.ops}/healthz`)).status).toBe(200);
});

test("a request whose body does not come is reset after its time, a stream that is written to is not", async () => {
  await start({ requestMs: 8_000 });
  const [api, worker] = [connected(), connected("worker")];
  const slow = call(api);
  slow.write(Buffer.from([0, 0, 0]));
  const stream = worker.request({
    ...{ ":method": "POST", ":path": "/orloj.v1.WorkerService/Session", "content-type": "application/grpc" },
    ...{ te: "trailers", authorization: "Bearer tok-worker" },
  });
  stream.on("error", () => undefined);
  await rig.plane.until(() => rig.plane.workers.length === 1);
  await clock.armed(1_000);
  clock.advance(7_999);
  expect(slow.destroyed).toBe(false);
  clock.advance(1_001);
  await closed(slow);
  expect(slow.rstCode).toBe(constants.NGHTTP2_CANCEL);
  expect(stream.destroyed).toBe(false);
});

test("an answer that is not read ends its call after its time", async () => {
  await start({ answerMs: 6_000, requestMs: 60_000 });
  const socket = rig.raw(
    "api",
    Buffer.concat([
      h2.greeting({ [h2.SETTING.initialWindow]: 0 }),
      h2.frame("headers", h2.END_HEADERS | h2.END_STREAM, 1, h2.callHeaders("/nothing", "localhost")),
    ]),
  );
  let seen = Buffer.alloc(0);
  socket.on("data", (chunk: Buffer) => {
    seen = Buffer.concat([seen, chunk]);
  });
  const reset = Buffer.from([0, 0, 4, 3, 0, 0, 0, 0, 1]);
  while (!seen.includes(Buffer.from([1, 4, 0, 0, 0, 1]))) await once(socket, "data");
  await clock.armed(1_000);
  for (let second = 0; second < 6; second += 1) clock.advance(1_000);
  expect(seen.includes(reset)).toBe(false);
  clock.advance(1_000);
  while (!seen.includes(reset)) await once(socket, "data");
});

test.each<[string, OutgoingHttpHeaders]>([
  ["a path that nobody serves", { ":method": "POST", ":path": "/nothing" }],
  ["CONNECT", { ":method": "CONNECT", ":authority": "localhost:1" }],
  ["an expectation that nobody knows", { ":method": "POST", ":path": "/nothing", expect: "a-miracle" }],
])("%s does not hold a stream open", async (_what, headers) => {
  await start({});
  const session = connected();
  const stream = session.request(headers, { endStream: false });
  stream.on("error", () => undefined);
  stream.resume();
  await once(stream, "response");
  await clock.armed(1_000);
  clock.advance(1_000);
  await closed(stream);
});

test.each([
  ["PING", h2.ping(), "PING_FLOOD", { pingBurst: 20, pingRate: 1 }],
  ["SETTINGS", h2.settings(), "SETTINGS_FLOOD", { settingsBurst: 20, settingsRate: 1 }],
])(
  "more %s frames than a client has reason for end the connection, and are recorded",
  async (_what, bytes, reason, limits) => {
    await start(limits);
    const flood = (times: number) => Buffer.concat(Array.from({ length: times }, () => bytes));
    const right = rig.raw("worker", Buffer.concat([h2.greeting(), flood(15)]));
    const wrong = rig.raw("worker", Buffer.concat([h2.greeting(), flood(30)]));
    await readAll(wrong);
    expect(right.destroyed).toBe(false);
    expect(reasons()).toEqual([`worker ${reason}`]);
    expect(rig.log).toContainEqual(expect.objectContaining({ event: "rpc.connection_ended", listener: "worker" }));
  },
);

/** Calls on a connection without one, and what is said about each of their streams. */
const opened = (times: number, ...more: ((stream: number) => Buffer)[]) =>
  Buffer.concat(
    Array.from({ length: times }, (_, index) => index * 2 + 1).flatMap((stream) => [
      h2.frame("headers", h2.END_HEADERS | h2.END_STREAM, stream, h2.callHeaders(HEALTH, "localhost")),
      ...more.map((bytesOf) => bytesOf(stream)),
    ]),
  );

test("resets beyond what a client has reason for end the connection of one who does not listen either, and are recorded", async () => {
  await start({ streamResetBurst: 20, streamResetRate: 1 });
  const right = rig.raw("api", Buffer.concat([h2.greeting(), opened(15, h2.reset)]));
  await readAll(rig.raw("api", Buffer.concat([h2.greeting(), opened(60, h2.reset)])));
  expect(right.destroyed).toBe(false);
  expect(reasons()).toEqual(["api RESET_FLOOD"]);
});

/** Streams that the server made while something was done. */
async function streamsMadeIn(work: () => Promise<unknown>): Promise<number> {
  let made = 0;
  const init = (_id: number, type: string) => {
    if (type === "HTTP2STREAM") made += 1;
  };
  const hook = createHook({ init }).enable();
  await work().finally(() => hook.disable());
  return made;
}

test("a flood of resets ends in the middle of a read: hardly more streams are made than may be reset", async () => {
  await start({ streamResetBurst: 20, streamResetRate: 1 });
  const made = await streamsMadeIn(async () => {
    const socket = rig.raw("worker", h2.greeting());
    await once(socket, "data");
    socket.write(opened(400, h2.reset));
    await readAll(socket);
  });
  expect(made).toBeGreaterThan(20);
  expect(made).toBeLessThan(30);
  expect(reasons()).toEqual(["worker RESET_FLOOD"]);
});

test("a connection that begins with more streams than it may ever have open is ended before one is made, one that begins with some is served", async () => {
  await start({ streamsMax: 20, strayFramesMax: 10 });
  const made = await streamsMadeIn(async () => {
    const text = await readAll(rig.raw("api", Buffer.concat([h2.greeting(), opened(31)])));
    // GOAWAY: no stream was processed, ENHANCE_YOUR_CALM.
    expect(Buffer.from(text, "latin1").subarray(-8)).toEqual(Buffer.from([0, 0, 0, 0, 0, 0, 0, 0x0b]));
  });
  expect([made, reasons()]).toEqual([0, ["api STREAM_FLOOD"]]);
  const right = rig.raw("api", Buffer.concat([h2.greeting(), opened(20)]));
  // The end of an answer: trailers that end the last stream.
  await seen(right, Buffer.from([h2.END_HEADERS | h2.END_STREAM, 0, 0, 0, 39]));
});

test("headers over the limit end the connection of a peer who does not acknowledge the settings, and are recorded", async () => {
  await start({});
  const call = (bytes: number) => {
    const block = h2.callHeaders(HEALTH, "localhost", { "x-big": "y".repeat(bytes) });
    return Buffer.concat([
      h2.frame("headers", h2.END_STREAM, 1, block.subarray(0, 10_000)),
      h2.frame("continuation", h2.END_HEADERS, 1, block.subarray(10_000)),
    ]);
  };
  const right = rig.raw("api", Buffer.concat([h2.greeting(), call(15_000)]));
  await seen(right, Buffer.from([h2.END_HEADERS | h2.END_STREAM, 0, 0, 0, 1]));
  expect(reasons()).toEqual([]);
  const text = await readAll(rig.raw("api", Buffer.concat([h2.greeting(), call(17_000)])));
  expect(Buffer.from(text, "latin1").includes(Buffer.from([0, 0, 0, 0x0b]))).toBe(true);
  expect(reasons()).toEqual(["api HEADER_FLOOD"]);
});

test("a peer that does not take in the end of its session loses its socket all the same", async () => {
  await start({ pingBurst: 5, pingRate: 1 });
  const socket = rig.raw("worker", h2.greeting());
  await once(socket, "data");
  // Half open: it says nothing more, reads nothing, and does not close.
  socket.pause();
  socket.write(Buffer.concat(Array.from({ length: 30 }, h2.ping)));
  await rig.plane.until(() => rig.plane.refusals.length > 0);
  clock.advance(1_000);
  clock.advance(1_000);
  socket.resume();
  await new Promise((resolve) => socket.once("close", resolve));
});

test("a connection without a call is closed politely once it was idle for long", async () => {
  await start({ idleMs: 2 * PING_MS + 1, pingIntervalMs: PING_MS });
  const session = connected("worker");
  const goaway = once(session, "goaway");
  await goOn(2);
  await clock.armed(PING_MS);
  expect(session.destroyed).toBe(false);
  await goOn(1);
  const [code] = await goaway;
  expect(code).toBe(constants.NGHTTP2_NO_ERROR);
  await closed(session);
});

test("a connection with a call is not idle", async () => {
  await start({ idleMs: PING_MS, pingIntervalMs: PING_MS });
  const session = connected();
  const stream = call(session);
  stream.write(Buffer.alloc(1));
  await goOn(4);
  await clock.armed(PING_MS);
  expect([session.closed, stream.destroyed]).toEqual([false, false]);
});

test("an old connection takes nothing more, its worker is asked to move on, and it ends after the grace", async () => {
  await start({ ageMs: 2 * PING_MS, ageGraceMs: 2 * PING_MS, unreadMs: 600_000, pingIntervalMs: PING_MS });
  const session = connected("worker");
  const stream = session.request({
    ...{ ":method": "POST", ":path": "/orloj.v1.WorkerService/Session", "content-type": "application/grpc" },
    ...{ te: "trailers", authorization: "Bearer tok-worker" },
  });
  stream.on("error", () => undefined);
  stream.resume();
  await rig.plane.until(() => rig.plane.workers.length === 1);
  const goaway = once(session, "goaway");
  await goOn(3);
  const [code] = await goaway;
  expect([code, rig.plane.workers[0]?.movedOn, stream.destroyed]).toEqual([constants.NGHTTP2_NO_ERROR, 1, false]);
  await goOn(2);
  await closed(session);
  expect(rig.log).toContainEqual(expect.objectContaining({ why: "the connection is old" }));
});

test("a caller that calls too often is told when to try again; another caller is served, and a role may have a rate of its own", async () => {
  await start({ callBurst: 3, callRate: 2 }, { callRates: { admin: 1 } });
  for (let times = 0; times < 3; times += 1) expect(await reasonOf(runs("tok-ann").listRuns({}))).toBe("OK");
  const error = await runs("tok-ann")
    .listRuns({})
    .then(() => undefined, OrlojError.from);
  expect(error).toMatchObject({ reason: "TOO_MANY", metadata: { retry_after_ms: "500" } });
  expect(error?.message).toMatch(/ann calls more often than 2 times a second: try again in 500 ms/);
  expect(reasons()).toEqual(["api TOO_MANY"]);
  // A burst is five seconds of the role's own rate.
  for (let times = 0; times < 5; times += 1) expect(await reasonOf(runs().listRuns({}))).toBe("OK");
  expect(await reasonOf(runs().listRuns({}))).toBe("TOO_MANY");
  clock.advance(500);
  expect(await reasonOf(runs("tok-ann").listRuns({}))).toBe("OK");
  expect(await reasonOf(runs("tok-ann").listRuns({}))).toBe("TOO_MANY");
});

test("a worker that never stops talking is slowed down, not ended, and calls beside it are answered", async () => {
  await start({ messageBurst: 100, messageRate: 10 });
  let stop = false;
  async function* frames() {
    yield { frame: { case: "hello" as const, value: { protocolVersion: 1 } } };
    while (!stop) yield { frame: { case: "credit" as const, value: { freeSlots: 0 } } };
  }
  const session = createClient(WorkerService, rig.transport({ port: "worker", token: "tok-worker" })).session(frames());
  const stream = session[Symbol.asyncIterator]();
  await stream.next();
  await rig.plane.until(() => (rig.plane.workers[0]?.received.length ?? 0) >= 100);
  expect(await reasonOf(runs().listRuns({}))).toBe("OK");
  expect(rig.plane.workers[0]?.received).toHaveLength(100);
  clock.advance(100);
  await rig.plane.until(() => (rig.plane.workers[0]?.received.length ?? 0) > 100);
  expect(rig.plane.workers[0]?.received.length).toBeLessThan(110);
  stop = true;
});
