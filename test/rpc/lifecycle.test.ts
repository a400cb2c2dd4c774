// Start, readiness, drain and stop of the listeners.
// Real sockets and the system clock with short limits; nothing may stay behind after stop().

import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import type { DomainError } from "../../kit/errors.ts";
import { Health, HealthCheckResponse_ServingStatus as Status } from "../../proto/gen/grpc/health/v1/health_pb.ts";
import { SessionRequestSchema, WorkerService } from "../../proto/gen/orloj/v1/worker_pb.ts";
import { WorkflowService } from "../../proto/gen/orloj/v1/workflow_pb.ts";
import { errorInfoOf } from "../../server/rpc/error_map.ts";
import { createListeners } from "../../server/rpc/listeners.ts";
import { createLogger } from "../../server/telemetry/log.ts";
import { FakeControlPlane } from "./fake_control_plane.ts";
import { manualClock } from "./manual_clock.ts";
import { type Rig, readAll, startRig } from "./rig.ts";

const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: unknown) => ConnectError.from(error),
  );
const probe = async (rig: Rig, path: string) => (await fetch(`http://127.0.0.1:${rig.ports.ops}${path}`)).status;

function optionsFor(host: string, port = 0) {
  const clock = systemClock();
  const loopback = { host: "127.0.0.1", port: 0 };
  const log = createLogger({ clock, sink: () => undefined });
  return { controlPlane: new FakeControlPlane(), clock, log, api: { host, port }, worker: loopback, ops: loopback };
}

async function openWorker(rig: Rig) {
  async function* hello() {
    yield create(SessionRequestSchema, { frame: { case: "hello", value: { protocolVersion: 1 } } });
    await new Promise(() => undefined);
  }
  const client = createClient(WorkerService, rig.transport({ port: "worker", token: "tok-worker" }));
  const stream = client.session(hello())[Symbol.asyncIterator]();
  await stream.next();
  return stream;
}

describe("start", () => {
  test.each(["0.0.0.0", "::", "10.0.0.1", "orloj.example", "127.example"])("refuses to listen on %s", (host) => {
    expect(() => createListeners(optionsFor(host))).toThrow(
      expect.objectContaining({ reason: "CONFIG_INVALID", message: expect.stringContaining("loopback") }),
    );
  });

  test("refuses a limit that is not a positive whole number", () => {
    expect(() => createListeners({ ...optionsFor("127.0.0.1"), limits: { readBytesMax: 0 } })).toThrow(/readBytesMax/);
  });

  test("a port that is in use is named, and no listener stays", async () => {
    const first = createListeners(optionsFor("127.0.0.1"));
    const { api } = await first.start();
    const second = createListeners(optionsFor("127.0.0.1", api));
    const error: DomainError = await second.start().then(
      () => undefined,
      (thrown) => thrown,
    );
    expect(error).toMatchObject({ reason: "CONFIG_INVALID", metadata: { listener: "api" } });
    expect(error.message).toContain(`127.0.0.1:${api}`);
    await first.stop();
    await second.stop();
  });

  test("listens on IPv6 loopback", async () => {
    const listeners = createListeners(optionsFor("::1"));
    const { api } = await listeners.start();
    expect((await fetch(`http://[::1]:${api}/nothing`)).status).toBe(404);
    await listeners.stop();
  });
});

