// Workers that the server does not hear any more, or that do not hear it: dropped within two times, and nobody else is disturbed.
// Real listeners and the worker's own streams, through a link that loses what it carries.

import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { seededRandom } from "../../kit/random.ts";
import { HelloSchema } from "../../proto/gen/orloj/v1/worker_pb.ts";
import { CONNECTION_TIMES, Dialer } from "../../worker/session/dial.ts";
import { type FrameStream, grpcStreams, type ResponseFrame } from "../../worker/session/stream.ts";
import { TcpProxy, type Toxics } from "../chaos/tcp_proxy.ts";
import { type Rig, startRig } from "./rig.ts";

const PING_MS = 300;
const ANSWER_MS = 700;
// Workers that notice nothing by themselves: what drops them is the server.
const times = { ...CONNECTION_TIMES, pingMs: 600_000, unreadMs: 600_000 };

let rig: Rig;
let link: TcpProxy;
const streams: FrameStream[] = [];
beforeEach(async () => {
  rig = await startRig({
    limits: { pingIntervalMs: PING_MS, pingTimeoutMs: ANSWER_MS, firstBytesMs: 500, handshakeMs: 500 },
  });
  link = new TcpProxy(() => [{ host: "127.0.0.1", port: rig.ports.worker }], Math.random);
});
afterEach(async () => {
  for (const stream of streams.splice(0)) stream.cancel();
  await link.close();
  await rig.close();
});

/** A worker's stream that has its Welcome. */
async function connected(port: number) {
  const open = grpcStreams(
    { joinToken: "tok-worker" },
    new Dialer({ clock: systemClock(), random: seededRandom(1), times }),
  );
  const frames: ResponseFrame["case"][] = [];
  const welcome = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<string>();
  const stream = open(`127.0.0.1:${port}`, {
    onFrame: (frame) => {
      frames.push(frame.case);
      if (frame.case === "welcome") welcome.resolve();
    },
    onWritable: () => {},
    onEnd: ({ message }) => ended.resolve(message),
  });
  streams.push(stream);
  stream.write({ case: "hello", value: create(HelloSchema, { protocolVersion: 1 }) });
  await welcome.promise;
  return { stream, frames, ended: ended.promise };
}

test.each<[string, Toxics]>([
  ["is not heard any more", { holdUp: true }],
  ["hears nothing any more", { holdDown: true }],
  ["is neither heard nor hears", { holdUp: true, holdDown: true }],
])("a worker that %s is dropped in time, and another one goes on", async (_, toxics) => {
  const port = await link.listen();
  const other = await connected(rig.ports.worker);
  const silent = await connected(port);
  const [spared, worker] = rig.plane.workers;
  const startMs = performance.now();
  link.toxics = toxics;
  await rig.plane.until(() => (worker?.closedCalls ?? 0) > 0);
  const ms = performance.now() - startMs;
  expect(ms).toBeGreaterThan(ANSWER_MS - 50);
  expect(ms).toBeLessThan(PING_MS + ANSWER_MS + 2_000);
  expect(rig.log).toContainEqual(
    expect.objectContaining({ event: "rpc.connection_ended", listener: "worker", why: "a ping was not answered" }),
  );
  expect(spared?.closedCalls).toBe(0);
  // A connection that is lost is no failure of the server.
  await expect.poll(() => rig.log.map(({ event }) => event)).toContain("rpc.peer_gone");
  expect(rig.log.filter(({ level }) => level === "error")).toEqual([]);
  spared?.push({ frame: { case: "renewAck", value: {} } });
  await expect.poll(() => other.frames).toContain("renewAck");
  // Once the link carries again, the worker learns that it was dropped.
  link.toxics = {};
  expect(await silent.ended).toMatch(/./);
});

test("a worker that does not take what it is sent is dropped, though its own words arrive", async () => {
  const port = await link.listen();
  const slow = await connected(port);
  const [worker] = rig.plane.workers;
  // Its TCP window closes: nothing is read at its end, while it goes on talking.
  link.toxics = { holdDown: true };
  for (let count = 0; count < 200; count += 1) {
    worker?.push({ frame: { case: "drain", value: { reason: "x".repeat(100_000) } } });
  }
  const talking = setInterval(() => slow.stream.write({ case: "hello", value: create(HelloSchema) }), 50);
  const startMs = performance.now();
  await rig.plane.until(() => (worker?.closedCalls ?? 0) > 0);
  clearInterval(talking);
  expect(performance.now() - startMs).toBeLessThan(PING_MS + ANSWER_MS + 2_000);
});
