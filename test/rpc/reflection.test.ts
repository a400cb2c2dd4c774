// Reflection as tools use it: the real buf curl lists and calls, over every protocol.
// Child processes with a time limit; no network but loopback.

import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Rig, startRig } from "./rig.ts";

const BUF = new URL("../../node_modules/.bin/buf", import.meta.url).pathname;

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

  test("a call without a token says what to send", async () => {
    const call = curl("/orloj.v1.WorkflowService/ListRuns", "--protocol", "grpc", "-d", "{}");
    await expect(call).rejects.toMatchObject({ stderr: expect.stringContaining("authorization: Bearer TOKEN") });
  });
});