describe("readiness", () => {
  test("healthz answers always, readyz as the control plane does, other paths 404", async () => {
    const clock = manualClock();
    const rig = await startRig({ clock, limits: { drainMs: 1, closeMs: 1 } });
    expect([await probe(rig, "/healthz"), await probe(rig, "/readyz"), await probe(rig, "/nothing")]).toEqual([
      200, 200, 404,
    ]);
    const scraped = await fetch(`http://127.0.0.1:${rig.ports.ops}/metrics`);
    expect(scraped.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    expect(await scraped.text()).toBe("up 1\n");
    rig.plane.isReady = false;
    expect(await probe(rig, "/readyz")).toBe(200);
    clock.advance(1_000);
    expect([await probe(rig, "/healthz"), await probe(rig, "/readyz")]).toEqual([200, 503]);
    rig.plane.isReady = () => Promise.reject(new Error("database away"));
    clock.advance(1_000);
    expect(await probe(rig, "/readyz")).toBe(503);
    rig.plane.isReady = () => new Promise(() => undefined);
    clock.advance(1_000);
    const pending = probe(rig, "/readyz");
    await clock.armed(2_000);
    clock.advance(2_000);
    expect(await pending).toBe(503);
    await rig.close();
  });

  test("health follows readiness for the listener and its services, and drain at once", async () => {
    const rig = await startRig();
    const health = createClient(Health, rig.transport({ token: "" }));
    const service = "orloj.v1.WorkflowService";
    expect((await health.check({})).status).toBe(Status.SERVING);
    expect((await health.check({ service })).status).toBe(Status.SERVING);
    expect((await failureOf(health.check({ service: "orloj.v1.WorkerService" })))?.code).toBe(Code.NotFound);
    const watch = health.watch({ service })[Symbol.asyncIterator]();
    const unknown = health.watch({ service: "nothing" })[Symbol.asyncIterator]();
    expect((await watch.next()).value?.status).toBe(Status.SERVING);
    expect((await unknown.next()).value?.status).toBe(Status.SERVICE_UNKNOWN);
    rig.listeners.drain();
    expect((await watch.next()).value?.status).toBe(Status.NOT_SERVING);
    expect(await probe(rig, "/readyz")).toBe(503);
    expect((await health.list({})).statuses[service]?.status).toBe(Status.NOT_SERVING);
    const { run } = await createClient(WorkflowService, rig.transport()).getRun({ runId: "run_1" });
    expect(run?.id).toBe("run_1");
    await rig.close();
  });
});

describe("stop", () => {
  test("ends watches and worker streams with SHUTTING_DOWN, deaf sources included", async () => {
    const rig = await startRig();
    rig.plane.watchIsDeaf = true;
    const watch = createClient(WorkflowService, rig.transport()).watchRun({ runId: "run_1" })[Symbol.asyncIterator]();
    await watch.next();
    const worker = await openWorker(rig);
    const [watchEnd, workerEnd] = [failureOf(watch.next()), failureOf(worker.next())];
    const stopping = rig.listeners.stop();
    const ends = await Promise.all([watchEnd, workerEnd]);
    for (const error of ends) {
      expect(error?.code).toBe(Code.Unavailable);
      expect(error && errorInfoOf(error)?.reason).toBe("SHUTTING_DOWN");
    }
    await stopping;
    expect(rig.plane.workers[0]?.closedCalls).toBeGreaterThan(0);
    await rig.close();
  });

  test("lets a call under way finish and turns new connections away", async () => {
    const rig = await startRig({ limits: { drainMs: 5_000, closeMs: 200 } });
    let finish = () => {};
    const gate = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const getRun = rig.plane.getRun.bind(rig.plane);
    rig.plane.getRun = async (runId) => {
      const run = await getRun(runId);
      await gate;
      return run;
    };
    const transport = rig.transport({ protocol: "connect over HTTP/1.1, JSON" });
    const call = createClient(WorkflowService, transport).getRun({ runId: "run_1" });
    await rig.plane.until(() => rig.plane.calls.length === 1);
    const stopping = rig.listeners.stop();
    const late = rig.raw("api", "GET / HTTP/1.1\r\n\r\n");
    expect(await readAll(late)).toBe("");
    finish();
    expect((await call).run?.id).toBe("run_1");
    await stopping;
    await rig.close();
  });

  test("a worker that leaves by itself ends the drain early", async () => {
    const rig = await startRig({ limits: { drainMs: 60_000, closeMs: 60_000 } });
    await openWorker(rig);
    const stopping = rig.listeners.stop();
    // Polite end: dispatch ends the stream after its Drain was answered.
    rig.plane.workers[0]?.closed();
    await stopping;
    await rig.close();
  });

  test("destroys what does not end and leaves no handle behind: the process ends by itself", async () => {
    const script = new URL("start_use_stop.ts", import.meta.url).pathname;
    const { stdout } = await promisify(execFile)(process.execPath, [script], { timeout: 20_000 });
    expect(JSON.parse(stdout)).toEqual({ watchesOpen: 0, workersClosed: true, socketsClosed: 2, left: [] });
  });

  test("before start, and twice, is fine", async () => {
    const listeners = createListeners(optionsFor("127.0.0.1"));
    await listeners.stop();
    await listeners.stop();
  });
});
