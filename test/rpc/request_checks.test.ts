// Requests that are refused before a use case sees them: each names the field and what to do.
// One table, over real sockets.

import type { DescMethodUnary, JsonValue } from "@bufbuild/protobuf";
import { fromJson } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { errorInfoOf } from "../../server/rpc/error_map.ts";
import { API_SERVICES } from "../../server/rpc/listeners.ts";
import { type Rig, startRig } from "./rig.ts";

const MIB = 1_048_576;
const file = { name: "a.yaml", content: "x" };
const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, index) => [`k${index}`, "v"]));

const REFUSED: readonly [method: string, request: JsonValue, field: string, reason?: string][] = [
  ["ManifestService/Apply", {}, "files"],
  ["ManifestService/Apply", { files: Array(1_001).fill(file) }, "files", "PAYLOAD_TOO_LARGE"],
  ["ManifestService/Apply", { files: [{ ...file, name: "" }] }, "files[0].name"],
  ["ManifestService/Apply", { files: [file, { ...file, name: "n".repeat(1_025) }] }, "files[1].name"],
  [
    "ManifestService/Apply",
    { files: [{ ...file, content: "x".repeat(MIB + 1) }] },
    "files[0].content",
    "PAYLOAD_TOO_LARGE",
  ],
  [
    "ManifestService/Validate",
    { files: [{ ...file, content: "é".repeat(MIB / 2 + 1) }] },
    "files[0].content",
    "PAYLOAD_TOO_LARGE",
  ],
  ["ManifestService/Validate", { files: [file], defaultNamespace: "n".repeat(254) }, "default_namespace"],
  ["ManifestService/Apply", { files: [file], defaultNamespace: "Bad Space!" }, "default_namespace"],
  ["ManifestService/Apply", { files: [file], set: "Bad Set!" }, "set"],
  ["ManifestService/Apply", { files: [file], prune: true }, "set"],
  ["ManifestService/Apply", { files: [file], adopt: true }, "set"],
  ["ManifestService/Apply", { files: [file], expectedGeneration: "-1" }, "expected_generation"],
  ["ManifestService/PlanApply", {}, "files"],
  ["ManifestService/PlanApply", { files: [file], prune: true }, "set"],
  ["ManifestService/GetResource", { name: "a" }, "kind"],
  ["ManifestService/GetResource", { kind: "agent", name: "a" }, "kind"],
  ["ManifestService/GetResource", { kind: "Agent" }, "name"],
  ["ManifestService/ListResources", { kind: "Pod" }, "kind"],
  ["ManifestService/ListResources", { pageSize: -1 }, "page_size"],
  ["ManifestService/ListResources", { pageSize: 501 }, "page_size"],
  ["ManifestService/ListResources", { pageToken: "a b" }, "", "PAGE_TOKEN_INVALID"],
  ["ManifestService/DeleteResource", { kind: "Tool" }, "name"],
  ["WorkflowService/Invoke", {}, "workflow"],
  ["WorkflowService/Invoke", { workflow: "a\u0000b" }, "workflow"],
  [
    "WorkflowService/Invoke",
    { workflow: "a", parametersJson: "x".repeat(MIB + 1) },
    "parameters_json",
    "PAYLOAD_TOO_LARGE",
  ],
  ["WorkflowService/Invoke", { workflow: "a", parametersJson: '{"a":"\u0000"}' }, "parameters_json"],
  ["WorkflowService/Invoke", { workflow: "a", tags: many(65) }, "tags", "PAYLOAD_TOO_LARGE"],
  ["WorkflowService/Invoke", { workflow: "a", tags: { "": "v" } }, "tags key"],
  ["WorkflowService/Invoke", { workflow: "a", metadata: { k: "v".repeat(4_097) } }, 'metadata["k"]'],
  ["WorkflowService/Invoke", { workflow: "a", idempotencyKey: "k".repeat(256) }, "idempotency_key"],
  ["WorkflowService/InvokeBatch", {}, "items"],
  ["WorkflowService/InvokeBatch", { items: Array(501).fill({ workflow: "a" }) }, "items", "PAYLOAD_TOO_LARGE"],
  ["WorkflowService/GetRun", {}, "run_id"],
  ["WorkflowService/ListRuns", { states: [0] }, "states"],
  ["WorkflowService/ListRuns", { states: [99] }, "states"],
  ["WorkflowService/CancelRun", { runId: "r", reason: "x".repeat(1_025) }, "reason"],
  ["WorkflowService/GetTask", {}, "task_id"],
  ["WorkflowService/ListTasks", { runId: "r", pageSize: 501 }, "page_size"],
  ["WorkflowService/ListTaskLogs", {}, "run_id"],
  ["WorkflowService/ListTaskLogs", { runId: "r", taskId: "t" }, "task_id"],
  ["WorkflowService/ListTaskLogs", { taskId: "t", node: "n" }, "node"],
  ["WorkflowService/ListTaskLogs", { runId: "r", pageSize: 51 }, "page_size"],
  ["FleetService/GetWorker", {}, "worker"],
  ["FleetService/DrainWorker", { worker: "w", window: "3601s" }, "window"],
  ["FleetService/DrainWorker", { worker: "w", window: "-1s" }, "window"],
  ["FleetService/RevokeLease", {}, "task_id"],
  ["AuditService/ListAuditRecords", { pageSize: 1_001 }, "page_size"],
  ["AuditService/ListAuditRecords", { filter: { kinds: [""] } }, "filter.kinds[0]"],
  [
    "AuditService/ListAuditRecords",
    { filter: { startTime: "2026-01-02T00:00:00Z", endTime: "2026-01-01T00:00:00Z" } },
    "filter.end_time",
  ],
  ["AuditService/ListAuditRecords", { filter: { runId: "x".repeat(254) } }, "filter.run_id"],
];

