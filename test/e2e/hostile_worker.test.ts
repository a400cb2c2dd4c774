// Peers of the worker port that break the protocol lose their own session alone; a worker beside them goes on working.

import { readFileSync } from "node:fs";
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";
import { connect as connectTcp } from "node:net";
import { join } from "node:path";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { beforeAll, expect, test } from "vitest";
import { SessionRequestSchema } from "../../proto/gen/orloj/v1/worker_pb.ts";
import { Code, type RunHandle } from "../../sdk/index.ts";
import { atEndOfFile } from "../harness/cleanup.ts";
import { agent, httpTool, single } from "./documents.ts";
import { type Stage, startStage } from "./stage.ts";

const MIB = 1_048_576;
const INSTANCE = "hostile-instance-0001";

let stage: Stage;
let joinToken: string;
let running: RunHandle;

beforeAll(async () => {
  stage = await startStage();
  const config = JSON.parse(readFileSync(join(stage.server.home, "config.json"), "utf8")) as { joinToken: string };
  joinToken = config.joinToken;
  await stage.worker("good");
  // The good worker holds a call during everything that follows.
  stage.sink.hold("/steady");
  await stage.apply(
    httpTool("steady", "/steady", { effect: "write" }),
    agent("steady", [{ when: "turn == 1", toolCalls: [{ name: "steady", arguments: {} }] }, { output: { ok: true } }], {
      tools: ["steady"],
    }),
    ...single("steady"),
    agent("quick", [{ output: { ok: true } }]),
    ...single("quick"),
  );
  running = await stage.client.workflow("steady").invoke();
  await stage.sink.waitForCount("/steady", 1);
});

function frame(message: MessageInitShape<typeof SessionRequestSchema>["frame"]): Buffer {
  return envelope(toBinary(SessionRequestSchema, create(SessionRequestSchema, { frame: message } as never)));
}

function envelope(payload: Uint8Array, length = payload.length): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, payload]);
}

const HELLO = frame({
  case: "hello",
  value: { protocolVersion: 1, instanceId: INSTANCE, workerName: "bad", slots: 1, runtimes: ["http"] },
});

interface Peer {
  readonly http2: ClientHttp2Session;
  readonly stream: ClientHttp2Stream;
  /** The first bytes that came back. */
  readonly answered: Promise<void>;
  /** gRPC status at the end; the HTTP status if there was none, "reset" if the stream broke. */
  readonly ended: Promise<string>;
}

function dial(headers: Record<string, string> = { authorization: `Bearer ${joinToken}` }): Peer {
  const http2 = connect(`http://${stage.server.worker.replace(/^https?:\/\//, "")}`);
  http2.on("error", () => undefined);
  atEndOfFile(() => http2.destroy());
  const stream = http2.request({
    ":method": "POST",
    ":path": "/orloj.v1.WorkerService/Session",
    "content-type": "application/grpc+proto",
    te: "trailers",
    ...headers,
  });
  let status = "reset";
  const note = (got: { [name: string]: unknown }) => {
    if (got["grpc-status"] !== undefined) status = String(got["grpc-status"]);
    else if (got[":status"] !== undefined && got[":status"] !== 200) status = `HTTP ${got[":status"]}`;
  };
  stream.on("response", note);
  stream.on("trailers", note);
  stream.on("error", () => undefined);
  const answered = new Promise<void>((resolve) => stream.once("data", () => resolve()));
  const ended = new Promise<string>((resolve) => {
    for (const end of ["end", "close"]) stream.once(end, () => resolve(status));
  });
  stream.resume();
  return { http2, stream, answered, ended };
}

/** The good worker still has its task and takes others; the server still lives. */
async function expectUntouched() {
  const quick = await stage.client.workflow("quick").invoke();
  expect(await quick.result()).toEqual({ ok: true });
  expect(await stage.holder(running)).toBe("good");
  const { workers } = await stage.client.fleet.listWorkers({});
  expect(workers.filter(({ name }) => name === "good").map(({ state }) => state)).toEqual(["active"]);
}

test.each([
  ["no token", {}],
  ["an unknown token", { authorization: "Bearer orloj_nobody" }],
])("%s is Unauthenticated before any frame is read", async (_title, headers) => {
  const peer = dial(headers);
  peer.stream.write(HELLO);
  expect(await peer.ended).toBe(String(Code.Unauthenticated));
  await expectUntouched();
});

