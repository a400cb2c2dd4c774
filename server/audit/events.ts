// The closed list of audit kinds and what each records. docs/audit.md lists them for readers of the trail.
// Made by commands, one record a command and task at most: a claim carries its decision inside, an outcome the transitions
// it caused. Turned into rows by record.ts.
// Never holds a secret, a lease token, arguments or results: digests and short hashes stand for them.

import type { JsonObject } from "../../kit/json.ts";
import type { DecisionReason } from "../policy/types.ts";
import type { NodeState, RunCause, RunState, TaskState } from "../queue/states.ts";

/** What went wrong. */
export type FailureDetail = { readonly class: string; readonly message: string };

/** Who asked, as authenticated. */
export type RequesterDetail = {
  readonly id: string;
  readonly kind: string;
  readonly groups: readonly string[];
  readonly claims: Readonly<Record<string, string>>;
  readonly method: string;
  readonly issuer?: string;
  /** Who invoked for the requester. */
  readonly invokedBy?: string;
};

/** A change of state that the recorded event caused. */
export type TransitionDetail =
  | { readonly of: "run"; readonly to: RunState; readonly from?: RunState; readonly cause?: RunCause }
  | {
      readonly of: "node";
      readonly node: string;
      readonly iteration: number;
      readonly to: NodeState;
      readonly from?: NodeState;
      readonly failure?: FailureDetail;
    }
  | {
      readonly of: "task";
      readonly taskId: string;
      readonly node: string;
      readonly to: TaskState;
      readonly from?: TaskState;
    }
  /** Tasks of all items of a mapped node: as many READY as may run at a time, the others WAITING. */
  | {
      readonly of: "items";
      readonly node: string;
      readonly iteration: number;
      readonly total: number;
      readonly ready: number;
    };

/** A policy decision: see decisionDetail in record.ts. */
export type DecisionDetail = {
  readonly checkpoint: string;
  readonly allowed: boolean;
  readonly reason: DecisionReason;
  readonly decidedBy: string;
  readonly policyRevision: string;
  /** Database time of the decision, ms since the epoch. */
  readonly nowMs: number;
  readonly inputDigest: string;
  readonly verdicts: readonly {
    readonly policy: string;
    readonly generation: number;
    readonly digest: string;
    readonly mode: "enforce" | "observe";
    readonly reason: DecisionReason;
  }[];
  readonly requester?: string;
  readonly workflow?: string;
  readonly agent?: string;
  readonly tool?: string;
  readonly argumentsDigest?: string;
  /** Decided before anybody called the tool: whatever the arguments are. */
  readonly argsDeferred?: boolean;
  /** What was counted, or the limit that was full; count as it was then. */
  readonly limits?: readonly {
    readonly policy: string;
    readonly limit: string;
    readonly keyDigest: string;
    /** Begin and length of the window, ms. */
    readonly windowStartMs: number;
    readonly windowMs: number;
    readonly count: number;
    readonly max: number;
  }[];
};

/** Which stored manifest an event is about: its generation and digest. */
export type TargetDetail = { readonly generation: number; readonly digest: string };

/** Which attempt of which task of which node. */
export type TaskDetail = {
  readonly node: string;
  readonly iteration: number;
  readonly attempt: number;
  readonly item?: number;
  readonly agent?: string;
};

/** One call of a tool; generation and digest of the tool where the agent declares it. */
export type ToolCallDetail = Partial<TargetDetail> & {
  readonly tool: string;
  readonly requestId: string;
  readonly attempt: number;
  readonly argumentsDigest: string;
};

/** How many runs of a group went on and waited, and how many may go on. */
export type ConcurrencyDetail = {
  /** Absent: all runs of the workflow are one group. */
  readonly key?: string;
  /** Absent: the limit was taken away. */
  readonly max?: number;
  readonly running: number;
  readonly waiting: number;
};

type Caused = { readonly transitions?: readonly TransitionDetail[] };
type Ended = TaskDetail & Caused & { readonly worker?: string };
type Failed = Ended & { readonly failure: FailureDetail };
type Identified = { readonly sessionId: string; readonly worker: string };