describe("request checks", () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig();
  });
  afterAll(() => rig.close());

  test.each(REFUSED.map((row) => [`${row[0]} ${JSON.stringify(row[1]).slice(0, 60)}`, row] as const))(
    "%s is refused",
    async (_title, [name, request, field, reason = "REQUEST_INVALID"]) => {
      const method = API_SERVICES.flatMap((service) => service.methods).find((each) =>
        `${each.parent.typeName}/${each.name}`.endsWith(name),
      ) as DescMethodUnary;
      const message = fromJson(method.input, request);
      const calls = rig.plane.calls.length;
      const error = await rig
        .transport()
        .unary(method, undefined, undefined, undefined, message)
        .then(
          () => undefined,
          (thrown: unknown) => ConnectError.from(thrown),
        );
      expect(error && errorInfoOf(error)).toMatchObject({ reason, metadata: field === "" ? {} : { field } });
      expect(error?.code).toBe(reason === "PAYLOAD_TOO_LARGE" ? Code.ResourceExhausted : Code.InvalidArgument);
      expect(error?.rawMessage).toMatch(/: .+: .+/);
      expect(rig.plane.calls).toHaveLength(calls);
    },
  );

  test("a manifest file of exactly 1 MiB is passed on", async () => {
    const method = API_SERVICES[0]?.methods[0] as DescMethodUnary;
    const message = fromJson(method.input, { files: [{ name: "a.yaml", content: "x".repeat(MIB) }] });
    await rig.transport().unary(method, undefined, undefined, undefined, message);
    expect(rig.plane.calls.at(-1)?.method).toBe("apply");
  });

  test("a JSON request with a field of the wrong type is invalid_argument", async () => {
    const response = await fetch(`http://127.0.0.1:${rig.ports.api}/orloj.v1.WorkflowService/Invoke`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: "Bearer tok-admin" },
      body: '{"workflow": 7}',
    });
    expect(await response.json()).toMatchObject({ code: "invalid_argument" });
  });
});
