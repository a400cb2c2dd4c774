// One run inside a settling transaction: its locked row, its graph state, and every write that its events cause.
// Called by settle.ts, which locks, loads, applies and flushes. Holds no query: it only gathers rows.
// Invariant: each write is gathered once, however many tasks of the run end in the batch.

import { assert } from "../../kit/errors.ts";
import type { Ids } from "../../kit/ids.ts";
import { canonicalJson, type Json, jsonDigest } from "../../kit/json.ts";
import type { TransitionDetail } from "../audit/events.ts";
import { advance } from "../graph/advance.ts";
import type { FailureValue, GraphEvent, GraphState, ItemResult, NodeRow, Superseded, TaskEnd } from "../graph/types.ts";
import { claimOrder } from "../queue/claim_order.ts";
import { type Slot, slotAfter } from "../queue/concurrency.ts";
import { isTerminal, RUN_TRANSITIONS, type RunCause, type RunState } from "../queue/states.ts";
import type { LockedRun, NodeRecord, RunChange } from "../storage/run_queries.ts";
import type { NewTaskRow, ReadyRow, ReleasedTask, TaskRow } from "../storage/task_queries.ts";
import type { CompiledBundle } from "./compiled_bundle.ts";
import type { NewTask } from "./new_leases.ts";
import { nodeRecord } from "./node_rows.ts";
import { madeTransitions, priorityOf, taskRows } from "./task_rows.ts";

/** Condition of a run that waits for its turn. */
export const QUEUED = "Queued";

/** See the file header. */
export class RunWork {
  readonly run: LockedRun;
  readonly bundle: CompiledBundle;
  tasks: NewTaskRow[] = [];
  ready: ReadyRow[] = [];
  /** Nodes whose live tasks end in this transaction, without effect. */
  readonly superseded: Superseded[] = [];
  /** True once the run began to stop in this transaction and its live tasks are still to be dealt with. */
  stopPending = false;
  /** True when the grace of a stopping run is over: its leases end in this transaction. */
  graceOver = false;
  /** Why the run stops, for the orders that workers get. */
  stopReason: string | undefined;
  state: GraphState;
  #conditions: readonly string[];
  #output: Json | undefined;
  #graceOver: Date | undefined;
  #touched = false;
  /** True once the run, which waited for its turn, was given a slot in this transaction. */
  #goesOn = false;
  readonly #nodes = new Map<string, NodeRecord>();
  #transitions: TransitionDetail[] = [];
  readonly #ids: Ids;
  /** Tasks that their map holds back and may let go, by node and item. */
  readonly #held = new Map<string, TaskRow>();
  #released: TaskRow[] = [];
  /** How items of mapped nodes ended, of nodes that may be done in this batch. */
  readonly #results = new Map<string, Map<number, ItemResult>>();

  constructor(run: LockedRun, bundle: CompiledBundle, nodes: ReadonlyMap<string, NodeRow>, ids: Ids) {
    this.run = run;
    this.bundle = bundle;
    this.#ids = ids;
    this.#conditions = run.conditions;
    const failure: FailureValue | undefined =
      run.failure_class === null ? undefined : { class: run.failure_class, message: run.failure_message ?? "" };
    this.state = {
      run: run.state as RunState,
      ...(run.cause === null ? {} : { cause: run.cause as RunCause }),
      ...(failure === undefined ? {} : { failure }),
      input: JSON.parse(run.input) as Json,
      nodes,
    };
  }

  get finished(): boolean {
    return isTerminal(RUN_TRANSITIONS, this.state.run);
  }

  /** True when this transaction changed the run row. */
  get touched(): boolean {
    return this.#touched || this.slot !== this.run.slot;
  }

