// A valid JSON request for every method of the API listener, by full name.
// Used to reach each method over each protocol; a method without one fails the tests.
// Never more fields than the method requires.

import type { JsonValue } from "@bufbuild/protobuf";

export const SAMPLE_REQUESTS: Readonly<Record<string, JsonValue>> = {
  "orloj.v1.ManifestService/Apply": { files: [{ name: "a.yaml", content: "kind: Agent" }] },
  "orloj.v1.ManifestService/Validate": { files: [{ name: "a.yaml", content: "kind: Agent" }] },
  "orloj.v1.ManifestService/GetResource": { kind: "Agent", name: "a" },
  "orloj.v1.ManifestService/ListResources": {},
  "orloj.v1.ManifestService/DeleteResource": { kind: "Agent", name: "a" },
  "orloj.v1.WorkflowService/Invoke": { workflow: "hello" },
  "orloj.v1.WorkflowService/InvokeBatch": { items: [{ workflow: "hello" }] },
  "orloj.v1.WorkflowService/GetRun": { runId: "run_1" },
  "orloj.v1.WorkflowService/ListRuns": {},
  "orloj.v1.WorkflowService/WatchRun": { runId: "run_1" },
  "orloj.v1.WorkflowService/CancelRun": { runId: "run_1", reason: "enough" },
  "orloj.v1.WorkflowService/GetTask": { taskId: "task_1" },
  "orloj.v1.WorkflowService/ListTasks": { runId: "run_1" },
  "orloj.v1.WorkflowService/ListTaskLogs": { runId: "run_1" },
  "orloj.v1.WorkflowService/WatchTaskLogs": { taskId: "task_1" },
  "orloj.v1.DeadLetterService/ListDeadLetters": {},
  "orloj.v1.DeadLetterService/GetDeadLetter": { taskId: "task_1" },
  "orloj.v1.DeadLetterService/ReplayDeadLetters": { selection: { taskIds: ["task_1"] } },
  "orloj.v1.DeadLetterService/DiscardDeadLetters": { selection: { taskIds: ["task_1"] } },
  "orloj.v1.FleetService/ListWorkers": {},
  "orloj.v1.FleetService/GetWorker": { worker: "w" },
  "orloj.v1.FleetService/ListLeases": {},
  "orloj.v1.FleetService/DrainWorker": { worker: "w" },
  "orloj.v1.FleetService/RevokeLease": { taskId: "task_1" },
  "orloj.v1.PolicyService/Explain": { runId: "run_1" },
  "orloj.v1.PolicyService/Can": { as: { id: "ana" }, workflow: "hello" },
  "orloj.v1.AuditService/ListAuditRecords": {},
  "orloj.v1.AuditService/WatchAuditRecords": {},
  "orloj.v1.AuditService/ExportAuditRecords": {},
  "orloj.v1.AuditService/GetAuditKey": {},
  "orloj.v1.TokenService/CreateToken": { name: "ci" },
  "orloj.v1.TokenService/ListTokens": {},
  "orloj.v1.TokenService/RevokeToken": { tokenId: "tok_1" },
  "grpc.health.v1.Health/Check": {},
  "grpc.health.v1.Health/List": {},
  "grpc.health.v1.Health/Watch": {},
};
