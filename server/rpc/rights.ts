// Who may call what: one row a method, read before a request is parsed and before existence is revealed.
// Called by authentication.ts. A method without a row does not compile, and is denied if it gets here nevertheless.
// Never asks the store: roles come with the principal. A role that holds in a namespace alone opens the method, and scopeOfMethod says how far.
// What depends on the request (policies, invoke-as) is checked by the command: see commands/rights.ts.

import type { DescMethod } from "@bufbuild/protobuf";
import type { Health } from "../../proto/gen/grpc/health/v1/health_pb.ts";
import type { ServerReflection as Reflection } from "../../proto/gen/grpc/reflection/v1/reflection_pb.ts";
import type { ServerReflection as ReflectionAlpha } from "../../proto/gen/grpc/reflection/v1alpha/reflection_pb.ts";
import type { AuditService } from "../../proto/gen/orloj/v1/audit_pb.ts";
import type { DeadLetterService } from "../../proto/gen/orloj/v1/dead_letter_pb.ts";
import type { FleetService } from "../../proto/gen/orloj/v1/fleet_pb.ts";
import type { ManifestService } from "../../proto/gen/orloj/v1/manifest_pb.ts";
import type { PolicyService } from "../../proto/gen/orloj/v1/policy_pb.ts";
import type { TokenService } from "../../proto/gen/orloj/v1/token_pb.ts";
import type { WorkerService } from "../../proto/gen/orloj/v1/worker_pb.ts";
import type { WorkflowService } from "../../proto/gen/orloj/v1/workflow_pb.ts";
import { type Scope, scopeOf } from "../commands/rights.ts";
import type { Grant, Principal, Role } from "../commands/views.ts";

type MethodsOf<
  Name extends string,
  Service extends { readonly method: object },
> = `${Name}/${Capitalize<keyof Service["method"] & string>}`;

/** Full names of every method that a listener serves. */
export type MethodName =
  | MethodsOf<"grpc.health.v1.Health", typeof Health>
  | MethodsOf<"grpc.reflection.v1.ServerReflection", typeof Reflection>
  | MethodsOf<"grpc.reflection.v1alpha.ServerReflection", typeof ReflectionAlpha>
  | MethodsOf<"orloj.v1.ManifestService", typeof ManifestService>
  | MethodsOf<"orloj.v1.WorkflowService", typeof WorkflowService>
  | MethodsOf<"orloj.v1.DeadLetterService", typeof DeadLetterService>
  | MethodsOf<"orloj.v1.FleetService", typeof FleetService>
  | MethodsOf<"orloj.v1.PolicyService", typeof PolicyService>
  | MethodsOf<"orloj.v1.AuditService", typeof AuditService>
  | MethodsOf<"orloj.v1.TokenService", typeof TokenService>
  | MethodsOf<"orloj.v1.WorkerService", typeof WorkerService>;

/** open: without credentials. authenticated: any principal but a worker. Otherwise any of the roles or rights. */
export type Access = "open" | "authenticated" | readonly Grant["right"][];

const ADMINISTER: readonly Role[] = Object.freeze(["admin"] as const);
const READ: readonly Role[] = Object.freeze(["admin", "operator", "invoker", "auditor"] as const);
const INVOKE: readonly Role[] = Object.freeze(["admin", "operator", "invoker"] as const);
const OPERATE: readonly Role[] = Object.freeze(["admin", "operator"] as const);
/** What of a request needs which is for the command to say. */
const APPLY = Object.freeze(["admin", "operator", "policies.write", "policies.mode"] as const);
const CHECK = Object.freeze([...INVOKE, "policies.write", "policies.mode"] as const);
const DELETE = Object.freeze(["admin", "operator", "policies.delete"] as const);
const INSPECT: readonly Role[] = Object.freeze(["admin", "operator", "auditor"] as const);
const WORK: readonly Role[] = Object.freeze(["worker"] as const);

