// Typed client for the Orloj control plane, for services that invoke workflows and watch them.
// Called from outside; the CLI uses the same entry.
// Imports only proto/gen and its three packages: it is packed alone.

export { Code, ConnectError } from "@connectrpc/connect";
export * from "../proto/gen/orloj/v1/audit_pb.ts";
export * from "../proto/gen/orloj/v1/common_pb.ts";
export * from "../proto/gen/orloj/v1/dead_letter_pb.ts";
export * from "../proto/gen/orloj/v1/error_pb.ts";
export * from "../proto/gen/orloj/v1/fleet_pb.ts";
export * from "../proto/gen/orloj/v1/manifest_pb.ts";
export * from "../proto/gen/orloj/v1/policy_pb.ts";
export * from "../proto/gen/orloj/v1/token_pb.ts";
export * from "../proto/gen/orloj/v1/workflow_pb.ts";
export {
  type ClientOptions,
  createClient,
  type InvokeOptions,
  type OrlojClient,
  type Person,
  type WorkflowHandle,
} from "./client.ts";
export { isFinal, OrlojError, RunFailedError, type RunStateName, runStateName } from "./errors.ts";
export { type Host, processHost } from "./host.ts";
export { RunHandle, type WaitOptions } from "./run_handle.ts";
export type { ConnectionOptions, TlsOptions } from "./transport.ts";
export type { RunSnapshot } from "./watch.ts";
export type { AnyWorkflow, AnyWorkflows, WorkflowCatalog, WorkflowTypes } from "./workflow_types.ts";
