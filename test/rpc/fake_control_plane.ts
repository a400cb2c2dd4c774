// A control plane in memory behind the wire: answers every use case with one fixed view and notes what it was asked.
// Used by the rpc tests; stores nothing. Its principals are named by their token: "tok-admin" has the role admin, and so on.

import { create } from "@bufbuild/protobuf";
import { DomainError } from "../../kit/errors.ts";
import {
  type SessionRequest,
  type SessionResponse,
  SessionResponseSchema,
} from "../../proto/gen/orloj/v1/worker_pb.ts";
import type { Credentials } from "../../server/commands/authenticate.ts";
import type { ControlPlane, InvokeInput, InvokeResult } from "../../server/commands/control_plane.ts";
import type { TaskLogChunkView, TaskLogsView } from "../../server/commands/task_log_views.ts";
import type * as views from "../../server/commands/views.ts";
import type { ConnectedWorker } from "../../server/dispatch/connected_worker.ts";
import { DECISION } from "./decision_view.ts";
import { LEASE, WORKER } from "./fleet_views.ts";
import { LOG_CHUNK, RUN, TASK } from "./run_views.ts";

export { RUN, TASK } from "./run_views.ts";

const time = new Date("2026-01-02T03:04:05.678Z");

const RESOURCE: views.ResourceView = {
  ...{ kind: "Agent", namespace: "default", name: "a", generation: 3, digest: "sha256:1", labels: { l: "1" } },
  ...{ createTime: time, updateTime: time, set: "" },
};
export const LETTER: views.DeadLetterView = {
  ...{ taskId: "task_1", runId: "run_1", namespace: "default", workflow: "hello", node: "n", agent: "agent" },
  ...{ cause: "attempts", failure: { class: "Timeout", message: "late" }, attempt: 3, deliveries: 0, state: "open" },
  ...{ parkTime: time, resolvedBy: "", replayTaskId: "", replayRunId: "" },
};
export const TOKEN: views.AccessTokenView = {
  ...{ id: "tok_1", name: "ci", kind: "service", groups: ["g"], claims: { a: "b" }, roles: ["invoker"] },
  ...{ rights: ["invoke-as"], namespaces: ["default"], method: "token", createTime: time, createdBy: "dev" },
};
export const RECORD: views.AuditRecordView = {
  id: 7n,
  time,
  kind: "run.created",
  namespace: "default",
  runId: "run_1",
  taskId: "",
  actor: "dev",
  onBehalfOf: "dev",
  traceId: "",
  recordJson: "{}",
};

/** One worker stream: answers Hello with Welcome, refuses any other first frame, ends after Goodbye or closed(). */
export class FakeWorker implements ConnectedWorker {
  readonly received: SessionRequest[] = [];
  closedCalls = 0;
  movedOn = 0;
  /** Set to make receive() wait. */
  hold: Promise<void> | undefined;
  /** Frames in place of Welcome, without end. */
  flood: SessionResponse | undefined;
  floodSent = 0;
  #queue: SessionResponse[] = [];
  #wake: (() => void) | undefined;
  #ended = false;
  readonly #onChange: () => void;

  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  async receive(frame: SessionRequest): Promise<void> {
    if (this.received.length === 0 && frame.frame.case !== "hello") {
      throw new DomainError("PROTOCOL_VIOLATION", "the first frame is not Hello: send Hello first");
    }
    this.received.push(frame);
    this.#onChange();
    if (frame.frame.case === "hello") this.push({ frame: { case: "welcome", value: { sessionId: "ses_1" } } });
    if (frame.frame.case === "goodbye") this.#end();
    await this.hold;
  }

  moveOn(): void {
    this.movedOn += 1;
  }

  push(frame: Parameters<typeof create<typeof SessionResponseSchema>>[1]): void {
    this.#queue.push(create(SessionResponseSchema, frame));
    this.#wake?.();
  }