/** What each kind records. */
export type AuditDetails = {
  "run.created": Caused & {
    readonly workflow: string;
    readonly target: TargetDetail;
    readonly bundleDigest: string;
    readonly parametersDigest: string;
    readonly requester: RequesterDetail;
    readonly tags?: Readonly<Record<string, string>>;
    readonly idempotencyKey?: string;
    /** The finished run whose dead letter this one replays. */
    readonly replayOf?: string;
    readonly decision?: DecisionDetail;
    /** It waits for its turn: its group as it was then, without it. */
    readonly queued?: ConcurrencyDetail;
  };
  /** An invocation that a policy denied, or that its workflow's concurrency has no room for: there is no run. */
  "run.refused": {
    readonly workflow: string;
    readonly target: TargetDetail;
    readonly requester: RequesterDetail;
    /** The finished run whose dead letter was to be replayed by a new one. */
    readonly replayOf?: string;
    readonly decision?: DecisionDetail;
    /** There was no room: its group as it was then. */
    readonly concurrency?: ConcurrencyDetail;
  };
  /** A run that waited for its turn goes on: it begins, or what was replayed of it does. */
  "run.started": Caused & { readonly concurrency: ConcurrencyDetail };
  "run.stopping": Caused & { readonly cause: RunCause; readonly reason: string; readonly failure?: FailureDetail };
  "run.finished": Caused & {
    readonly state: RunState;
    readonly failure?: FailureDetail;
    readonly outputDigest?: string;
  };

  "task.leased": TaskDetail &
    Identified & {
      readonly delivery: number;
      /** The agent's. */
      readonly target: TargetDetail;
      readonly decision?: DecisionDetail;
      /** workflow.run once more, before anything of the run left the server. */
      readonly runDecision?: DecisionDetail;
      /** Tools that the model does not hear of, as the agent declares them. */
      readonly withheldTools?: readonly { readonly name: string; readonly decision: DecisionDetail }[];
    };
  /** READY again with the same attempt. */
  "task.requeued": TaskDetail & {
    readonly cause: "yielded" | "not_accepted" | "interrupted" | "due";
    readonly reason?: string;
    readonly worker?: string;
  };
  /** WAITING for the next attempt. */
  "task.retrying": TaskDetail & {
    readonly failure: FailureDetail;
    readonly delayMs: number;
    readonly nextAttempt: number;
    readonly worker?: string;
  };
  "task.succeeded": Ended & { readonly outputDigest: string };
  "task.failed": Failed;
  "task.cancelled": Ended & { readonly reason?: string };
  "task.timed_out": Failed;
  "task.denied": Failed & { readonly decision: DecisionDetail };
  "task.dead_lettered": Failed & { readonly cause: "attempts" | "deliveries" | "unknown_outcome" };

  /** A person replays a parked task: a new task, in its run or in a new one. */
  "dead_letter.replayed": TaskDetail &
    Caused & {
      readonly how: "plain" | "input" | "current_manifests";
      readonly replayTaskId: string;
      readonly replayRunId: string;
      readonly inputDigest: string;
      readonly bundleDigest: string;
      readonly repeatEffects: boolean;
      /** Calls whose result a person told, with its digest. */
      readonly toldResults?: Readonly<Record<string, string>>;
    };
  /** A person gives a parked task up: its node fails. */
  "dead_letter.discarded": TaskDetail & Caused & { readonly reason: string };

  "turn.recorded": {
    readonly sequence: number;
    readonly turnDigest: string;
    readonly toolCalls: number;
    readonly worker?: string;
  };
  /** A decision that no other record carries. */
  decision: DecisionDetail;
  "tool.granted": ToolCallDetail & {
    readonly grantId: string;
    readonly effect: string;
    readonly decision?: DecisionDetail;
  };
  /** A recorded result was given again; the tool was not called. */
  "tool.cached": ToolCallDetail & { readonly resultDigest: string; readonly decision?: DecisionDetail };
  /** Not granted, and the task goes on: arguments that do not fit, a request id reused, a call in flight. */
  "tool.refused": ToolCallDetail & { readonly reason: string; readonly message?: string };
  "tool.result": ToolCallDetail & { readonly grantId: string; readonly durationMs: number } & ToolEnd;
  /** Reached the ledger after the task had moved on; never its journal. */
  "tool.late_result": ToolCallDetail & { readonly grantId: string; readonly durationMs: number } & ToolEnd;
  /** A fact of a worker that it has no right to tell: its lease is over, or as `reason` says. It changed nothing. */
  "fact.refused": {
    readonly fact: string;
    readonly tokenHash?: string;
    readonly currentTokenHash?: string;
    readonly worker: string;
    readonly sessionId?: string;
    /** Absent: the lease token is void. */
    readonly reason?: string;
    /** Tool that was asked for. */
    readonly tool?: string;
    /** Tokens in one frame that were refused alike; absent: one. */
    readonly count?: number;
  };

  "resource.applied": {
    readonly kind: string;
    readonly name: string;
    /** recorded: it got another set, and is otherwise as it was. */
    readonly action: "created" | "configured" | "recorded";
    readonly generation: number;
    readonly digest: string;
    readonly previousDigest?: string;
    readonly previousGeneration?: number;
    /** The set of manifests that it belongs to. */
    readonly set?: string;
    readonly previousSet?: string;
  };
  "resource.deleted": {
    readonly kind: string;
    readonly name: string;
    readonly generation: number;
    readonly digest: string;
    readonly forced: boolean;
    /** The set whose files do not hold it any more. */
    readonly prunedFrom?: string;
    readonly referrers?: readonly string[];
  };

  "worker.connected": Identified & {
    readonly identity: string;
    readonly instanceId: string;
    readonly slots: number;
    readonly runtimes: readonly string[];
    /** Absent: none. */
    readonly handlers?: readonly string[];
    readonly labels: Readonly<Record<string, string>>;
    readonly version: string;
    readonly resumed: boolean;
  };
  "worker.lost": Identified & { readonly leases: number };
  "worker.drained": Identified & { readonly windowMs: number };
  "worker.disconnected": Identified & { readonly polite: boolean; readonly reason?: string };
  "lease.revoked": TaskDetail & { readonly worker: string; readonly tokenHash: string; readonly reason: string };
  /** The lease ran out; the task is READY again, or dead-lettered when its deliveries are used up. */
  "lease.expired": TaskDetail & { readonly worker: string; readonly tokenHash: string; readonly deliveries: number };

  /** Without a principal: as many as count in a minute; method is that of the last one. */
  "security.refused": {
    readonly listener: string;
    readonly method: string;
    readonly reason: string;
    readonly peer: string;
    readonly principal?: string;
    readonly count: number;
  };
  /** One batch of retention: what kind of thing, how many, and up to where. */
  "retention.removed": {
    readonly of: "runs" | "audit";
    readonly counts: Readonly<Record<string, number>>;
    readonly bounds: Readonly<Record<string, string>>;
  };
  /** Somebody read the trail: one record a call. */
  "audit.read": { readonly how: "list" | "watch" | "export" | "explain"; readonly filter: JsonObject };
  "token.created": {
    readonly tokenId: string;
    readonly principal: string;
    readonly roles: readonly string[];
    readonly method: string;
    readonly groups?: readonly string[];
    readonly grants?: readonly string[];
    readonly ttlMs?: number;
  };
  "token.revoked": { readonly tokenId: string; readonly principal: string };
};

