// The unit of work of one settling transaction: what is locked, and every row that will be written, gathered once.
// Made by settle.ts; filled by settle_task.ts, settle_outcome.ts, settle_loss.ts, settle_ends.ts and settle_run.ts. Holds no query.
// Invariant: a task ends at most once in a batch, and every change has its audit record here.

import { assert } from "../../kit/errors.ts";
import type { Ids } from "../../kit/ids.ts";
import type { AuditEvent, StoredRecord, TaskDetail } from "../audit/events.ts";
import { auditRecord } from "../audit/record.ts";
import type { FailureValue, TaskEnd } from "../graph/types.ts";
import type { Slot } from "../queue/concurrency.ts";
import { isPresented } from "../queue/fence.ts";
import type { LineageCall } from "../queue/replay.ts";
import { isListed, TASK_TRANSITIONS, type TaskState } from "../queue/states.ts";
import type { DeadLetterDecision, LockedDeadLetter, NewDeadLetter } from "../storage/dead_letter_queries.ts";
import type { HeldTask, LosingTask } from "../storage/lease_queries.ts";
import type { ToolCallRow } from "../storage/ledger_queries.ts";
import type { NodeRecord, RunChange } from "../storage/run_queries.ts";
import type { NewTaskRow, ReadyRow, TaskChange, TaskRow } from "../storage/task_queries.ts";
import type { CompiledBundle } from "./compiled_bundle.ts";
import type { CancelOrder, CancelReason } from "./context.ts";
import type { NewTask } from "./new_leases.ts";
import type { RunWork } from "./run_work.ts";
import { outcomeDigest, type ReplayPlan } from "./settle_items.ts";

/** Everything a settling transaction writes, in the order of the flush. */
export interface SettlementWrites {
  readonly endedLeases: string[];
  readonly taskChanges: TaskChange[];
  readonly newAttempts: string[];
  readonly newTasks: NewTaskRow[];
  readonly ready: ReadyRow[];
  /** Tasks that follow one that ended: to be leased, or queued like the others. */
  readonly next: NewTask[];
  readonly nodes: NodeRecord[];
  readonly runs: RunChange[];
  /** Runs that gave their slot back, or their place in the queue, or that wait for a slot now. */
  readonly moves: readonly SlotMove[];
  readonly deniedCalls: ToolCallRow[];
  readonly parked: NewDeadLetter[];
  readonly resolvedLetters: DeadLetterDecision[];
  readonly replays: ReplayedTask[];
  readonly audit: StoredRecord[];
}

/** What of a run its group has to count anew. */
export interface SlotMove {
  readonly group: string;
  readonly from: Slot;
  readonly to: Slot;
}

/** A task that a new one replays, with the calls of its lineage. */
export interface ReplayedTask {
  readonly from: string;
  readonly to: string;
  readonly originTaskId: string;
  readonly calls: readonly LineageCall[];
  readonly plan: ReplayPlan;
}

/** What was loaded beside runs, tasks and leases: dead letters that somebody decides about, what replays use, how tools failed. */
export interface LoadedFacts {
  readonly letters: ReadonlyMap<string, LockedDeadLetter>;
  /** Calls by the origin of their lineage. */
  readonly calls: ReadonlyMap<string, readonly LineageCall[]>;
  /** Bundles, by digest, of tasks that do not use their run's. */
  readonly bundles: ReadonlyMap<string, CompiledBundle>;
  /** Tasks of tool nodes whose tool ran out of time. */
  readonly timedOut: ReadonlySet<string>;
}

/** What of a task changes beside its state. */
export type TaskPatch = Partial<Omit<TaskChange, "id" | "state">>;

