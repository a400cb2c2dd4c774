// Read models: what queries return and rpc maps to the wire. Plain values, no wire types, no SQL rows.
// Every *Json field is canonical JSON text. Times are Dates in database time.

import type { Json } from "../../kit/json.ts";
import type { Diagnostic } from "../manifests/diagnostics.ts";
import type { Kind, LoopSpec, MapSpec } from "../manifests/specs.ts";
import type { NodeState, RunState, TaskState } from "../queue/states.ts";

/** Roles that rights are granted by. */
export type Role = "admin" | "operator" | "invoker" | "auditor" | "worker";

/** Rights finer than a role; the role admin has them all. */
export type FineRight = "policies.write" | "policies.mode" | "policies.delete" | "invoke-as";

/** What a service with invoke-as may say of the person that it invokes for: exact values, or "*" for any. */
export interface PersonBounds {
  readonly ids: readonly string[];
  readonly groups: readonly string[];
  /** Names of claims. */
  readonly claims: readonly string[];
}

/** A role that holds in one namespace, or a right. */
export interface Grant {
  readonly right: Role | FineRight;
  /** Absent: everywhere. */
  readonly namespace?: string;
  /** Of invoke-as; absent: any id, no groups, and no claims. */
  readonly persons?: PersonBounds;
}

/** An authenticated caller. */
export interface Principal {
  readonly id: string;
  readonly kind: "user" | "service" | "worker";
  readonly groups: readonly string[];
  readonly claims: Readonly<Record<string, string>>;
  /** How it was authenticated: "certificate", "jwt", "token", "development-token", "join-token", or "invoke-as". */
  readonly method: string;
  /** Issuer of its JWT. */
  readonly issuer?: string;
  /** Who invoked for it; of a requester whose method is "invoke-as". */
  readonly invokedBy?: string;
  /** Roles that hold everywhere. */
  readonly roles: readonly Role[];
  readonly grants?: readonly Grant[];
  /** W3C trace id of the call that it makes; absent outside of any trace. Not part of who it is. */
  readonly traceId?: string;
}

/** A principal as a run keeps it. */
export type RequesterView = Omit<Principal, "roles" | "grants" | "traceId">;

/** A bearer token, without the token. */
export interface AccessTokenView {
  readonly id: string;
  readonly name: string;
  readonly kind: Principal["kind"];
  readonly groups: readonly string[];
  readonly claims: Readonly<Record<string, string>>;
  readonly roles: readonly Role[];
  readonly rights: readonly FineRight[];
  /** Where roles and rights hold; everywhere when empty. */
  readonly namespaces: readonly string[];
  readonly method: string;
  readonly createTime: Date;
  readonly expireTime?: Date;
  readonly revokeTime?: Date;
  readonly createdBy: string;
}

/** A task that was parked for a person. */
export interface DeadLetterView {
  readonly taskId: string;
  readonly runId: string;
  readonly namespace: string;
  readonly workflow: string;
  readonly node: string;
  readonly agent: string;
  /** "attempts", "deliveries" or "unknown_outcome". */
  readonly cause: string;
  readonly failure: FailureView;
  readonly attempt: number;
  readonly deliveries: number;
  readonly state: "open" | "replayed" | "discarded";
  readonly parkTime: Date;
  readonly resolveTime?: Date;
  /** Empty while open. */
  readonly resolvedBy: string;
  /** Empty unless replayed. */
  readonly replayTaskId: string;
  readonly replayRunId: string;
}

/** A dead letter with everything that was kept of it. */
export interface DeadLetterDetailView extends DeadLetterView {
  readonly inputJson: string;
  readonly originTaskId: string;
  /** The dead letter that its task replayed, if any. */
  readonly replayOf?: string;
  readonly journal: readonly {
    readonly sequence: number;
    readonly kind: "turn" | "result" | "failure";
    readonly payloadJson: string;
    readonly tool: string;
    readonly failure?: FailureView;
  }[];
  readonly toolCalls: readonly ToolCallView[];
  readonly bundleDigest: string;
  /** By namespace/name. */
  readonly manifestDigests: Readonly<Record<string, string>>;
}