/** The table. An auditor only reads; a worker reaches only its session. */
export const RIGHTS: Readonly<Record<MethodName, Access>> = Object.freeze({
  "grpc.health.v1.Health/Check": "open",
  "grpc.health.v1.Health/Watch": "open",
  "grpc.health.v1.Health/List": "open",
  "grpc.reflection.v1.ServerReflection/ServerReflectionInfo": "authenticated",
  "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": "authenticated",
  "orloj.v1.ManifestService/Apply": APPLY,
  "orloj.v1.ManifestService/PlanApply": READ,
  "orloj.v1.ManifestService/Validate": CHECK,
  "orloj.v1.ManifestService/GetResource": READ,
  "orloj.v1.ManifestService/ListResources": READ,
  "orloj.v1.ManifestService/DeleteResource": DELETE,
  "orloj.v1.WorkflowService/Invoke": INVOKE,
  "orloj.v1.WorkflowService/InvokeBatch": INVOKE,
  "orloj.v1.WorkflowService/GetRun": READ,
  "orloj.v1.WorkflowService/ListRuns": READ,
  "orloj.v1.WorkflowService/WatchRun": READ,
  "orloj.v1.WorkflowService/CancelRun": INVOKE,
  "orloj.v1.WorkflowService/GetTask": READ,
  "orloj.v1.WorkflowService/ListTasks": READ,
  "orloj.v1.WorkflowService/ListTaskLogs": READ,
  "orloj.v1.WorkflowService/WatchTaskLogs": READ,
  "orloj.v1.DeadLetterService/ListDeadLetters": READ,
  "orloj.v1.DeadLetterService/GetDeadLetter": READ,
  "orloj.v1.DeadLetterService/ReplayDeadLetters": OPERATE,
  "orloj.v1.DeadLetterService/DiscardDeadLetters": OPERATE,
  "orloj.v1.FleetService/ListWorkers": INSPECT,
  "orloj.v1.FleetService/GetWorker": INSPECT,
  "orloj.v1.FleetService/ListLeases": INSPECT,
  "orloj.v1.FleetService/DrainWorker": OPERATE,
  "orloj.v1.FleetService/RevokeLease": OPERATE,
  "orloj.v1.FleetService/GetStatus": INSPECT,
  "orloj.v1.FleetService/Diagnose": OPERATE,
  "orloj.v1.PolicyService/Explain": INSPECT,
  "orloj.v1.PolicyService/Can": INSPECT,
  "orloj.v1.AuditService/ListAuditRecords": INSPECT,
  "orloj.v1.AuditService/WatchAuditRecords": INSPECT,
  "orloj.v1.AuditService/ExportAuditRecords": INSPECT,
  "orloj.v1.AuditService/GetAuditKey": INSPECT,
  "orloj.v1.TokenService/CreateToken": ADMINISTER,
  "orloj.v1.TokenService/ListTokens": ADMINISTER,
  "orloj.v1.TokenService/RevokeToken": ADMINISTER,
  "orloj.v1.WorkerService/Session": WORK,
});

/** Full name of a method: service, slash, method. */
export function methodName(method: DescMethod): string {
  return `${method.parent.typeName}/${method.name}`;
}

/** The row of a method; no role at all for a method without one. */
export function accessOf(method: string): Access {
  return Object.hasOwn(RIGHTS, method) ? RIGHTS[method as MethodName] : [];
}

/** True if the table lets the principal call the method somewhere. A principal of kind worker is held to worker rows whatever its roles are. */
export function mayCall(principal: Principal, method: string): boolean {
  const access = accessOf(method);
  if (access === "open") return true;
  if ((principal.kind === "worker") !== (access === WORK)) return false;
  if (access === "authenticated") return true;
  const scope = scopeOf(principal, access);
  return scope === "everywhere" || scope.size > 0;
}

/** Where the method may be used by a principal that may call it. */
export function scopeOfMethod(principal: Principal, method: string): Scope {
  const access = accessOf(method);
  return typeof access === "string" ? "everywhere" : scopeOf(principal, access);
}