/** See the file header. */
export class Settlement {
  readonly cancels: CancelOrder[] = [];
  readonly ids: Ids;
  readonly #works: ReadonlyMap<string, RunWork>;
  readonly #tasks: Map<string, TaskRow>;
  readonly #held: Map<string, HeldTask & Partial<LosingTask>>;
  readonly #endedLeases = new Set<string>();
  readonly #taskChanges = new Map<string, TaskChange>();
  readonly #newAttempts: string[] = [];
  readonly #ready = new Map<string, ReadyRow>();
  readonly #deniedCalls: ToolCallRow[] = [];
  readonly #audit: StoredRecord[] = [];
  readonly #letters: Map<string, LockedDeadLetter>;
  readonly #calls: LoadedFacts["calls"];
  readonly #bundles: LoadedFacts["bundles"];
  readonly #timedOut: LoadedFacts["timedOut"];
  readonly #parked: NewDeadLetter[] = [];
  readonly #resolvedLetters: DeadLetterDecision[] = [];
  readonly #replays: ReplayedTask[] = [];

  constructor(
    works: ReadonlyMap<string, RunWork>,
    tasks: ReadonlyMap<string, TaskRow>,
    held: Map<string, HeldTask & Partial<LosingTask>>,
    ids: Ids,
    loaded: LoadedFacts,
  ) {
    this.#letters = new Map(loaded.letters);
    this.#calls = loaded.calls;
    this.#bundles = loaded.bundles;
    this.#timedOut = loaded.timedOut;
    this.#works = works;
    this.#tasks = new Map(tasks);
    this.#held = held;
    this.ids = ids;
  }

  work(runId: string): RunWork | undefined {
    return this.#works.get(runId);
  }

  task(taskId: string): TaskRow | undefined {
    return this.#tasks.get(taskId);
  }

  /**
   * The live lease of a task if the presented token is its own; a lease that already ended in this batch is gone. What the server
   * found out by itself is presented without a session.
   */
  held(
    taskId: string,
    presented: { readonly token: string; readonly sessionId?: string },
  ): (HeldTask & Partial<LosingTask>) | undefined {
    const lease = this.#held.get(taskId);
    if (lease === undefined || this.#endedLeases.has(taskId)) return undefined;
    const { token, session_id: sessionId } = lease;
    return isPresented({ token, sessionId }, presented) ? lease : undefined;
  }

  /** A failure of a task as the graph is to see it: of a tool node, whether its tool ran out of time. */
  seenByGraph(taskId: string, failure: FailureValue): FailureValue {
    return this.#timedOut.has(taskId) ? { ...failure, timedOut: true } : failure;
  }

  /** The change gathered for a task so far. */
  changeOf(taskId: string): TaskChange | undefined {
    return this.#taskChanges.get(taskId);
  }

  isEnded(taskId: string): boolean {
    return this.#taskChanges.get(taskId)?.end_time != null;
  }

  endsLease(taskId: string): boolean {
    return this.#endedLeases.has(taskId);
  }

  endLease(taskId: string): void {
    this.#endedLeases.add(taskId);
  }

  /** Changes a task; what the patch leaves out stays as it was. A transition that is not listed is a broken invariant. */
  changeTask(task: TaskRow, state: TaskState, patch: TaskPatch): void {
    const earlier = this.#taskChanges.get(task.id);
    const from = earlier?.state ?? (this.#endedLeases.has(task.id) ? "LEASED" : task.state);
    assert(isListed(TASK_TRANSITIONS, from as TaskState, state), `no transition of a task from ${from} to ${state}`);
    const { attempt, deliveries, worker, outcome_token, outcome_digest } = earlier ?? task;
    this.#taskChanges.set(task.id, {
      ...{ id: task.id, state, attempt, deliveries },
      output: null,
      failure_class: null,
      failure_message: null,
      ...{ worker, outcome_token, outcome_digest },
      end_time: null,
      due_time: null,
      ...patch,
    });
  }

  /** Ends a task, and tells the graph. */
  endTask(work: RunWork, task: TaskRow, state: TaskState, end: TaskEnd, patch: TaskPatch): void {
    this.changeTask(task, state, { ...patch, end_time: work.run.now });
    work.endTask(task, end);
    for (const released of work.takeReleased()) {
      this.#tasks.set(released.id, released);
      this.changeTask(released, "READY", {});
      this.enqueue(released);
    }
  }