  async *outgoing(signal: AbortSignal): AsyncGenerator<SessionResponse> {
    signal.addEventListener("abort", () => this.#end());
    while (!this.#ended || this.#queue.length > 0) {
      const frame = this.#queue.shift();
      if (frame !== undefined) yield frame;
      else if (this.flood !== undefined && this.received.length > 0) {
        this.floodSent += 1;
        yield this.flood;
      } else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }

  closed(): void {
    this.closedCalls += 1;
    this.#end();
    this.#onChange();
  }

  #end(): void {
    this.#ended = true;
    this.#wake?.();
  }
}

/** See the file header. */
export class FakeControlPlane implements ControlPlane {
  readonly calls: { method: string; args: readonly unknown[] }[] = [];
  /** Namespace of a run or task. */
  readonly namespaces = new Map([
    ["run_1", "default"],
    ["task_1", "default"],
  ]);
  /** Principals beside those of the roles, by token. */
  readonly principals = new Map<string, views.Principal>();
  readonly refusals: Parameters<ControlPlane["recordRefusal"]>[0][] = [];
  readonly workers: FakeWorker[] = [];
  isReady: boolean | (() => Promise<boolean>) = true;
  /** Thrown by every use case while set. */
  failure: unknown;
  /** What a watch sends before it goes silent, and whether it ends then. */
  snapshots: views.RunSnapshot[] = [{ run: RUN, tasks: [TASK], events: [RECORD] }];
  watchEnds = false;
  /** A watch that does not listen to its signal. */
  watchIsDeaf = false;
  watchesOpen = 0;
  /** Called with each worker stream before it is used. */
  onWorker: (worker: FakeWorker) => void = () => undefined;
  #waiting: { until: () => boolean; resolve: () => void }[] = [];