test("the development token of a person opens no worker session", async () => {
  const { token } = JSON.parse(readFileSync(join(stage.server.home, "config.json"), "utf8")) as { token: string };
  const peer = dial({ authorization: `Bearer ${token}` });
  peer.stream.write(HELLO);
  expect([Code.PermissionDenied, Code.Unauthenticated].map(String)).toContain(await peer.ended);
});

test.each([
  ["a frame before Hello", [frame({ case: "credit", value: { freeSlots: 1 } })]],
  ["an empty frame", [envelope(new Uint8Array())]],
  ["another protocol version", [frame({ case: "hello", value: { protocolVersion: 99, instanceId: INSTANCE } })]],
])("%s ends that session with FailedPrecondition", async (_title, frames) => {
  const peer = dial();
  for (const one of frames) peer.stream.write(one);
  expect(await peer.ended).toBe(String(Code.FailedPrecondition));
  await expectUntouched();
});

test.each([
  ["a second Hello", () => HELLO, Code.FailedPrecondition],
  [
    "credit beyond what a worker may have",
    () => frame({ case: "credit", value: { freeSlots: -1 } }),
    Code.FailedPrecondition,
  ],
  [
    "a turn that is no JSON",
    () => frame({ case: "turns", value: { turns: [{ taskId: "task_1", token: "t", sequence: 1, turnJson: "{" }] } }),
    Code.FailedPrecondition,
  ],
  [
    "a turn that no worker could read again",
    () => frame({ case: "turns", value: { turns: [{ taskId: "task_1", token: "t", sequence: 1, turnJson: "{}" }] } }),
    Code.FailedPrecondition,
  ],
  ["bytes that are no frame", () => envelope(Buffer.from([0xff, 0xff, 0xff, 0xff, 0x07])), Code.Internal],
  ["a frame over 4 MiB", () => envelope(Buffer.alloc(5 * MIB, 0x0a)), Code.ResourceExhausted],
  ["a frame that announces 4 GiB", () => envelope(Buffer.alloc(16), 0xffff_ffff), Code.ResourceExhausted],
])("in an open session %s ends that session alone", async (_title, bytes, code) => {
  const peer = dial();
  peer.stream.write(HELLO);
  await peer.answered;
  peer.stream.write(bytes());
  expect(await peer.ended).toBe(String(code));
  await expectUntouched();
});

test("a frame that is cut off by the end of the stream ends that session alone", async () => {
  const peer = dial();
  peer.stream.write(HELLO);
  await peer.answered;
  peer.stream.end(HELLO.subarray(0, HELLO.length - 3));
  expect(await peer.ended).not.toBe("0");
  await expectUntouched();
});

test("a connection that breaks in the middle of a frame ends that session alone", async () => {
  const peer = dial();
  peer.stream.write(HELLO);
  await peer.answered;
  peer.stream.write(HELLO.subarray(0, 9));
  peer.http2.destroy();
  await peer.ended;
  await expectUntouched();
});

test("bytes that are no HTTP/2 are cut off", async () => {
  const [host, port] = stage.server.worker.replace(/^https?:\/\//, "").split(":");
  const socket = connectTcp(Number(port), host);
  socket.on("error", () => undefined);
  atEndOfFile(() => socket.destroy());
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  socket.write("\x16\x03\x01 hello, is this TLS?\r\n\r\n".repeat(10));
  socket.resume();
  await closed;
  await expectUntouched();
});

test("a fact with somebody else's task and an invented token is refused and recorded, and changes nothing", async () => {
  const { tasks } = await stage.client.workflows.listTasks({ runId: running.id });
  const taskId = tasks[0]?.id ?? "";
  const peer = dial();
  peer.stream.write(HELLO);
  await peer.answered;
  const outcome = { case: "outputJson" as const, value: '{"stolen": true}' };
  peer.stream.write(frame({ case: "outcomes", value: { outcomes: [{ taskId, token: "invented", outcome }] } }));
  const refused = await stage.record("fact.refused", (entry) => entry.taskId === taskId);
  expect(refused.actor).toBe("worker:bad");
  await expectUntouched();
  peer.http2.destroy();
});

test("after all of that the good worker ends its task, which was delivered once", async () => {
  stage.sink.release("/steady");
  expect(await running.result()).toEqual({ ok: true });
  expect(stage.sink.count("/steady")).toBe(1);
  expect(await stage.trail(running, "task.leased")).toHaveLength(1);
});
