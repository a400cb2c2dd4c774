// Crossing namespaces over the wire: every method, called by somebody whose roles hold in one namespace, for what is in another.
// Generated from the served methods: one without a rule here fails.

import type { DescMethod, DescMethodStreaming, DescMethodUnary } from "@bufbuild/protobuf";
import { fromJson, type JsonObject } from "@bufbuild/protobuf";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Principal } from "../../server/commands/views.ts";
import { errorInfoOf } from "../../server/rpc/error_map.ts";
import { API_SERVICES } from "../../server/rpc/listeners.ts";
import { methodName } from "../../server/rpc/rights.ts";
import { type Rig, startRig } from "./rig.ts";
import { SAMPLE_REQUESTS } from "./sample_requests.ts";

const HIDDEN = "run_hidden";
const HIDDEN_TASK = "task_hidden";

/** What is asked of another namespace, and how that ends: refused, or like something that does not exist. */
const CROSSINGS: Readonly<Record<string, readonly [request: JsonObject, reason: string]>> = {
  "ManifestService/GetResource": [{ namespace: "other" }, "PERMISSION_DENIED"],
  "ManifestService/ListResources": [{ namespace: "other" }, "PERMISSION_DENIED"],
  "ManifestService/DeleteResource": [{ namespace: "other" }, "PERMISSION_DENIED"],
  "WorkflowService/Invoke": [{ namespace: "other" }, "PERMISSION_DENIED"],
  "WorkflowService/GetRun": [{ runId: HIDDEN }, "RUN_NOT_FOUND"],
  "WorkflowService/ListRuns": [{ namespace: "other" }, "PERMISSION_DENIED"],
  "WorkflowService/WatchRun": [{ runId: HIDDEN }, "RUN_NOT_FOUND"],
  "WorkflowService/CancelRun": [{ runId: HIDDEN }, "RUN_NOT_FOUND"],
  "WorkflowService/GetTask": [{ taskId: HIDDEN_TASK }, "TASK_NOT_FOUND"],
  "WorkflowService/ListTasks": [{ runId: HIDDEN }, "RUN_NOT_FOUND"],
  "WorkflowService/ListTaskLogs": [{ runId: HIDDEN }, "RUN_NOT_FOUND"],
  "WorkflowService/WatchTaskLogs": [{ taskId: HIDDEN_TASK }, "TASK_NOT_FOUND"],
  "DeadLetterService/ListDeadLetters": [{ filter: { namespace: "other" } }, "PERMISSION_DENIED"],
  "DeadLetterService/GetDeadLetter": [{ taskId: HIDDEN_TASK }, "DEAD_LETTER_NOT_FOUND"],
  "FleetService/ListWorkers": [{}, "PERMISSION_DENIED"],
  "FleetService/GetWorker": [{}, "PERMISSION_DENIED"],
  "FleetService/ListLeases": [{ runId: HIDDEN }, "RUN_NOT_FOUND"],
  "FleetService/DrainWorker": [{}, "PERMISSION_DENIED"],
  "FleetService/RevokeLease": [{ taskId: HIDDEN_TASK }, "LEASE_NOT_FOUND"],
  "FleetService/GetStatus": [{}, "PERMISSION_DENIED"],
  "FleetService/Diagnose": [{}, "PERMISSION_DENIED"],
  "AuditService/ListAuditRecords": [{ filter: { namespace: "other" } }, "PERMISSION_DENIED"],
  "AuditService/WatchAuditRecords": [{ filter: { namespace: "other" } }, "PERMISSION_DENIED"],
  "AuditService/ExportAuditRecords": [{}, "PERMISSION_DENIED"],
  "PolicyService/Explain": [{ runId: HIDDEN }, "RUN_NOT_FOUND"],
  "PolicyService/Can": [{ namespace: "other" }, "PERMISSION_DENIED"],
  "TokenService/CreateToken": [{}, "PERMISSION_DENIED"],
  "TokenService/ListTokens": [{}, "PERMISSION_DENIED"],
  "TokenService/RevokeToken": [{}, "PERMISSION_DENIED"],
};
/** Methods whose crossing is not told by the whole call: items have their own answers, files their own namespaces; one has no secret. */
const OTHERWISE = new Set([
  "WorkflowService/InvokeBatch",
  "DeadLetterService/ReplayDeadLetters",
  "DeadLetterService/DiscardDeadLetters",
  "ManifestService/Apply",
  "ManifestService/PlanApply",
  "ManifestService/Validate",
  "AuditService/GetAuditKey",
]);

const METHODS = API_SERVICES.flatMap((service) => service.methods).filter(
  (method) => !method.parent.typeName.startsWith("grpc."),
);
const shortName = (method: DescMethod) => methodName(method).replace("orloj.v1.", "");

let rig: Rig;
let transport: Transport;

beforeAll(async () => {
  rig = await startRig();
  rig.plane.namespaces.set(HIDDEN, "other").set(HIDDEN_TASK, "other");
  rig.plane.principals.set("tok-scoped", scoped(["default"])).set("tok-two", scoped(["default", "second"]));
  transport = rig.transport({ token: "tok-scoped" });
});
afterAll(() => rig.close());

function scoped(namespaces: readonly string[]): Principal {
  const grants = namespaces.map((namespace) => ({ right: "admin" as const, namespace }));
  return { id: "sue", kind: "user", groups: [], claims: {}, method: "test", roles: [], grants };
}

