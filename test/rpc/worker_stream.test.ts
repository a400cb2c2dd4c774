// The worker stream: frames in and out, its ends, its back-pressure. Both gRPC clients of Node.
// Real sockets, fake dispatch.

import { connect as connectHttp2 } from "node:http2";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import * as grpc from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  type SessionRequest,
  SessionRequestSchema,
  type SessionResponse,
  SessionResponseSchema,
  WorkerService,
} from "../../proto/gen/orloj/v1/worker_pb.ts";
import { errorInfoOf } from "../../server/rpc/error_map.ts";
import { type ManualClock, manualClock } from "./manual_clock.ts";
import { type Rig, startRig } from "./rig.ts";

const HELLO = { case: "hello", value: { protocolVersion: 1 } } as const;
const CREDIT = { case: "credit", value: { freeSlots: 1 } } as const;
const GOODBYE = { case: "goodbye", value: {} } as const;
// Shorter than the ping interval, so that a test can reach one without the other.
const UNREAD_MS = 4_000;
type Frame = Parameters<typeof create<typeof SessionRequestSchema>>[1];

/** A stream whose frames are pushed; what came back, and how it ended. */
function openSession(rig: Rig) {
  const queue: (SessionRequest | undefined)[] = [];
  let wake: (() => void) | undefined;
  async function* frames() {
    for (;;) {
      while (queue.length > 0) {
        const frame = queue.shift();
        if (frame === undefined) return;
        yield frame;
      }
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  }
  const cancel = new AbortController();
  const client = createClient(WorkerService, rig.transport({ port: "worker", token: "tok-worker" }));
  const responses = client.session(frames(), { signal: cancel.signal })[Symbol.asyncIterator]();
  const push = (frame?: NonNullable<Frame>["frame"]) => {
    queue.push(frame && create(SessionRequestSchema, { frame } as Frame));
    wake?.();
  };
  return { push, halfClose: () => push(), next: () => responses.next(), cancel: () => cancel.abort() };
}

describe("worker stream", () => {
  let rig: Rig;
  let clock: ManualClock;
  beforeEach(async () => {
    clock = manualClock();
    rig = await startRig({ clock, limits: { drainMs: 1, closeMs: 1, unreadMs: UNREAD_MS } });
  });
  afterEach(() => rig.close());

  test("carries frames both ways and tells dispatch who and where the worker is", async () => {
    const session = openSession(rig);
    session.push(HELLO);
    expect((await session.next()).value?.frame).toMatchObject({ case: "welcome", value: { sessionId: "ses_1" } });
    rig.plane.workers[0]?.push({ frame: { case: "renewAck", value: { sequence: 5n } } });
    expect((await session.next()).value?.frame.case).toBe("renewAck");
    expect(rig.plane.calls[0]?.args).toEqual([
      expect.objectContaining({ id: "worker", kind: "worker" }),
      expect.stringMatching(/^127\.0\.0\.1:\d+$/),
    ]);
  });

  test("ends with OK after Goodbye and calls closed()", async () => {
    const session = openSession(rig);
    session.push(HELLO);
    await session.next();
    session.push(GOODBYE);
    expect((await session.next()).done).toBe(true);
    expect(rig.plane.workers[0]?.received.map(({ frame }) => frame.case)).toEqual(["hello", "goodbye"]);
    expect(rig.plane.workers[0]?.closedCalls).toBeGreaterThan(0);
  });

  test("an out-of-phase frame ends that session alone, with its reason", async () => {
    const good = openSession(rig);
    good.push(HELLO);
    await good.next();
    const bad = openSession(rig);
    bad.push(CREDIT);
    const error = await bad.next().then(
      () => undefined,
      (thrown: unknown) => ConnectError.from(thrown),
    );
    expect(error?.code).toBe(Code.FailedPrecondition);
    expect(error && errorInfoOf(error)?.reason).toBe("PROTOCOL_VIOLATION");
    expect(rig.plane.workers[1]?.closedCalls).toBeGreaterThan(0);
    expect(rig.plane.workers[0]?.closedCalls).toBe(0);
    good.push(CREDIT);
    await rig.plane.until(() => rig.plane.workers[0]?.received.length === 2);
  });

  test.each(["halfClose", "cancel"] as const)("a %s calls closed() without a goodbye", async (end) => {
    const session = openSession(rig);
    session.push(HELLO);
    await session.next();
    session[end]();
    await rig.plane.until(() => (rig.plane.workers[0]?.closedCalls ?? 0) > 0);
    expect(rig.plane.workers[0]?.received).toHaveLength(1);
  });

  test("a connection that breaks calls closed() and is no error of ours", async () => {
    const session = openSession(rig);
    session.push(HELLO);
    await session.next();
    const broken = session.next();
    const transportEnds = broken.then(
      () => undefined,
      () => undefined,
    );
    session.cancel();
    await transportEnds;
    await rig.plane.until(() => (rig.plane.workers[0]?.closedCalls ?? 0) > 0);
    expect(rig.log.filter(({ level }) => level === "error")).toEqual([]);
  });

  test("takes the next frame only when dispatch took the last one", async () => {
    const session = openSession(rig);
    session.push(HELLO);
    await session.next();
    let release = () => {};
    const worker = rig.plane.workers[0];
    if (worker === undefined) throw new Error("no worker");
    worker.hold = new Promise((resolve) => {
      release = resolve;
    });
    for (let index = 0; index < 10; index += 1) session.push(CREDIT);
    await rig.plane.until(() => worker.received.length === 2);
    // Another stream's full round trip gives the held one every chance to run ahead.
    const other = openSession(rig);
    other.push(HELLO);
    await other.next();
    expect(worker.received).toHaveLength(2);
    worker.hold = undefined;
    release();
    await rig.plane.until(() => worker.received.length === 11);
  });

  test("a worker that does not read is sent a bounded amount, then its stream is reset", async () => {
    rig.plane.onWorker = (worker) => {
      if (rig.plane.workers.length > 1) return;
      worker.flood = create(SessionResponseSchema, {
        frame: { case: "drain", value: { reason: "x".repeat(100_000) } },
      });
    };
    const session = connectHttp2(`http://127.0.0.1:${rig.ports.worker}`);
    session.on("error", () => undefined);
    const path = "/orloj.v1.WorkerService/Session";
    const headers = { "content-type": "application/grpc", te: "trailers", authorization: "Bearer tok-worker" };
    // Nobody reads this stream: its HTTP/2 window fills and stays full.
    const stream = session.request({ ":method": "POST", ":path": path, ...headers });
    stream.on("error", () => undefined);
    const hello = toBinary(SessionRequestSchema, create(SessionRequestSchema, { frame: HELLO }));
    stream.write(Buffer.concat([Buffer.from([0, 0, 0, 0, hello.length]), hello]));
    await rig.plane.until(() => rig.plane.workers[0]?.received.length === 1);
    const [worker] = rig.plane.workers;
    const other = openSession(rig);
    other.push(HELLO);
    await other.next();
    // Blocked: nothing more leaves during whole round trips of another stream.
    for (let before = -1; before !== worker?.floodSent; ) {
      before = worker?.floodSent ?? 0;
      for (let trip = 0; trip < 20; trip += 1) {
        rig.plane.workers[1]?.push({ frame: { case: "renewAck", value: {} } });
        await other.next();
      }
    }
    expect(worker?.floodSent).toBeGreaterThan(0);
    expect(worker?.floodSent).toBeLessThan(40);
    expect(worker?.closedCalls).toBe(0);
    clock.advance(UNREAD_MS);
    await rig.plane.until(() => (worker?.closedCalls ?? 0) > 0);
    rig.plane.workers[1]?.push({ frame: { case: "renewAck", value: {} } });
    expect((await other.next()).done).toBe(false);
    session.destroy();
  });

  test("serves grpc-js, the client of our worker", async () => {
    const { client, session } = grpcSession(rig);
    const frames: (string | undefined)[] = [];
    session.on("data", (frame: SessionResponse) => frames.push(frame.frame.case));
    session.write(create(SessionRequestSchema, { frame: HELLO }));
    session.write(create(SessionRequestSchema, { frame: GOODBYE }));
    const status = await new Promise<grpc.StatusObject>((resolve) => session.on("status", resolve));
    expect(status.code).toBe(grpc.status.OK);
    expect(frames).toEqual(["welcome"]);
    client.close();
  });

  test("tells grpc-js the code of a violation", async () => {
    const { client, session } = grpcSession(rig);
    session.on("error", () => undefined);
    session.on("data", () => undefined);
    session.write(create(SessionRequestSchema, { frame: CREDIT }));
    const status = await new Promise<grpc.StatusObject>((resolve) => session.on("status", resolve));
    expect(status).toMatchObject({ code: grpc.status.FAILED_PRECONDITION });
    client.close();
  });
});

function grpcSession(rig: Rig) {
  const Client = grpc.makeClientConstructor(
    {
      session: {
        path: "/orloj.v1.WorkerService/Session",
        requestStream: true,
        responseStream: true,
        requestSerialize: (frame: SessionRequest) => Buffer.from(toBinary(SessionRequestSchema, frame)),
        requestDeserialize: (bytes: Buffer) => fromBinary(SessionRequestSchema, bytes),
        responseSerialize: (frame: SessionResponse) => Buffer.from(toBinary(SessionResponseSchema, frame)),
        responseDeserialize: (bytes: Buffer) => fromBinary(SessionResponseSchema, bytes),
      },
    },
    "WorkerService",
  );
  const client = new Client(`127.0.0.1:${rig.ports.worker}`, grpc.credentials.createInsecure());
  const metadata = new grpc.Metadata();
  metadata.set("authorization", "Bearer tok-worker");
  const open = client.session as unknown as (
    metadata: grpc.Metadata,
  ) => grpc.ClientDuplexStream<SessionRequest, SessionResponse>;
  return { client, session: open.call(client, metadata) };
}