  /** A task of a stopping run that nobody holds ends at once. */
  cancelIdle(task: TaskRow): void {
    const work = this.#works.get(task.run_id);
    if (work === undefined) return;
    const timedOut = work.state.cause === "timed_out";
    const failure = { class: timedOut ? "Timeout" : "Cancelled", message: `the run stopped: ${work.state.cause}` };
    this.endTask(
      work,
      task,
      timedOut ? "TIMED_OUT" : "CANCELLED",
      { type: "cancelled" },
      {
        failure_class: failure.class,
        failure_message: failure.message,
      },
    );
    const transitions = work.takeTransitions();
    const subject = { ...this.subject(task), actor: "server" };
    if (timedOut) {
      this.record({ kind: "task.timed_out", ...subject, detail: { ...this.taskDetail(task), failure, transitions } });
    } else {
      this.record({
        kind: "task.cancelled",
        ...subject,
        detail: { ...this.taskDetail(task), reason: failure.message, transitions },
      });
    }
  }

  /** A task whose node began anew, or is not waited for any more, ends without effect; who holds it is told to stop. */
  supersede(task: TaskRow, lease?: HeldTask): void {
    const work = this.#works.get(task.run_id);
    if (work === undefined) return;
    const reason = "superseded: its node began anew, or the join behind it went on";
    // A worker that stops as it is told reports what is on record already.
    const heard = { outcome_token: lease?.token ?? null, outcome_digest: outcomeDigest({ type: "cancelled" }) };
    if (lease !== undefined) {
      this.endLease(task.id);
      this.orderCancels([lease], "superseded", Number(work.run.grace_ms));
    }
    const failure = { failure_class: "Superseded", failure_message: reason };
    this.endTask(work, task, "CANCELLED", { type: "cancelled" }, { ...failure, ...(lease && heard) });
    const detail = { ...this.taskDetail(task), ...(lease && { worker: lease.worker }), reason };
    this.record({ kind: "task.cancelled", ...this.subject(task), actor: "server", detail });
  }

  /**
   * Of the tasks that this batch was about to make READY or WAITING, which the store does not show yet, those that are to end after
   * all. They are out of the queue again.
   */
  takeBackLive(which: (task: TaskRow) => boolean): TaskRow[] {
    const live = [...this.#taskChanges.values()].filter((change) => change.end_time === null);
    const tasks = live.flatMap((change) => this.#tasks.get(change.id) ?? []).filter(which);
    for (const task of tasks) this.#ready.delete(task.id);
    return tasks;
  }

  enqueue(task: TaskRow, late?: { readonly token: string; readonly session_id: string }): void {
    this.#ready.set(task.id, {
      task_id: task.id,
      run_id: task.run_id,
      route: task.route,
      claim_order: task.claim_order,
      last_token: late?.token ?? null,
      last_session_id: late?.session_id ?? null,
      fresh: false,
    });
  }

  /** The last turn of the task is asked again unless one of its calls was granted. */
  startNewAttempt(taskId: string): void {
    this.#newAttempts.push(taskId);
  }

  /** The dead letter of a task, as it is after what this batch decided so far. */
  letter(taskId: string): LockedDeadLetter | undefined {
    return this.#letters.get(taskId);
  }

  /** The specs of a task that does not use its run's: a replay with the manifests of then. */
  bundleOf(task: TaskRow): CompiledBundle | undefined {
    return task.bundle_digest === null ? undefined : this.#bundles.get(task.bundle_digest);
  }

  /** Calls of a lineage. */
  lineage(originTaskId: string): readonly LineageCall[] {
    return this.#calls.get(originTaskId) ?? [];
  }

  /** A task was parked for a person. */
  parkLetter(letter: NewDeadLetter): void {
    this.#parked.push(letter);
  }

