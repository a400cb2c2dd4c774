// Peers that send too much, too little, too slowly or nonsense: each loses its own call or connection, the listener lives.
// Raw sockets against real listeners; times by a manual clock where a limit is a time.

import { once } from "node:events";
import { connect as connectHttp2, constants } from "node:http2";
import { gzipSync } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ApplyRequestSchema, ManifestService } from "../../proto/gen/orloj/v1/manifest_pb.ts";
import { SessionRequestSchema, WorkerService } from "../../proto/gen/orloj/v1/worker_pb.ts";
import { WorkflowService } from "../../proto/gen/orloj/v1/workflow_pb.ts";
import { type ManualClock, manualClock } from "./manual_clock.ts";
import { type Rig, readAll, startRig } from "./rig.ts";

const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
const MIB = 1_048_576;

describe("hostile peers", () => {
  let rig: Rig;
  let clock: ManualClock;
  beforeEach(async () => {
    clock = manualClock();
    rig = await startRig({ clock, limits: { drainMs: 1, closeMs: 1, connectionsMax: 20 } });
  });
  afterEach(() => rig.close());

  /** A healthy caller is still served. */
  async function expectAlive() {
    const { run } = await createClient(WorkflowService, rig.transport()).getRun({ runId: "run_1" });
    expect(run?.id).toBe("run_1");
  }

  test.each(["grpc", "grpc-web", "connect", "connect over HTTP/1.1, JSON"] as const)(
    "a message over 4 MiB is resource_exhausted over %s",
    async (protocol) => {
      const client = createClient(ManifestService, rig.transport({ protocol }));
      const files = Array.from({ length: 5 }, (_, index) => ({ name: `${index}.yaml`, content: "x".repeat(MIB) }));
      const error = await client.apply({ files }).then(
        () => undefined,
        (thrown: unknown) => ConnectError.from(thrown),
      );
      expect(error?.code).toBe(Code.ResourceExhausted);
      expect(rig.plane.calls).toEqual([]);
      await expectAlive();
    },
  );

  test("a gzip bomb is resource_exhausted", async () => {
    const bomb = gzipSync(Buffer.alloc(64 * MIB));
    const response = await fetch(`http://127.0.0.1:${rig.ports.api}/orloj.v1.ManifestService/Apply`, {
      method: "POST",
      headers: { "content-type": "application/proto", "content-encoding": "gzip", authorization: "Bearer tok-admin" },
      body: bomb,
    });
    expect(await response.json()).toMatchObject({ code: "resource_exhausted" });
    await expectAlive();
  });

  test("an oversize frame ends that worker stream alone", async () => {
    async function* frames() {
      yield create(SessionRequestSchema, { frame: { case: "hello", value: { protocolVersion: 1 } } });
      const turnJson = "x".repeat(5 * MIB);
      yield create(SessionRequestSchema, { frame: { case: "turns", value: { turns: [{ turnJson }] } } });
    }
    const client = createClient(WorkerService, rig.transport({ port: "worker", token: "tok-worker" }));
    const stream = client.session(frames())[Symbol.asyncIterator]();
    await stream.next();
    const error = await stream.next().then(
      () => undefined,
      (thrown: unknown) => ConnectError.from(thrown),
    );
    expect(error?.code).toBe(Code.ResourceExhausted);
    await rig.plane.until(() => (rig.plane.workers[0]?.closedCalls ?? 0) > 0);
    expect(rig.plane.workers[0]?.received).toHaveLength(1);
    await expectAlive();
  });

  /** Sends raw bytes as the body of a gRPC call; resolves with grpc-status. */
  async function grpcBody(
    path: string,
    body: Uint8Array,
    end: boolean,
    token = "tok-admin",
    port: "api" | "worker" = "api",
  ) {
    const session = connectHttp2(`http://127.0.0.1:${rig.ports[port]}`);
    session.on("error", () => undefined);
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
      authorization: `Bearer ${token}`,
    });
    let status: unknown;
    stream.on("response", (headers) => {
      status ??= headers["grpc-status"];
    });
    stream.on("trailers", (trailers) => {
      status = trailers["grpc-status"];
    });
    stream.on("error", () => undefined);
    stream.resume();
    stream.write(body);
    if (end) stream.end();
    else stream.close(constants.NGHTTP2_CANCEL);
    await once(stream, "close");
    session.destroy();
    return status;
  }

  const apply = toBinary(ApplyRequestSchema, create(ApplyRequestSchema, { files: [{ name: "a", content: "b" }] }));
  const framed = (flags: number, length: number, bytes: Uint8Array) => {
    const head = Buffer.alloc(5);
    head.writeUInt8(flags);
    head.writeUInt32BE(length, 1);
    return Buffer.concat([head, bytes]);
  };

  test.each([
    ["a truncated message", framed(0, apply.length + 10, apply)],
    ["half an envelope", Buffer.from([0, 0, 0])],
    ["a length of 4 GiB", framed(0, 0xffff_ffff, apply)],
    ["garbage in the message", framed(0, 8, Buffer.from("\xff\xff\xff\xff\xff\xff\xff\xff", "latin1"))],
    ["a compressed flag without compression", framed(1, apply.length, apply)],
    ["two messages in a unary call", Buffer.concat([framed(0, apply.length, apply), framed(0, apply.length, apply)])],
  ])("%s fails the call and nothing else", async (_what, body) => {
    const status = await grpcBody("/orloj.v1.ManifestService/Apply", body, true);
    expect(Number(status)).toBeGreaterThan(0);
    expect(rig.plane.calls).toEqual([]);
    await expectAlive();
  });

  test("a truncated frame ends that worker stream and closes its session", async () => {
    const status = await grpcBody(
      "/orloj.v1.WorkerService/Session",
      Buffer.from([0, 0, 0, 0, 9, 1]),
      true,
      "tok-worker",
      "worker",
    );
    expect(Number(status)).toBeGreaterThan(0);
    await rig.plane.until(() => (rig.plane.workers[0]?.closedCalls ?? 0) > 0);
    expect(rig.log.filter(({ level }) => level === "error")).toEqual([]);
  });

  test("a reset in the middle of a message closes the session", async () => {
    const hello = toBinary(SessionRequestSchema, create(SessionRequestSchema, { frame: { case: "hello", value: {} } }));
    const body = Buffer.concat([framed(0, hello.length, hello), Buffer.from([0, 0, 0, 0, 9, 1])]);
    await grpcBody("/orloj.v1.WorkerService/Session", body, false, "tok-worker", "worker");
    await rig.plane.until(() => rig.plane.workers.every((worker) => worker.closedCalls > 0));
    expect(rig.log.filter(({ level }) => level === "error")).toEqual([]);
    await expectAlive();
  });

  test.each(["api", "worker", "ops"] as const)("garbage bytes end the connection on the %s port", async (port) => {
    const noise = Buffer.from(Array.from({ length: 4_096 }, (_, index) => (index * 37 + 129) % 256));
    await readAll(rig.raw(port, noise));
    await readAll(rig.raw(port, Buffer.concat([Buffer.from(PREFACE), noise])));
    await expectAlive();
  });

  test("HTTP/1.1 on the worker port is told where it is and closed", async () => {
    const text = await readAll(rig.raw("worker", "GET / HTTP/1.1\r\nhost: x\r\n\r\n"));
    expect(text).toMatch(/^HTTP\/1\.1 505 /);
    expect(text).toContain("serves workers over HTTP/2");
  });

  test.each([
    "GET /x HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: [\r\n\r\n",
    "POST /orloj.v1.WorkflowService/GetRun HTTP/1.1\r\nhost: [\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
  ])("a request without a usable host is answered, not fatal: %j", async (request) => {
    const socket = rig.raw("api", request);
    const [chunk] = await once(socket, "data");
    expect(String(chunk)).toMatch(/^HTTP\/1\.1 4\d\d /);
    await expectAlive();
  });

  test("an RPC over HTTP/1.0 without a host is answered, not fatal", async () => {
    const text = await readAll(
      rig.raw("api", "POST /orloj.v1.WorkflowService/GetRun HTTP/1.0\r\ncontent-type: application/json\r\n\r\n"),
    );
    expect(text).toMatch(/^HTTP\/1\.1 400 /);
    await expectAlive();
  });

  test.each([
    ["no byte at all", ""],
    ["half a preface", "PRI * HT"],
  ])("a connection that sends %s is closed after the first-bytes limit", async (_what, bytes) => {
    const socket = rig.raw("api", bytes);
    const ended = readAll(socket);
    await clock.armed(5_000);
    // A full exchange on another connection: the bytes of the first one have arrived by then.
    await readAll(rig.raw("ops", "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"));
    clock.advance(4_999);
    expect(socket.destroyed).toBe(false);
    clock.advance(1);
    expect(await ended).toBe("");
  });

  test("a first byte at a time is still understood", async () => {
    const socket = rig.raw("api", "P");
    const ended = readAll(socket);
    for (const char of "OST /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n") {
      await new Promise<void>((resolve) => socket.write(char, () => resolve()));
    }
    expect(await ended).toMatch(/^HTTP\/1\.1 404 /);
  });

  test("a preface without settings is closed after the handshake limit", async () => {
    const socket = rig.raw("worker", PREFACE);
    const ended = readAll(socket);
    await once(socket, "data");
    await clock.armed(5_000);
    clock.advance(5_000);
    await ended;
    expect(rig.log).toContainEqual(expect.objectContaining({ why: "no HTTP/2 settings in time", listener: "worker" }));
  });

  test("a connection that does not answer a ping is destroyed after 10 s and 5 s", async () => {
    const socket = rig.raw("worker", Buffer.concat([Buffer.from(PREFACE), SETTINGS]));
    const bytes: Buffer[] = [];
    socket.on("data", (chunk) => bytes.push(chunk));
    const ended = once(socket, "close");
    await clock.armed(10_000);
    clock.advance(10_000);
    while (!Buffer.concat(bytes).includes(Buffer.from([0, 0, 8, 6, 0]))) await once(socket, "data");
    clock.advance(4_999);
    expect(socket.destroyed).toBe(false);
    clock.advance(1);
    await ended;
    expect(rig.log).toContainEqual(expect.objectContaining({ why: "a ping was not answered" }));
  });

  test("a connection that answers its pings stays", async () => {
    const session = connectHttp2(`http://127.0.0.1:${rig.ports.worker}`);
    await once(session, "remoteSettings");
    for (let round = 0; round < 3; round += 1) {
      await clock.armed(10_000);
      const pinged = once(session, "ping");
      clock.advance(10_000);
      await pinged;
    }
    await clock.armed(10_000);
    expect(session.destroyed).toBe(false);
    session.destroy();
  });

  test("headers over 16 KiB are refused over HTTP/1.1 and HTTP/2", async () => {
    const long = "x".repeat(20_000);
    const text = await readAll(rig.raw("api", `GET / HTTP/1.1\r\nhost: x\r\nlong: ${long}\r\n\r\n`));
    expect(text).toMatch(/^HTTP\/1\.1 431 /);
    const session = connectHttp2(`http://127.0.0.1:${rig.ports.api}`);
    session.on("error", () => undefined);
    // The limit holds from the moment that the peer acknowledged it.
    await once(session, "remoteSettings");
    const stream = session.request({ ":path": "/", long: "y".repeat(20_000) });
    stream.on("error", () => undefined);
    stream.resume();
    await new Promise((resolve) => stream.once("close", resolve));
    expect(stream.rstCode).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    session.destroy();
    await expectAlive();
  });

  test("rapid resets end the connection that sends them", async () => {
    const session = connectHttp2(`http://127.0.0.1:${rig.ports.api}`);
    session.on("error", () => undefined);
    const ended = new Promise((resolve) => session.once("close", resolve));
    const burst = () => {
      for (let index = 0; index < 50 && !session.destroyed && !session.closed; index += 1) {
        const stream = session.request({ ":method": "POST", ":path": "/" });
        stream.on("error", () => undefined);
        stream.close(constants.NGHTTP2_CANCEL);
      }
      if (!session.destroyed && !session.closed) setImmediate(burst);
    };
    session.once("remoteSettings", burst);
    await ended;
    await expectAlive();
  });

  test("at most 100 streams run at once on a connection", async () => {
    const session = connectHttp2(`http://127.0.0.1:${rig.ports.api}`);
    const [settings] = await once(session, "remoteSettings");
    expect(settings.maxConcurrentStreams).toBe(100);
    session.destroy();
  });

  test("connections beyond the cap are closed at once and the others live", async () => {
    await expectAlive();
    const sockets = Array.from({ length: 25 }, () => rig.raw("api", "P"));
    const refused = await new Promise<number>((resolve) => {
      let closed = 0;
      for (const socket of sockets) {
        socket.once("close", () => {
          closed += 1;
          if (closed === 6) resolve(closed);
        });
      }
    });
    expect(refused).toBe(6);
    expect(rig.log).toContainEqual(expect.objectContaining({ event: "rpc.connection_refused" }));
  });
});