async function call(
  over: Transport,
  method: DescMethod,
  fields: JsonObject = {},
): Promise<{ reason: string; message: string }> {
  try {
    const sample = SAMPLE_REQUESTS[methodName(method)] as JsonObject;
    const message = fromJson(method.input, { ...sample, ...fields });
    if (method.methodKind === "unary") {
      await over.unary(method as DescMethodUnary, undefined, undefined, undefined, message);
      return { reason: "OK", message: "" };
    }
    const abort = new AbortController();
    async function* one() {
      yield message;
    }
    const response = await over.stream(method as DescMethodStreaming, abort.signal, undefined, undefined, one());
    await response.message[Symbol.asyncIterator]().next();
    abort.abort();
    return { reason: "OK", message: "" };
  } catch (error) {
    const mapped = ConnectError.from(error);
    return { reason: errorInfoOf(mapped)?.reason ?? Code[mapped.code], message: mapped.rawMessage };
  }
}

test("every method has a rule", () => {
  expect(METHODS.map(shortName).sort()).toEqual([...Object.keys(CROSSINGS), ...OTHERWISE].sort());
});

const cases = METHODS.filter((method) => shortName(method) in CROSSINGS).map(
  (method) => [shortName(method), method] as const,
);

test.each(cases)("%s does not reach another namespace, and the attempt is recorded", async (name, method) => {
  const [fields, reason] = CROSSINGS[name]!;
  const [calls, refusals] = [rig.plane.calls.length, rig.plane.refusals.length];
  expect(await call(transport, method, fields)).toMatchObject({ reason });
  expect(rig.plane.calls).toHaveLength(calls);
  expect(rig.plane.refusals.slice(refusals)).toMatchObject([
    { method: methodName(method), reason: "PERMISSION_DENIED", principal: { id: "sue" }, listener: "api" },
  ]);
});

test.each(cases.filter(([, method]) => CROSSINGS[shortName(method)]![1].endsWith("NOT_FOUND")))(
  "%s says the same of what is hidden and of what does not exist",
  async (name, method) => {
    const [fields] = CROSSINGS[name]!;
    const absent = Object.fromEntries(Object.keys(fields).map((key) => [key, "x_absent"]));
    const [hidden, missing] = [await call(transport, method, fields), await call(transport, method, absent)];
    expect(hidden.message.replaceAll(Object.values(fields)[0] as string, "x_absent")).toBe(missing.message);
  },
);

test("what is in the own namespace is reached, and a listing takes the only one", async () => {
  for (const [name, method] of cases) {
    const own = name.startsWith("FleetService/ListLeases") ? { runId: "run_1" } : {};
    const expected = /^(TokenService|FleetService\/(ListW|GetW|GetS|Drain|Diag))|ExportAudit/.test(name)
      ? "PERMISSION_DENIED"
      : "OK";
    expect((await call(transport, method, own)).reason, name).toBe(expected);
  }
  const listed = rig.plane.calls.findLast(({ method }) => method === "listRuns");
  expect(listed?.args[0]).toMatchObject({ namespace: "default" });
});

test("a listing over several namespaces has to name one", async () => {
  const two = rig.transport({ token: "tok-two" });
  const [list] = METHODS.filter((method) => shortName(method) === "WorkflowService/ListRuns");
  expect((await call(two, list!)).reason).toBe("PERMISSION_DENIED");
  expect((await call(two, list!, { namespace: "second" })).reason).toBe("OK");
  expect((await call(two, list!, { namespace: "other" })).reason).toBe("PERMISSION_DENIED");
});

test("each item of a batch is held to its namespace, and a refused one is recorded", async () => {
  const [method] = METHODS.filter((one) => shortName(one) === "WorkflowService/InvokeBatch");
  const items = [{ workflow: "a" }, { workflow: "b", namespace: "other" }, { workflow: "c" }];
  const before = rig.plane.refusals.length;
  const message = fromJson(method!.input, { items });
  const answer = await transport.unary(method as DescMethodUnary, undefined, undefined, undefined, message);
  const results = (
    answer.message as unknown as { results: { result: { case: string; value: { info?: { reason: string } } } }[] }
  ).results;
  expect(results.map(({ result }) => result.value.info?.reason ?? result.case)).toEqual([
    "response",
    "PERMISSION_DENIED",
    "response",
  ]);
  expect(rig.plane.refusals.slice(before)).toMatchObject([{ namespace: "other", principal: { id: "sue" } }]);
});

test("dead letters of others are neither replayed nor discarded, each with the answer of one that is not there", async () => {
  for (const name of ["ReplayDeadLetters", "DiscardDeadLetters"]) {
    const [method] = METHODS.filter((one) => one.name === name);
    const before = rig.plane.calls.length;
    const message = fromJson(method!.input, { selection: { taskIds: [HIDDEN_TASK] } });
    const answer = await transport.unary(method as DescMethodUnary, undefined, undefined, undefined, message);
    expect(JSON.stringify(answer.message)).toContain("DEAD_LETTER_NOT_FOUND");
    expect(rig.plane.calls).toHaveLength(before);
  }
});

test("files are checked within the namespaces of the caller", async () => {
  for (const name of ["Apply", "PlanApply", "Validate"]) {
    const [method] = METHODS.filter((one) => one.name === name);
    expect((await call(transport, method!)).reason).toBe("OK");
    const asked = rig.plane.calls.findLast((one) => one.method === name.replace(/^./, (first) => first.toLowerCase()));
    expect(asked?.args[1]).toMatchObject({ within: new Set(["default"]) });
  }
});
