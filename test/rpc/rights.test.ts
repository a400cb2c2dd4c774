// The whole table RPC × role over the wire, and what is refused before it.
// Generated from the table: a row that says something else than the wire does fails.

import { type DescMethod, type DescMethodStreaming, type DescMethodUnary, fromJson } from "@bufbuild/protobuf";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ServerReflection } from "../../proto/gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionAlpha } from "../../proto/gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { errorInfoOf } from "../../server/rpc/error_map.ts";
import { API_SERVICES, WORKER_SERVICES } from "../../server/rpc/listeners.ts";
import { accessOf, mayCall, methodName, RIGHTS } from "../../server/rpc/rights.ts";
import { type Rig, startRig } from "./rig.ts";
import { SAMPLE_REQUESTS } from "./sample_requests.ts";

const ROLES = ["admin", "operator", "invoker", "auditor", "worker"] as const;
const API_METHODS = [...API_SERVICES, ServerReflection, ServerReflectionAlpha].flatMap((service) => service.methods);
const ALL_METHODS = new Set([...API_METHODS, ...WORKER_SERVICES.flatMap((service) => service.methods)]);

/** "OK" or the reason of the refusal. */
async function call(transport: Transport, method: DescMethod): Promise<string> {
  try {
    const message = fromJson(method.input, SAMPLE_REQUESTS[methodName(method)] ?? {});
    if (method.methodKind === "unary") {
      await transport.unary(method as DescMethodUnary, undefined, undefined, undefined, message);
      return "OK";
    }
    const abort = new AbortController();
    async function* one() {
      if (methodName(method) === "orloj.v1.WorkerService/Session") {
        yield fromJson(method.input, { hello: { protocolVersion: 1 } });
      } else if (method.parent === ServerReflection || method.parent === ServerReflectionAlpha) {
        yield fromJson(method.input, { listServices: "" });
      } else yield message;
    }
    const response = await transport.stream(method as DescMethodStreaming, abort.signal, undefined, undefined, one());
    const first = await response.message[Symbol.asyncIterator]().next();
    abort.abort();
    return first.done ? "nothing" : "OK";
  } catch (error) {
    const mapped = ConnectError.from(error);
    return errorInfoOf(mapped)?.reason ?? Code[mapped.code];
  }
}

describe("rights", () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig({ reflectionOpen: false });
  });
  afterAll(() => rig.close());

  test("there is a row for every served method and none beside", () => {
    expect([...ALL_METHODS].map(methodName).sort()).toEqual(Object.keys(RIGHTS).sort());
  });

  test("a method without a row is denied to everyone", async () => {
    const admin = await rig.plane.authenticate({ bearer: "tok-admin", loopback: true, listener: "api" });
    expect(accessOf("orloj.v1.NewService/New")).toEqual([]);
    expect(accessOf("constructor")).toEqual([]);
    expect(admin && mayCall(admin, "orloj.v1.NewService/New")).toBe(false);
  });

  test("a worker with the role admin still reaches nothing but its session", async () => {
    const worker = await rig.plane.authenticate({ bearer: "tok-worker", loopback: true, listener: "api" });
    const mighty = { ...worker!, roles: ["admin", "worker"] as const };
    expect(Object.keys(RIGHTS).filter((name) => accessOf(name) !== "open" && mayCall(mighty, name))).toEqual([
      "orloj.v1.WorkerService/Session",
    ]);
  });

  const cases = [...ALL_METHODS].map((method) => [methodName(method), method] as const);

  test.each(cases)("%s is answered for the roles of its row alone", async (name, method) => {
    const access = accessOf(name);
    const port = name.startsWith("orloj.v1.WorkerService/") ? "worker" : "api";
    for (const role of ROLES) {
      const expected =
        access === "open" || (access === "authenticated" ? role !== "worker" : access.includes(role))
          ? "OK"
          : "PERMISSION_DENIED";
      const before = rig.plane.refusals.length;
      expect(await call(rig.transport({ token: `tok-${role}`, port }), method), role).toBe(expected);
      expect(rig.plane.refusals.slice(before), role).toMatchObject(
        expected === "OK"
          ? []
          : [{ listener: port, method: name, reason: expected, principal: { id: role }, peer: "127.0.0.1" }],
      );
    }
  });

  test.each(cases)("%s is refused without and with wrong credentials unless it is open", async (name, method) => {
    const port = name.startsWith("orloj.v1.WorkerService/") ? "worker" : "api";
    const open = accessOf(name) === "open";
    const calls = rig.plane.calls.length;
    for (const [token, reason] of [
      ["", "CREDENTIALS_MISSING"],
      ["tok-root", "CREDENTIALS_INVALID"],
      [`tok-admin${"x".repeat(5_000)}`, "CREDENTIALS_INVALID"],
      ["tok-admin tok-admin", "CREDENTIALS_INVALID"],
    ] as const) {
      const before = rig.plane.refusals.length;
      expect(await call(rig.transport({ token, port }), method), token.slice(0, 20)).toBe(open ? "OK" : reason);
      const recorded = rig.plane.refusals.slice(before);
      expect(recorded).toEqual(open ? [] : [{ listener: port, method: name, reason, peer: "127.0.0.1" }]);
    }
    if (!open) expect(rig.plane.calls).toHaveLength(calls);
  });

  test("a listener serves no service of the other one", async () => {
    const [session] = WORKER_SERVICES[0]!.methods;
    expect(await call(rig.transport({ token: "tok-worker" }), session!)).toBe("Unimplemented");
    const foreign = API_METHODS.filter((method) => method.parent.typeName !== "grpc.health.v1.Health");
    for (const method of foreign) {
      expect(await call(rig.transport({ port: "worker" }), method), methodName(method)).toBe("Unimplemented");
    }
  });

  test("reads nothing of the request before the caller is known", async () => {
    // Half a message: were the body read first, this call would wait for the rest.
    const head = "POST /orloj.v1.ManifestService/Apply HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    const socket = rig.raw("api", `${head}content-length: 1000000\r\n\r\n{`);
    const answer = await new Promise<string>((resolve) => socket.once("data", (chunk) => resolve(chunk.toString())));
    expect(answer).toMatch(/^HTTP\/1.1 401 /);
  });

  test("no refused token is ever logged", async () => {
    const [method] = API_SERVICES[0]!.methods;
    await call(rig.transport({ token: "canary-4711" }), method!);
    expect(JSON.stringify(rig.log)).not.toContain("canary-4711");
  });

  test("storage that is away lets nobody in and says so", async () => {
    const { DomainError } = await import("../../kit/errors.ts");
    const authenticate = rig.plane.authenticate;
    rig.plane.authenticate = async () => {
      throw new DomainError("STORAGE_UNAVAILABLE", "the database does not answer: try again");
    };
    expect(await call(rig.transport(), API_SERVICES[0]!.methods[2]!)).toBe("STORAGE_UNAVAILABLE");
    rig.plane.authenticate = authenticate;
  });
});