/** Filters of dead letters; empty fields do not filter. */
export interface DeadLetterFilterView {
  readonly namespace: string;
  readonly workflow: string;
  readonly agent: string;
  readonly cause: string;
  readonly failureClass: string;
  readonly runId: string;
  readonly parkedFrom?: Date;
  readonly parkedBefore?: Date;
  /** Those that somebody decided about as well. */
  readonly resolved: boolean;
}

/** How a dead letter is replayed. */
export interface ReplayHow {
  /** Absent: as it was. */
  readonly input?: Json;
  readonly currentManifests: boolean;
  readonly repeatEffects: boolean;
  /** What a person found out about calls of unknown outcome, by request id. */
  readonly results: ReadonlyMap<string, Json>;
}

/** What became of a replay. */
export interface ReplayResult {
  readonly taskId: string;
  readonly replayTaskId: string;
  readonly replayRunId: string;
  /** True when it had been replayed in this way before. */
  readonly duplicate: boolean;
}

/** A page of a listing; token is opaque and absent on the last page. */
export interface Page<T> {
  readonly items: readonly T[];
  readonly nextPageToken?: string;
}

/** What to list. */
export interface PageRequest {
  /** 0: the default of the listing. */
  readonly pageSize: number;
  readonly pageToken: string;
}

/** A finding in a manifest file. */
export type DiagnosticView = Diagnostic;

/** A stored resource. */
export interface ResourceView {
  readonly kind: Kind;
  readonly namespace: string;
  readonly name: string;
  readonly generation: number;
  readonly digest: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly createTime: Date;
  readonly updateTime: Date;
  /** Absent unless asked for. */
  readonly manifestJson?: string;
  /** The set of manifests that it was last applied with; empty: none. */
  readonly set: string;
}

/** What becomes of a resource: `recorded` gets a set and is otherwise as it was, `pruned` is deleted. */
export type ApplyAction = "created" | "configured" | "recorded" | "unchanged" | "pruned";

/** What apply did with one document, or with a resource that has none any more. */
export interface ApplyResultView {
  readonly kind: Kind;
  readonly namespace: string;
  readonly name: string;
  readonly action: ApplyAction;
  readonly generation: number;
  readonly digest: string;
}

/** What apply would do with one resource. */
export interface PlannedChangeView {
  readonly kind: Kind;
  readonly namespace: string;
  readonly name: string;
  readonly action: ApplyAction;
  /** Generation that is stored now; 0: none. */
  readonly generation: number;
  /** The manifest that is stored now; empty: none. */
  readonly currentJson: string;
  /** The manifest that would be; empty for one that is pruned. */
  readonly plannedJson: string;
  /** Why apply would refuse; absent: it would not. */
  readonly refusal?: { readonly reason: string; readonly message: string };
}

/** What went wrong. */
export interface FailureView {
  readonly class: string;
  readonly message: string;
}

/** A node of a run. */
export interface NodeView {
  readonly name: string;
  readonly state: NodeState;
  readonly iteration: number;
  readonly kind: "agent" | "tool" | "system" | "transform";
  readonly target: string;
  readonly map?: NodeMapView;
  /** How many incoming edges must be taken; 0: all must be resolved, and one taken. */
  readonly quorum: number;
  readonly outputJson?: string;
  readonly failure?: FailureView;
}

/** How a mapped node is executed, and how far it is. */
export interface NodeMapView {
  readonly concurrency: number;
  readonly onItemError: MapSpec["onItemError"];
  readonly itemsTotal: number;
  readonly itemsEnded: number;
}

/** An edge of a run's graph. */
export interface EdgeView {
  readonly from: string;
  readonly to: string;
  readonly when?: string;
  readonly otherwise: boolean;
  readonly outcome: string;
  readonly loop?: LoopSpec & { readonly taken: number };
  /** The run took it, in the newest iteration of its source. */
  readonly taken: boolean;
}

