// Every unary method over every protocol on one port, and the streams.
// Real sockets, fake control plane.

import { type DescMethodUnary, fromJson } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { AuditService } from "../../proto/gen/orloj/v1/audit_pb.ts";
import { RunState, TaskState, WorkflowService } from "../../proto/gen/orloj/v1/workflow_pb.ts";
import { API_SERVICES } from "../../server/rpc/listeners.ts";
import { PROTOCOLS, type Rig, startRig } from "./rig.ts";
import { SAMPLE_REQUESTS } from "./sample_requests.ts";

const METHODS = API_SERVICES.flatMap((service) => service.methods);
const UNARY = METHODS.filter((method): method is DescMethodUnary => method.methodKind === "unary");
const nameOf = (method: (typeof METHODS)[number]) => `${method.parent.typeName}/${method.name}`;

describe("API listener", () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig();
  });
  afterAll(() => rig.close());

  test("has a sample request for every method", () => {
    expect(METHODS.map(nameOf).sort()).toEqual(Object.keys(SAMPLE_REQUESTS).sort());
  });

  describe.each(PROTOCOLS)("over %s", (protocol) => {
    test.each(UNARY.map((method) => [nameOf(method), method] as const))("answers %s", async (name, method) => {
      const transport = rig.transport({ protocol });
      const input = fromJson(method.input, SAMPLE_REQUESTS[name] ?? {});
      const { message } = await transport.unary(method, undefined, undefined, undefined, input);
      expect(message.$typeName).toBe(method.output.typeName);
    });

    test("streams a watch and ends it when the source ends", async () => {
      rig.plane.watchEnds = true;
      const client = createClient(WorkflowService, rig.transport({ protocol }));
      const states = [];
      for await (const { run, tasks, events } of client.watchRun({ runId: "run_1" })) {
        states.push(run?.state, tasks[0]?.state, events[0]?.id);
      }
      expect(states).toEqual([RunState.RUNNING, TaskState.DEAD_LETTERED, 7n]);
      rig.plane.watchEnds = false;
    });
  });

  test.each(UNARY.map(nameOf))("answers %s as JSON over HTTP/1.1", async (name) => {
    const response = await fetch(`http://127.0.0.1:${rig.ports.api}/${name}`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: "Bearer tok-admin" },
      body: JSON.stringify(SAMPLE_REQUESTS[name]),
    });
    expect(response.status).toBe(200);
    expect(await response.json()).toBeTypeOf("object");
  });

  test("maps every field of a run", async () => {
    const client = createClient(WorkflowService, rig.transport());
    const { run } = await client.getRun({ runId: "run_1" });
    expect(run).toMatchObject({
      id: "run_1",
      state: RunState.RUNNING,
      conditions: ["Parked"],
      requester: { id: "dev", kind: "user", groups: ["g"], claims: { a: "b" }, method: "test" },
      tags: { team: "x" },
      createTime: { seconds: 1767323045n, nanos: 678_000_000 },
      nodes: [{ name: "n", failure: { class: "Timeout", message: "late" } }],
      edges: [{ from: "n", to: "m", when: "true", otherwise: false, outcome: "succeeded" }],
    });
    expect(run?.endTime).toBeUndefined();
  });

  test("passes the principal and the defaults of an invocation on", async () => {
    const client = createClient(WorkflowService, rig.transport({ token: "tok-invoker" }));
    await client.invoke({ workflow: "hello" });
    const [principal, input] = rig.plane.calls.at(-1)?.args ?? [];
    expect(principal).toMatchObject({ id: "invoker", roles: ["invoker"] });
    expect(input).toEqual({
      namespace: "default",
      workflow: "hello",
      parametersJson: "{}",
      tags: {},
      metadata: {},
      idempotencyKey: "",
    });
  });

  test("answers each item of a batch in order, invalid ones without asking the control plane", async () => {
    const client = createClient(WorkflowService, rig.transport());
    const workflows = ["hello", "", "missing", "broken", "hello"];
    const { results } = await client.invokeBatch({ items: workflows.map((workflow) => ({ workflow })) });
    expect(results.map(({ result }) => (result.case === "error" ? result.value.info?.reason : result.case))).toEqual([
      "response",
      "REQUEST_INVALID",
      "WORKFLOW_NOT_FOUND",
      "INVARIANT_BROKEN",
      "response",
    ]);
    expect(
      JSON.stringify(results.map((each) => each.result.case === "error" && each.result.value.message)),
    ).not.toContain("secret detail");
    expect(rig.plane.calls.at(-1)?.args[1]).toHaveLength(4);
  });

  test("watches the trail from a record on", async () => {
    const client = createClient(AuditService, rig.transport());
    const controller = new AbortController();
    const request = { afterId: 6n, filter: { kinds: ["run."] } };
    const stream = client.watchAuditRecords(request, { signal: controller.signal })[Symbol.asyncIterator]();
    expect((await stream.next()).value?.records[0]).toMatchObject({ id: 7n, kind: "run.created" });
    controller.abort();
    const filter = { namespace: "", runId: "", taskId: "", kinds: ["run."] };
    expect(rig.plane.calls.at(-1)?.args).toEqual([expect.objectContaining({ id: "admin" }), filter, 6n]);
  });

  test("exports whole lines as the principal that asks, and refuses a time that ends before it begins", async () => {
    const client = createClient(AuditService, rig.transport({ protocol: "connect" }));
    const lines: string[] = [];
    for await (const message of client.exportAuditRecords({ runId: "run_1" })) lines.push(message.lines);
    expect(lines).toEqual(["{}\n{}\n"]);
    expect(rig.plane.calls.at(-1)?.args).toEqual([expect.objectContaining({ id: "admin" }), { runId: "run_1" }]);
    const backwards = { startTime: { seconds: 2n }, endTime: { seconds: 1n } };
    const refused = async () => {
      for await (const _ of client.exportAuditRecords(backwards)) expect.unreachable();
    };
    await expect(refused()).rejects.toThrow(/end_time: is not after start_time/);
    expect(await client.getAuditKey({})).toMatchObject({ name: "k", publicPem: "PEM" });
  });

  test("ends a watch at its source when the client cancels, even if the source is silent", async () => {
    const client = createClient(WorkflowService, rig.transport());
    await rig.plane.until(() => rig.plane.watchesOpen === 0);
    const controller = new AbortController();
    const stream = client.watchRun({ runId: "run_1" }, { signal: controller.signal })[Symbol.asyncIterator]();
    await stream.next();
    expect(rig.plane.watchesOpen).toBe(1);
    controller.abort();
    await expect(stream.next()).rejects.toThrow();
    await rig.plane.until(() => rig.plane.watchesOpen === 0);
  });

  test("answers 404 for a path that is not served", async () => {
    const response = await fetch(`http://127.0.0.1:${rig.ports.api}/orloj.v1.WorkerService/Session`, {
      method: "POST",
    });
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ code: "unimplemented" });
  });
});