  /** Somebody decided about a dead letter. */
  resolveLetter(decision: DeadLetterDecision): void {
    this.#resolvedLetters.push(decision);
    const letter = this.#letters.get(decision.task_id);
    if (letter !== undefined) this.#letters.set(decision.task_id, { ...letter, ...decision });
  }

  /** A new task replays another one. */
  replay(replayed: ReplayedTask): void {
    this.#replays.push(replayed);
  }

  denyCall(row: ToolCallRow): void {
    this.#deniedCalls.push(row);
  }

  orderCancels(leases: readonly HeldTask[], reason: CancelReason, graceMs: number): void {
    for (const lease of leases) {
      this.cancels.push({ sessionId: lease.session_id, taskId: lease.task_id, token: lease.token, reason, graceMs });
    }
  }

  record(event: AuditEvent): void {
    this.#audit.push(auditRecord(event));
  }

  subject(task: TaskRow): { namespace: string; runId: string; taskId: string } {
    return { namespace: task.namespace, runId: task.run_id, taskId: task.id };
  }

  taskDetail(task: TaskRow): TaskDetail {
    const { node, iteration, attempt, item, agent } = task;
    return { node, iteration, attempt, agent, ...(item >= 0 && { item }) };
  }

  /** Runs with nodes whose live tasks end without effect. */
  superseding(): RunWork[] {
    return [...this.#works.values()].filter((work) => work.superseded.length > 0);
  }

  /** Runs that began to stop in this batch and are not over. */
  stopping(): RunWork[] {
    return [...this.#works.values()].filter((work) => work.stopPending || work.graceOver);
  }

  changedRuns(): string[] {
    return [...this.#works.keys()];
  }

  writes(): SettlementWrites {
    const works = [...this.#works.values()];
    for (const work of works) this.#recordEnd(work);
    const newTasks = works.flatMap((work) => work.tasks);
    const gotOn = this.#runsWithAnEnd();
    const next = works.filter(({ run }) => gotOn.has(run.id)).flatMap((work) => work.next());
    const following = new Set(next.map(({ ready }) => ready));
    const ready = [...this.#ready.values(), ...works.flatMap((work) => work.ready)];
    return {
      endedLeases: [...this.#endedLeases],
      taskChanges: [...this.#taskChanges.values()],
      newAttempts: this.#newAttempts,
      newTasks,
      ready: ready.filter((row) => !following.has(row)),
      next,
      nodes: works.flatMap((work) => work.nodeRecords()),
      runs: works.filter((work) => work.touched).map((work) => work.change()),
      moves: works.flatMap(({ run: { concurrency_group: group, slot: from }, slot: to }) =>
        group === null || from === to ? [] : [{ group, from, to }],
      ),
      deniedCalls: this.#deniedCalls,
      parked: this.#parked,
      resolvedLetters: this.#resolvedLetters,
      replays: this.#replays,
      audit: this.#audit,
    };
  }

  // A task of them ended in this batch: so something of them has left the server before.
  #runsWithAnEnd(): Set<string | undefined> {
    const ended = [...this.#taskChanges.values()].filter(({ end_time }) => end_time !== null);
    return new Set(ended.map(({ id }) => this.#tasks.get(id)?.run_id));
  }

  // Transitions that no task record took, such as those of a run that a deadline stopped.
  #recordEnd(work: RunWork): void {
    const transitions = work.takeTransitions();
    if (transitions.length === 0) return;
    const { id: runId, namespace } = work.run;
    const { failure, cause, run: state } = work.state;
    if (!work.finished && cause !== undefined) {
      const reason = failure?.message ?? "";
      const detail = { cause, reason, transitions, ...(failure && { failure }) };
      this.record({ kind: "run.stopping", namespace, runId, actor: "server", detail });
      return;
    }
    const outputDigest = work.outputDigest();
    const detail = { state, transitions, ...(failure && { failure }), ...(outputDigest && { outputDigest }) };
    this.record({ kind: "run.finished", namespace, runId, actor: "server", detail });
  }
}
