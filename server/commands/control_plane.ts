// The use cases of the control plane as one interface: what rpc may call. replica.ts wires it from the files of this room.
// Every method authenticates nothing: the interceptor in rpc did, and passes the principal on for the record.
// Every method throws DomainError with the reasons named here.

import type { TraceContext } from "../../kit/trace.ts";
import type { ConnectedWorker } from "../dispatch/connected_worker.ts";
import type { Kind } from "../manifests/specs.ts";
import type { RunState } from "../queue/states.ts";
import type { Credentials } from "./authenticate.ts";
import type { DecisionView, ExplainInput, TryInput } from "./decision_views.ts";
import type { DiagnosisView } from "./diagnose.ts";
import type { ExportRequest } from "./export_audit.ts";
import type { NewToken } from "./manage_tokens.ts";
import type { StatusView } from "./read_status.ts";
import type { Refusal } from "./record_refusal.ts";
import type { TaskLogChunkView, TaskLogsView } from "./task_log_views.ts";
import type {
  AccessTokenView,
  ApplyResultView,
  AuditFilterView,
  AuditRecordView,
  DeadLetterDetailView,
  DeadLetterFilterView,
  DeadLetterView,
  DiagnosticView,
  LeaseView,
  Page,
  PageRequest,
  PlannedChangeView,
  Principal,
  ReplayHow,
  ReplayResult,
  ResourceView,
  RunSnapshot,
  RunView,
  TaskView,
  ToolCallView,
  TurnView,
  WorkerSessionView,
} from "./views.ts";

/** A manifest file as the caller sent it. */
export interface ManifestFileInput {
  readonly name: string;
  readonly content: string;
}

/** Manifest files and how to read them. */
export interface ApplyInput {
  readonly files: readonly ManifestFileInput[];
  readonly defaultNamespace: string;
  readonly strict: boolean;
  /** Records every document as one of this set. */
  readonly set?: string;
  /** Deletes what is in the set and not in the files. */
  readonly prune?: boolean;
  /** Takes documents over that are in another set. */
  readonly adopt?: boolean;
  /** Generation that the one document in the files must have now. */
  readonly expectedGeneration?: number;
  /** Namespaces that the caller may touch; absent: every one. */
  readonly within?: ReadonlySet<string>;
}

/** One invocation. */
export interface InvokeInput {
  readonly namespace: string;
  readonly workflow: string;
  /** JSON object text. */
  readonly parametersJson: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly metadata: Readonly<Record<string, string>>;
  readonly idempotencyKey: string;
  /** Where the caller is in a trace; absent: in none, and the run gets one of its own. */
  readonly trace?: TraceContext;
  /** Whether spans of the run are recorded; absent: as the caller says, or else they are. */
  readonly sampled?: boolean;
  /** The person that the caller invokes for. */
  readonly onBehalfOf?: Pick<Principal, "id" | "groups" | "claims">;
}

/** Which runs are listed; absent members do not narrow. */
export interface RunListFilter {
  readonly namespace?: string;
  readonly workflow?: string;
  /** Any of them; all states when empty. */
  readonly states: readonly RunState[];
  /** Runs that have each of these tags with this value. */
  readonly tags?: Readonly<Record<string, string>>;
  readonly createdFrom?: Date;
  readonly createdBefore?: Date;
}

/** What Invoke returns. */
export interface InvokeResult {
  readonly run: RunView;
  readonly duplicate: boolean;
}

/** See the file header. */
export interface ControlPlane {
  /** @throws MANIFEST_INVALID (the error is a ManifestInvalidError that carries the findings), MANIFEST_TOO_SLOW. */
  apply(
    principal: Principal,
    input: ApplyInput,
  ): Promise<{ results: ApplyResultView[]; diagnostics: DiagnosticView[] }>;
  /** What apply would do; stores nothing. Findings are the result. @throws MANIFEST_TOO_SLOW, PERMISSION_DENIED */
  planApply(
    principal: Principal,
    input: ApplyInput,
  ): Promise<{ valid: boolean; changes: PlannedChangeView[]; diagnostics: DiagnosticView[] }>;
  /** Findings are the result. @throws MANIFEST_TOO_SLOW */
  validate(principal: Principal, input: ApplyInput): Promise<{ valid: boolean; diagnostics: DiagnosticView[] }>;
  /** @throws RESOURCE_NOT_FOUND */
  getResource(kind: Kind, namespace: string, name: string): Promise<ResourceView>;
  listResources(
    filter: { kind?: Kind; namespace?: string; labels?: Readonly<Record<string, string>>; full: boolean },
    page: PageRequest,
  ): Promise<Page<ResourceView>>;
  /** @throws RESOURCE_NOT_FOUND, RESOURCE_IN_USE */
  deleteResource(principal: Principal, kind: Kind, namespace: string, name: string, force: boolean): Promise<void>;