/** How a tool call ended. */
export type ToolEnd =
  | { readonly ok: true; readonly resultDigest: string }
  | { readonly ok: false; readonly failure: FailureDetail; readonly final: boolean };

/** Name of an audit kind. */
export type AuditKind = keyof AuditDetails;

/** One event, to be recorded in the transaction of the change that it describes. */
export type AuditEvent = {
  [Kind in AuditKind]: {
    readonly kind: Kind;
    /** Namespace of the subject; absent for facts about the control plane itself. */
    readonly namespace?: string;
    readonly runId?: string;
    readonly taskId?: string;
    /** A principal id, "server", or workerActor(name). */
    readonly actor: string;
    /** Of the call that caused it; a record of a run has the trace id of the run. */
    readonly traceId?: string;
    readonly detail: AuditDetails[Kind];
  };
}[AuditKind];

// Every kind once: the compiler refuses a missing and a strange one.
const EVERY_KIND: Record<AuditKind, true> = {
  "run.created": true,
  "run.refused": true,
  "run.started": true,
  "run.stopping": true,
  "run.finished": true,
  "task.leased": true,
  "task.requeued": true,
  "task.retrying": true,
  "task.succeeded": true,
  "task.failed": true,
  "task.cancelled": true,
  "task.timed_out": true,
  "task.denied": true,
  "task.dead_lettered": true,
  "dead_letter.replayed": true,
  "dead_letter.discarded": true,
  "turn.recorded": true,
  decision: true,
  "tool.granted": true,
  "tool.cached": true,
  "tool.refused": true,
  "tool.result": true,
  "tool.late_result": true,
  "fact.refused": true,
  "resource.applied": true,
  "resource.deleted": true,
  "worker.connected": true,
  "worker.lost": true,
  "worker.drained": true,
  "worker.disconnected": true,
  "lease.revoked": true,
  "lease.expired": true,
  "security.refused": true,
  "retention.removed": true,
  "audit.read": true,
  "token.created": true,
  "token.revoked": true,
};

/** Every audit kind. */
export const AUDIT_KINDS = Object.keys(EVERY_KIND) as readonly AuditKind[];

/** Actor of what a worker caused. */
export function workerActor(workerName: string): string {
  return `worker:${workerName}`;
}

/** A record as it is stored: the columns that listings filter by, and the canonical text that is hashed. */
export interface StoredRecord {
  readonly kind: AuditKind;
  readonly namespace: string;
  readonly run_id: string;
  readonly task_id: string;
  readonly actor: string;
  /** Of the call, where the record belongs to no run that has one. */
  readonly trace_id?: string;
  readonly record: string;
  /** What it was made of: counted once it is committed. */
  readonly event: AuditEvent;
}

/** Stands in a record for what was too long for it. */
export type OmittedDetail = JsonObject & { omitted: true; digest: string; bytes: number };