/** A run. */
export interface RunView {
  readonly id: string;
  readonly namespace: string;
  readonly workflow: string;
  readonly state: RunState;
  readonly conditions: readonly string[];
  /** What no connected worker has, with the condition Unschedulable. */
  readonly waitingFor: readonly string[];
  readonly requester: RequesterView;
  readonly tags: Readonly<Record<string, string>>;
  readonly metadata: Readonly<Record<string, string>>;
  readonly parametersJson: string;
  readonly outputJson?: string;
  readonly failure?: FailureView;
  readonly bundleDigest: string;
  /** W3C trace id; empty for runs of an earlier version. */
  readonly traceId: string;
  readonly createTime: Date;
  readonly startTime?: Date;
  readonly endTime?: Date;
  readonly deadline?: Date;
  /** Empty in listings. */
  readonly nodes: readonly NodeView[];
  /** Empty in listings. */
  readonly edges: readonly EdgeView[];
}

/** A task. */
export interface TaskView {
  readonly id: string;
  readonly runId: string;
  readonly node: string;
  readonly iteration: number;
  readonly item: number;
  readonly state: TaskState;
  readonly agent: string;
  readonly attempt: number;
  readonly deliveries: number;
  readonly worker: string;
  readonly failure?: FailureView;
  readonly createTime: Date;
  readonly endTime?: Date;
  readonly dueTime?: Date;
  readonly inputJson?: string;
  readonly outputJson?: string;
}

/** A recorded turn. */
export interface TurnView {
  readonly sequence: number;
  readonly turnJson: string;
  readonly createTime: Date;
}

/** A row of the tool ledger. */
export interface ToolCallView {
  readonly requestId: string;
  readonly tool: string;
  readonly state: "granted" | "done" | "failed" | "denied" | "unknown";
  readonly attempt: number;
  readonly argumentsDigest: string;
  readonly failure?: FailureView;
  readonly createTime: Date;
  readonly endTime?: Date;
}

/** A worker with a session. */
export interface WorkerSessionView {
  readonly sessionId: string;
  readonly name: string;
  readonly identity: string;
  readonly instanceId: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly slots: number;
  readonly runtimes: readonly string[];
  readonly handlers: readonly string[];
  readonly leases: number;
  readonly state: "active" | "draining" | "lost";
  readonly connectTime: Date;
  readonly lastSeenTime: Date;
  readonly replicaId: string;
  readonly version: string;
}

/** A live lease. */
export interface LeaseView {
  readonly taskId: string;
  readonly runId: string;
  readonly node: string;
  readonly sessionId: string;
  readonly worker: string;
  readonly attempt: number;
  readonly delivery: number;
  readonly accepted: boolean;
  readonly claimTime: Date;
  readonly expireTime: Date;
}

/** An audit record. */
export interface AuditRecordView {
  /** Ascending in insertion order. */
  readonly id: bigint;
  readonly time: Date;
  readonly kind: string;
  readonly namespace: string;
  readonly runId: string;
  readonly taskId: string;
  readonly actor: string;
  /** Who invoked its run; empty if it has none. */
  readonly onBehalfOf: string;
  readonly traceId: string;
  readonly recordJson: string;
}

/** Filters of the audit trail; empty fields do not filter. */
export interface AuditFilterView {
  readonly namespace: string;
  readonly runId: string;
  readonly taskId: string;
  /** Kinds, or prefixes that end in a dot. */
  readonly kinds: readonly string[];
  readonly startTime?: Date;
  readonly endTime?: Date;
}

/** A snapshot of a run for watchers. */
export interface RunSnapshot {
  readonly run: RunView;
  readonly tasks: readonly TaskView[];
  /** Records since the last snapshot. */
  readonly events: readonly AuditRecordView[];
}