  /** @throws WORKFLOW_NOT_FOUND, PARAMS_INVALID, POLICY_DENIED, IDEMPOTENCY_CONFLICT, MANIFEST_INVALID (a reference broke) */
  invoke(principal: Principal, input: InvokeInput): Promise<InvokeResult>;
  /** One result or DomainError an item, in order; one transaction. */
  invokeBatch(principal: Principal, inputs: readonly InvokeInput[]): Promise<(InvokeResult | Error)[]>;
  /** With nodes, outputs and edges. @throws RUN_NOT_FOUND */
  getRun(runId: string): Promise<RunView>;
  listRuns(filter: RunListFilter, page: PageRequest): Promise<Page<RunView>>;
  /** A snapshot at once, then one after changes; ends when the run is finished or the signal aborts. @throws RUN_NOT_FOUND */
  watchRun(runId: string, signal: AbortSignal): AsyncIterable<RunSnapshot>;
  /** @throws RUN_NOT_FOUND, RUN_FINISHED */
  cancelRun(principal: Principal, runId: string, reason: string): Promise<RunView>;
  /** @throws TASK_NOT_FOUND */
  getTask(taskId: string): Promise<{ task: TaskView; turns: TurnView[]; toolCalls: ToolCallView[] }>;
  /** @throws RUN_NOT_FOUND */
  listTasks(runId: string, page: PageRequest): Promise<Page<TaskView>>;
  /** @throws RUN_NOT_FOUND, TASK_NOT_FOUND */
  listTaskLogs(of: TaskLogsView, page: PageRequest): Promise<Page<TaskLogChunkView>>;
  /** What is there, and what comes until the run or task has ended, or the signal aborts. @throws RUN_NOT_FOUND, TASK_NOT_FOUND */
  watchTaskLogs(of: TaskLogsView, signal: AbortSignal): AsyncIterable<readonly TaskLogChunkView[]>;

  listDeadLetters(filter: DeadLetterFilterView, page: PageRequest): Promise<Page<DeadLetterView>>;
  /** @throws DEAD_LETTER_NOT_FOUND */
  getDeadLetter(taskId: string): Promise<DeadLetterDetailView>;
  /** @throws DEAD_LETTER_NOT_FOUND, DEAD_LETTER_RESOLVED, OUTCOME_UNKNOWN, EFFECTS_RECORDED, PARAMS_INVALID, POLICY_DENIED */
  replayDeadLetter(principal: Principal, taskId: string, how: ReplayHow): Promise<ReplayResult>;
  /** @throws DEAD_LETTER_NOT_FOUND, DEAD_LETTER_RESOLVED */
  discardDeadLetter(principal: Principal, taskId: string, reason: string): Promise<void>;

  listWorkers(page: PageRequest): Promise<Page<WorkerSessionView>>;
  /** By session id or name. @throws WORKER_NOT_FOUND */
  getWorker(worker: string): Promise<{ worker: WorkerSessionView; leases: LeaseView[] }>;
  listLeases(filter: { runId?: string }, page: PageRequest): Promise<Page<LeaseView>>;
  /** @throws WORKER_NOT_FOUND */
  drainWorker(principal: Principal, worker: string, windowMs: number): Promise<WorkerSessionView>;
  /** @throws LEASE_NOT_FOUND */
  revokeLease(principal: Principal, taskId: string, reason: string): Promise<void>;
  /** The numbers of the fleet, at most a second old. */
  readStatus(): Promise<StatusView>;
  /** What is wrong or will be; what cannot be looked at is a finding. */
  diagnose(): Promise<DiagnosisView>;

  /** Reading the trail is recorded in it, once a call; what cannot be recorded is not read. */
  listAudit(principal: Principal, filter: AuditFilterView, page: PageRequest): Promise<Page<AuditRecordView>>;
  /** Batches of records as they commit; ends when the signal aborts. afterId absent: from now. */
  watchAudit(
    principal: Principal,
    filter: AuditFilterView,
    afterId: bigint | undefined,
    signal: AbortSignal,
  ): AsyncIterable<readonly AuditRecordView[]>;
  /** Lines of an export, each with its line feed. @throws VERSION_CHANGED when retention takes what was about to be read */
  exportAudit(principal: Principal, request: ExportRequest): AsyncIterable<string>;
  /** Decisions of a run or task, by the policies of now and as recorded. @throws RUN_NOT_FOUND, TASK_NOT_FOUND, RESOURCE_NOT_FOUND */
  explainDecisions(principal: Principal, input: ExplainInput): Promise<DecisionView[]>;
  /** @throws WORKFLOW_NOT_FOUND, RESOURCE_NOT_FOUND, PARAMS_INVALID, MANIFEST_INVALID */
  tryDecisions(input: TryInput): Promise<DecisionView[]>;
  /** The key that this server signs with. */
  auditKey(): { readonly name: string; readonly publicPem: string };

  /** Makes a bearer token; the result is the only place where it is told. */
  createToken(principal: Principal, token: NewToken): Promise<{ token: string; view: AccessTokenView }>;
  /** ended: those that expired or were revoked as well. */
  listTokens(ended: boolean, page: PageRequest): Promise<Page<AccessTokenView>>;
  /** @throws TOKEN_NOT_FOUND */
  revokeToken(principal: Principal, tokenId: string): Promise<AccessTokenView>;

  /** Namespace of a run or task; undefined if it does not exist. */
  namespaceOf(of: { readonly runId: string } | { readonly taskId: string }): Promise<string | undefined>;
  /** Records a refused call as a security event; never throws. */
  recordRefusal(refusal: Refusal): Promise<void>;
  /** Who calls, or undefined. @throws STORAGE_UNAVAILABLE, IDENTITY_UNAVAILABLE */
  authenticate(credentials: Credentials): Promise<Principal | undefined>;
  /** Why credentials are not valid, as the trail records it; callers are not told. */
  refusalReason(credentials: Credentials): string;
  /** True when the database answers and migrations are done. */
  ready(): Promise<boolean>;
  /** What monitoring reads of this replica, as text; never throws. */
  scrape(): Promise<string>;

  /** Registers the stream of a worker. The returned object takes its frames; see dispatch/connected_worker.ts. */
  connectWorker(principal: Principal, peer: string): ConnectedWorker;
}

/** What handlers call for an authenticated caller: everything but the control plane's own machinery. */
export type UseCases = Omit<
  ControlPlane,
  "namespaceOf" | "recordRefusal" | "authenticate" | "refusalReason" | "ready" | "scrape" | "connectWorker"
>;