  /** Resolves when the condition holds; checked after every change. */
  until(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ until: condition, resolve }));
  }

  #changed = (): void => {
    for (const waiting of this.#waiting.filter((each) => each.until())) {
      this.#waiting = this.#waiting.filter((each) => each !== waiting);
      waiting.resolve();
    }
  };

  async #answer<T>(method: string, args: readonly unknown[], value: T): Promise<T> {
    this.calls.push({ method, args });
    this.#changed();
    if (this.failure !== undefined) throw this.failure;
    return value;
  }

  apply(...args: Parameters<ControlPlane["apply"]>) {
    const { kind, namespace, name, generation, digest } = RESOURCE;
    const results: views.ApplyResultView[] = [{ kind, namespace, name, generation, digest, action: "created" }];
    return this.#answer("apply", args, { results, diagnostics: [] });
  }
  planApply(...args: Parameters<ControlPlane["planApply"]>) {
    return this.#answer("planApply", args, { valid: true, changes: [], diagnostics: [] });
  }
  validate(...args: Parameters<ControlPlane["validate"]>) {
    return this.#answer("validate", args, { valid: true, diagnostics: [] });
  }
  getResource(...args: Parameters<ControlPlane["getResource"]>) {
    return this.#answer("getResource", args, { ...RESOURCE, manifestJson: "{}" });
  }
  listResources(...args: Parameters<ControlPlane["listResources"]>) {
    return this.#answer("listResources", args, { items: [RESOURCE], nextPageToken: "next" });
  }
  deleteResource(...args: Parameters<ControlPlane["deleteResource"]>) {
    return this.#answer("deleteResource", args, undefined);
  }
  invoke(...args: Parameters<ControlPlane["invoke"]>): Promise<InvokeResult> {
    return this.#answer("invoke", args, { run: RUN, duplicate: false });
  }
  invokeBatch(principal: views.Principal, inputs: readonly InvokeInput[]) {
    const results = inputs.map((input) => {
      if (input.workflow === "missing") return new DomainError("WORKFLOW_NOT_FOUND", "no workflow missing: apply it");
      if (input.workflow === "broken") return new TypeError("secret detail");
      return { run: RUN, duplicate: true };
    });
    return this.#answer<(InvokeResult | Error)[]>("invokeBatch", [principal, inputs], results);
  }
  getRun(...args: Parameters<ControlPlane["getRun"]>) {
    return this.#answer("getRun", args, RUN);
  }
  listRuns(...args: Parameters<ControlPlane["listRuns"]>) {
    return this.#answer("listRuns", args, { items: [RUN] });
  }
  async *watchRun(runId: string, signal: AbortSignal): AsyncGenerator<views.RunSnapshot> {
    yield* this.#watch("watchRun", [runId], this.snapshots, signal);
  }
  cancelRun(...args: Parameters<ControlPlane["cancelRun"]>) {
    return this.#answer("cancelRun", args, { ...RUN, state: "CANCELLING" as const });
  }
  getTask(...args: Parameters<ControlPlane["getTask"]>) {
    const turns: views.TurnView[] = [{ sequence: 1, turnJson: "{}", createTime: time }];
    const call = {
      requestId: "r",
      tool: "t",
      state: "done",
      attempt: 1,
      argumentsDigest: "d",
      createTime: time,
    } as const;
    return this.#answer("getTask", args, { task: TASK, turns, toolCalls: [call] });
  }
  listTasks(...args: Parameters<ControlPlane["listTasks"]>) {
    return this.#answer("listTasks", args, { items: [TASK] });
  }
  listTaskLogs(...args: Parameters<ControlPlane["listTaskLogs"]>) {
    return this.#answer("listTaskLogs", args, { items: [LOG_CHUNK] });
  }
  async *watchTaskLogs(of: TaskLogsView, signal: AbortSignal): AsyncGenerator<TaskLogChunkView[]> {
    yield* this.#watch("watchTaskLogs", [of], [[LOG_CHUNK]], signal);
  }
  listDeadLetters(...args: Parameters<ControlPlane["listDeadLetters"]>) {
    return this.#answer("listDeadLetters", args, { items: [LETTER] });
  }
  getDeadLetter(...args: Parameters<ControlPlane["getDeadLetter"]>) {
    const kept = { inputJson: "{}", originTaskId: "task_1", journal: [], toolCalls: [], bundleDigest: "sha256:0" };
    return this.#answer("getDeadLetter", args, {
      ...LETTER,
      ...kept,
      manifestDigests: { "default/hello": "sha256:1" },
    });
  }
  replayDeadLetter(...args: Parameters<ControlPlane["replayDeadLetter"]>) {
    const [, taskId] = args;
    const replay = { taskId, replayTaskId: "task_2", replayRunId: "run_1", duplicate: false };
    if (taskId === "missing")
      throw new DomainError("DEAD_LETTER_NOT_FOUND", "task missing is no dead letter: list them");
    return this.#answer("replayDeadLetter", args, replay);
  }
  discardDeadLetter(...args: Parameters<ControlPlane["discardDeadLetter"]>) {
    return this.#answer("discardDeadLetter", args, undefined);
  }
  listWorkers(...args: Parameters<ControlPlane["listWorkers"]>) {
    return this.#answer("listWorkers", args, { items: [WORKER] });
  }
  getWorker(...args: Parameters<ControlPlane["getWorker"]>) {
    return this.#answer("getWorker", args, { worker: WORKER, leases: [LEASE] });
  }
  listLeases(...args: Parameters<ControlPlane["listLeases"]>) {
    return this.#answer("listLeases", args, { items: [LEASE] });
  }
  readStatus(...args: Parameters<ControlPlane["readStatus"]>) {
    return this.#answer("readStatus", args, { readTime: time, replicaId: "rep_1", version: "1.2.3", numbers: [] });
  }
  diagnose(...args: Parameters<ControlPlane["diagnose"]>) {
    return this.#answer("diagnose", args, { serverTime: time, replicaId: "rep_1", version: "1.2.3", findings: [] });
  }
  drainWorker(...args: Parameters<ControlPlane["drainWorker"]>) {
    return this.#answer("drainWorker", args, { ...WORKER, state: "draining" as const });
  }
  revokeLease(...args: Parameters<ControlPlane["revokeLease"]>) {
    return this.#answer("revokeLease", args, undefined);
  }
  listAudit(...args: Parameters<ControlPlane["listAudit"]>) {
    return this.#answer("listAudit", args, { items: [RECORD] });
  }
  async *watchAudit(...[principal, filter, afterId, signal]: Parameters<ControlPlane["watchAudit"]>) {
    const args = [principal, filter, afterId];
    yield* this.#watch<readonly views.AuditRecordView[]>("watchAudit", args, [[RECORD]], signal);
  }
  async *exportAudit(...args: Parameters<ControlPlane["exportAudit"]>): AsyncGenerator<string> {
    yield* await this.#answer("exportAudit", args, ["{}\n", "{}\n"]);
  }
  explainDecisions(...args: Parameters<ControlPlane["explainDecisions"]>) {
    return this.#answer("explainDecisions", args, [DECISION]);
  }
  tryDecisions(...args: Parameters<ControlPlane["tryDecisions"]>) {
    return this.#answer("tryDecisions", args, [DECISION]);
  }
  auditKey() {
    return { name: "k", publicPem: "PEM" };
  }
  async recordRefusal(refusal: Parameters<ControlPlane["recordRefusal"]>[0]): Promise<void> {
    this.refusals.push(refusal);
    this.#changed();
  }
  createToken(...args: Parameters<ControlPlane["createToken"]>) {
    return this.#answer("createToken", args, { token: "orloj_canary", view: TOKEN });
  }
  listTokens(...args: Parameters<ControlPlane["listTokens"]>) {
    return this.#answer("listTokens", args, { items: [TOKEN] });
  }
  revokeToken(...args: Parameters<ControlPlane["revokeToken"]>) {
    return this.#answer("revokeToken", args, TOKEN);
  }
  async namespaceOf(of: Parameters<ControlPlane["namespaceOf"]>[0]): Promise<string | undefined> {
    return this.namespaces.get("runId" in of ? of.runId : of.taskId);
  }
  async authenticate({ bearer: token = "" }: Credentials): Promise<views.Principal | undefined> {
    const own = this.principals.get(token);
    if (own !== undefined) return own;
    const role = ["admin", "operator", "invoker", "auditor", "worker"].find((name) => token === `tok-${name}`);
    if (role === undefined) return undefined;
    const kind = role === "worker" ? "worker" : "user";
    return { id: role, kind, groups: [], claims: {}, method: "test", roles: [role as views.Role] };
  }

  refusalReason(_credentials: Credentials): string {
    return "CREDENTIALS_INVALID";
  }

  scrape(): Promise<string> {
    return Promise.resolve("up 1\n");
  }

  async ready(): Promise<boolean> {
    return typeof this.isReady === "function" ? this.isReady() : this.isReady;
  }
  connectWorker(principal: views.Principal, peer: string): ConnectedWorker {
    this.calls.push({ method: "connectWorker", args: [principal, peer] });
    const worker = new FakeWorker(this.#changed);
    this.workers.push(worker);
    this.onWorker(worker);
    this.#changed();
    return worker;
  }

  async *#watch<T>(method: string, args: readonly unknown[], items: readonly T[], signal: AbortSignal) {
    await this.#answer(method, args, undefined);
    this.watchesOpen += 1;
    this.#changed();
    const aborted = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
    try {
      yield* items;
      if (this.watchIsDeaf) await new Promise(() => undefined);
      if (!this.watchEnds && !signal.aborted) await aborted;
    } finally {
      this.watchesOpen -= 1;
      this.#changed();
    }
  }
}
