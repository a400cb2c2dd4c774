// Reflection as tools use it: the real buf curl lists and calls, over every protocol.
// Child processes with a time limit; no network but loopback.

import { execFile } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:http2";
import { promisify } from "node:util";
import { create, toBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ServerReflectionRequestSchema } from "../../proto/gen/grpc/reflection/v1/reflection_pb.ts";
import * as h2 from "../floods/frames.ts";
import { type Rig, startRig } from "./rig.ts";

const BUF = new URL("../../node_modules/.bin/buf", import.meta.url).pathname;

const QUESTION = h2.message(
  toBinary(
    ServerReflectionRequestSchema,
    create(ServerReflectionRequestSchema, { messageRequest: { case: "listServices", value: "" } }),
  ),
);

describe("buf curl with reflection", () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig();
  });
  afterAll(() => rig.close());

  async function curl(path: string, ...options: string[]): Promise<string> {
    const url = `http://127.0.0.1:${rig.ports.api}${path}`;
    const args = ["curl", "--http2-prior-knowledge", ...options, url];
    const { stdout } = await promisify(execFile)(BUF, args, { timeout: 20_000 });
    return stdout;
  }
  const token = ["--header", "authorization: Bearer tok-admin"];

  test("lists the services of the listener and no other", async () => {
    const services = (await curl("", "--protocol", "grpc", "--list-services")).trim().split("\n").sort();
    expect(services).toEqual([
      "grpc.health.v1.Health",
      "grpc.reflection.v1.ServerReflection",
      "grpc.reflection.v1alpha.ServerReflection",
      "orloj.v1.AuditService",
      "orloj.v1.DeadLetterService",
      "orloj.v1.FleetService",
      "orloj.v1.ManifestService",
      "orloj.v1.PolicyService",
      "orloj.v1.TokenService",
      "orloj.v1.WorkflowService",
    ]);
  });

  test.each(["v1", "v1alpha"])("lists methods by %s", async (version) => {
    const reflect = ["--reflect-protocol", `grpc-${version}`];
    const methods = await curl("", "--protocol", "grpc", ...reflect, "--list-methods");
    expect(methods).toContain("orloj.v1.WorkflowService/WatchRun");
  });

  test.each(["grpc", "grpcweb", "connect"])("calls a unary method over %s", async (protocol) => {
    const out = await curl(
      "/orloj.v1.WorkflowService/GetRun",
      "--protocol",
      protocol,
      ...token,
      "-d",
      '{"runId":"run_1"}',
    );
    expect(JSON.parse(out)).toMatchObject({ run: { id: "run_1", state: "RUN_STATE_RUNNING" } });
  });

  test("streams a watch", async () => {
    rig.plane.watchEnds = true;
    const out = await curl(
      "/orloj.v1.WorkflowService/WatchRun",
      "--protocol",
      "grpc",
      ...token,
      "-d",
      '{"runId":"run_1"}',
    );
    expect(JSON.parse(out)).toMatchObject({ run: { id: "run_1" }, events: [{ kind: "run.created" }] });
  });

  test("serves so many calls at a time and no more, and others when those have ended", async () => {
    const session = connect(`http://127.0.0.1:${rig.ports.api}`);
    const open = () => {
      const stream = session.request({
        ...{ ":method": "POST", ":path": "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo" },
        ...{ "content-type": "application/grpc", te: "trailers" },
      });
      stream.on("error", () => undefined);
      stream.write(QUESTION);
      stream.resume();
      return stream;
    };
    const held = Array.from({ length: 50 }, open);
    await Promise.all(held.map((stream) => once(stream, "data")));
    const [trailers] = (await once(open(), "trailers")) as [Record<string, string>];
    expect(trailers["grpc-status"]).toBe(String(Code.ResourceExhausted));
    expect(decodeURIComponent(trailers["grpc-message"] ?? "")).toContain("50 calls at a time");
    for (const stream of held) stream.close();
    await Promise.all(held.map((stream) => stream.destroyed || once(stream, "close")));
    await expect.poll(() => curl("", "--protocol", "grpc", "--list-services")).toContain("orloj.v1.WorkflowService");
    session.destroy();
  });

  test("a call without a token says what to send", async () => {
    const call = curl("/orloj.v1.WorkflowService/ListRuns", "--protocol", "grpc", "-d", "{}");
    await expect(call).rejects.toMatchObject({ stderr: expect.stringContaining("authorization: Bearer TOKEN") });
  });
});