  /** What the run has of its group as this transaction leaves it. */
  get slot(): Slot {
    if (this.run.concurrency_group === null) return null;
    const rows = [...this.state.nodes.values()];
    const parked =
      this.state.run === "RUNNING" &&
      rows.some(({ state }) => state === "PARKED") &&
      !rows.some(({ state }) => state === "ACTIVE");
    return slotAfter(this.#goesOn ? "held" : this.run.slot, { finished: this.finished, parked });
  }

  /** True unless the run has to wait for its turn before anything of it goes on. */
  get mayGoOn(): boolean {
    return this.run.concurrency_group === null || this.#goesOn || this.run.slot === "held";
  }

  /** The run, which waited for its turn, has a slot now: it begins, or what was replayed of it is queued. */
  goOn(released: readonly ReleasedTask[]): void {
    this.#goesOn = true;
    this.#touched = true;
    if (this.state.run === "PENDING") this.apply({ type: "started" });
    for (const { node, ...task } of released) {
      this.ready.push({ ...task, last_token: null, last_session_id: null, fresh: false });
      this.#transitions.push({ of: "task", taskId: task.task_id, node, from: "WAITING", to: "READY" });
    }
  }

  /** Advances the graph and gathers what it caused. */
  apply(event: GraphEvent): void {
    const before = this.state;
    const effects = advance(this.bundle.plan, before, event);
    this.state = effects.state;
    for (const row of effects.changed) {
      this.#noteNode(before.nodes.get(row.node), row);
      this.#nodes.set(row.node, nodeRecord(this.run.id, row));
    }
    const made = this.#inTurn(
      taskRows(effects.tasks, {
        runId: this.run.id,
        namespace: this.run.namespace,
        priority: priorityOf(this.run.priority),
        bundle: this.bundle,
        now: this.run.now,
        ids: this.#ids,
      }),
    );
    this.#transitions.push(...madeTransitions(made.tasks));
    for (const { node, item } of effects.released) this.#release(node, item);
    if (before.run !== effects.state.run) {
      const cause = effects.state.cause;
      this.#transitions.push({ of: "run", from: before.run, to: effects.state.run, ...(cause && { cause }) });
    }
    this.tasks.push(...made.tasks);
    this.ready.push(...made.ready);
    this.superseded.push(...effects.superseded);
    if (effects.stopLiveTasks) this.stopPending = true;
    if (effects.output !== undefined) this.#output = effects.output;
    if (before.run !== effects.state.run || !sameList(this.#conditions, effects.conditions)) this.#touched = true;
    this.#conditions = effects.conditions;
  }

  /** A task of the run has ended: applies it, with what its map needs. */
  endTask({ node, iteration, item }: TaskRow, end: TaskEnd): void {
    if (item < 0) {
      this.apply({ type: "task_ended", node, iteration, end });
      return;
    }
    const results = this.#results.get(node);
    const fallback = end.type === "failed" ? end.fallback : undefined;
    if (end.type === "succeeded") results?.set(item, { output: end.output });
    else if (fallback !== undefined) results?.set(item, { output: fallback });
    else if (end.type !== "cancelled") results?.set(item, { error: end.failure });
    this.apply({ type: "task_ended", node, iteration, end, ...(results && { results }) });
  }

  /** A task that its map holds back was loaded. */
  holdItem(task: TaskRow): void {
    this.#held.set(`${task.node}[${task.item}]`, task);
  }

  /** The results of a mapped node are being loaded. */
  expectResults(node: string): void {
    this.#results.set(node, new Map());
  }

  /** How an item of a mapped node ended. */
  noteResult(node: string, item: number, result: ItemResult): void {
    this.#results.get(node)?.set(item, result);
  }

  /** What an agent says stands for the output of a task that failed for good. */
  fallbackOf(agent: string, bundle: CompiledBundle = this.bundle): Json | undefined {
    const { onExhausted, fallback } = bundle.agents.get(agent)?.agent.spec.errorHandling ?? {};
    return onExhausted === "continue" ? fallback : undefined;
  }

  /** Tasks that their maps let go since the last call: they become READY. */
  takeReleased(): TaskRow[] {
    const released = this.#released;
    this.#released = [];
    return released;
  }

  /** Tasks that steps of the graph made and that may go on at once, for new_leases.ts. */
  next(): NewTask[] {
    const made = new Map(this.tasks.map((task) => [task.id, task]));
    return this.ready.flatMap((ready) => {
      const task = made.get(ready.task_id);
      if (task === undefined || task.replay_of !== null || !ready.fresh) return [];
      return [{ ready, task, run: this.run, bundle: this.bundle }];
    });
  }

  /** Queues a task that no step of the graph made: the replay of a dead letter. It waits if its run has to wait for its turn. */
  queue(task: NewTaskRow, ready: ReadyRow): void {
    const made = this.#inTurn({ tasks: [task], ready: [ready] });
    this.tasks.push(...made.tasks);
    this.ready.push(...made.ready);
    this.#transitions.push(...madeTransitions(made.tasks));
  }

  // What is new in a run without a slot waits with it.
  #inTurn(made: { tasks: NewTaskRow[]; ready: ReadyRow[] }): { tasks: NewTaskRow[]; ready: ReadyRow[] } {
    if (this.mayGoOn) return made;
    return { tasks: made.tasks.map((task) => ({ ...task, state: "WAITING" as const })), ready: [] };
  }

  /** Tasks that this transaction was about to queue, before their run stopped or their node was superseded, end as CANCELLED. */
  cancelNewTasks(which: (task: NewTaskRow) => boolean = () => true): void {
    const queued = this.tasks.filter((task) => task.end_time === null && which(task));
    const ended = new Set(queued.map((task) => task.id));
    this.tasks = this.tasks.map((task) =>
      ended.has(task.id) ? { ...task, state: "CANCELLED", end_time: this.run.now } : task,
    );
    this.ready = this.ready.filter((row) => !ended.has(row.task_id));
    for (const { id, node, iteration, state } of queued) {
      this.apply({ type: "task_ended", node, iteration, end: { type: "cancelled" } });
      this.#transitions.push({ of: "task", taskId: id, node, from: state as "READY", to: "CANCELLED" });
    }
  }

  /** The run stops with leased tasks: they have until the end of the grace. */
  waitForGrace(): void {
    this.#graceOver = new Date(this.run.now.getTime() + Number(this.run.grace_ms));
    this.#touched = true;
  }

  /** Transitions since the last call, for the next audit record. */
  takeTransitions(): TransitionDetail[] {
    const taken = this.#transitions;
    this.#transitions = [];
    return taken;
  }

  nodeRecords(): NodeRecord[] {
    return [...this.#nodes.values()];
  }

  /** Digest of the run's output, once it SUCCEEDED. */
  outputDigest(): string | undefined {
    return this.#output === undefined ? undefined : jsonDigest(this.#output);
  }

  /** The run row as this transaction leaves it. */
  change(): RunChange {
    const { due_time, remaining_ms } = this.#clock();
    return {
      id: this.run.id,
      state: this.state.run,
      cause: this.state.cause ?? null,
      conditions: this.#shownConditions(),
      output: this.#output === undefined ? null : canonicalJson(this.#output),
      failure_class: this.state.failure?.class ?? null,
      failure_message: this.state.failure?.message ?? null,
      stop_reason: this.stopReason ?? this.run.stop_reason,
      start_time: this.run.start_time ?? (this.#goesOn ? this.run.now : null),
      end_time: this.finished ? this.run.now : null,
      due_time,
      remaining_ms,
      slot: this.slot,
      queue_order: this.#queueOrder(),
    };
  }

  #shownConditions(): readonly string[] {
    if (this.finished) return [];
    const { run } = this.state;
    const conditions = this.#conditions.filter((condition) => condition !== QUEUED);
    return this.slot === "waiting" && run !== "CANCELLING" ? [...conditions, QUEUED].sort() : conditions;
  }

  // Who waits already keeps its place.
  #queueOrder(): number | bigint | null {
    if (this.slot !== "waiting") return null;
    return this.run.queue_order ?? claimOrder(this.run.now.getTime(), priorityOf(this.run.priority));
  }

  // A parked run waits for a person: its clock stops, and what was left is kept.
  #clock(): { due_time: Date | null; remaining_ms: number | null } {
    const kept = this.run.remaining_ms === null ? null : Number(this.run.remaining_ms);
    if (this.finished) return { due_time: null, remaining_ms: null };
    if (this.#graceOver !== undefined) return { due_time: this.#graceOver, remaining_ms: null };
    // The timeout counts while the run goes on. Until it has begun, it is due when it has waited too long.
    if (this.slot === "waiting") return { due_time: this.run.due_time, remaining_ms: kept };
    if (this.#goesOn && this.run.state === "PENDING") return this.#clockFrom(kept);
    if (this.state.run === "RUNNING" && this.#conditions.includes("Parked") && this.run.due_time !== null) {
      return { due_time: null, remaining_ms: Math.max(0, this.run.due_time.getTime() - this.run.now.getTime()) };
    }
    // Nothing is parked any more: the clock goes on with what was left.
    if (
      this.state.run === "RUNNING" &&
      this.run.due_time === null &&
      kept !== null &&
      !this.#conditions.includes("Parked")
    ) {
      return this.#clockFrom(kept);
    }
    return { due_time: this.run.due_time, remaining_ms: kept };
  }

  #clockFrom(leftMs: number | null) {
    assert(leftMs !== null, `what is left of the timeout of run ${this.run.id} was kept`);
    return { due_time: new Date(this.run.now.getTime() + leftMs), remaining_ms: null };
  }

  #release(node: string, item: number): void {
    const task = this.#held.get(`${node}[${item}]`);
    assert(task !== undefined, `the task of item ${item} of node ${node} was loaded`);
    this.#released.push(task);
    this.#transitions.push({ of: "task", taskId: task.id, node, from: "WAITING", to: "READY" });
  }

  #noteNode(before: NodeRow | undefined, row: NodeRow): void {
    const { node, iteration, failure } = row;
    // What a loop begins anew begins without a state before.
    const from = before?.iteration === iteration ? before.state : undefined;
    if (from === row.state) return;
    const to = row.state;
    this.#transitions.push({ of: "node", node, iteration, to, ...(from && { from }), ...(failure && { failure }) });
  }
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((value, index) => value === b[index]);
}
