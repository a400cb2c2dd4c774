// The thin mirror of commands/settle.ts and its files: one batch of facts, one transaction, in memory.
// Every decision is a call into the product's queue/ and graph/ rooms; what is here moves rows.

import { advance } from "../../server/graph/advance.ts";
import type { GraphEvent, TaskEnd } from "../../server/graph/types.ts";
import { judgeStaleOutcome, settlingOrder } from "../../server/queue/fence.ts";
import { keptEntries } from "../../server/queue/journal.ts";
import { afterLoss, type LossReason } from "../../server/queue/loss.ts";
import { afterFailure, afterStop, cancelledState } from "../../server/queue/outcome.ts";
import { refuseReplay } from "../../server/queue/replay.ts";
import { isTerminal, RUN_TRANSITIONS, type TaskState } from "../../server/queue/states.ts";
import { FLOWS, GRACE_MS, RETRY } from "./flows.ts";
import { hold, isAlive, presentsLease } from "./holding.ts";
import { beginReplay, lineage } from "./replaying.ts";
import type { Item, LeaseRow, Outcome, RunRow, TaskRow } from "./rows.ts";
import type { Tables } from "./tables.ts";

const NO_RANDOM = { next: () => 0.5, bytes: (count: number) => new Uint8Array(count) };
const FAILURE = { class: "Broken", message: "" };

type FencedItem = Exclude<Item, { run: string } | { type: "wake" | "replay" | "discard" }>;

/** A run inside the transaction. */
interface Work {
  readonly run: RunRow;
  made: TaskRow[];
  stopPending: boolean;
  graceOver: boolean;
  /** Transitions that no record has told yet. */
  untold: number;
  touched: boolean;
}

export function digestOf(outcome: Outcome): string {
  return `${outcome.type}/${outcome.type === "succeeded" ? outcome.x : outcome.type === "failed" ? outcome.class : ""}`;
}

/** Settles a batch; one verdict an item, in order. */
export function settle(tables: Tables, items: readonly Item[]): string[] {
  hold(
    tables,
    items.flatMap((item) => ("session" in item ? [item] : [])),
  );
  const settling = new Settling(tables);
  const verdicts: string[] = [];
  for (const index of settlingOrder(items)) verdicts[index] = settling.item(items[index] as Item);
  settling.finish();
  return verdicts;
}

/** Advances the graph of a run that was just made. */
export function startRun(tables: Tables, run: RunRow): void {
  const settling = new Settling(tables);
  settling.start(run);
}

class Settling {
  readonly #tables: Tables;
  readonly #works = new Map<string, Work>();
  readonly #changed = new Set<TaskRow>();
  readonly #ended = new Set<TaskRow>();

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  start(run: RunRow): void {
    this.#apply(this.#work(run), { type: "started" });
  }

  item(item: Item): string {
    if (item.type === "stop") return this.#stop(this.#tables.runs.get(item.run), item.cause);
    if (item.type === "run_due") return this.#due(this.#tables.runs.get(item.run));
    const task = this.#tables.tasks.get(item.task);
    if (task === undefined) return "refused";
    const work = this.#work(task.run);
    if (item.type === "wake") return this.#wake(work, task);
    if (item.type === "replay") return this.#replay(work, task, item.repeat);
    if (item.type === "discard") return this.#discard(work, task);
    const lease = this.#ended.has(task) ? undefined : this.#tables.leases.get(task.id);
    if (lease === undefined || !presentsLease(lease, item)) return this.#refuse(task, item);
    switch (item.type) {
      case "outcome":
        return this.#outcome(work, lease, item.outcome);
      case "denied":
        this.#end(work, lease, "POLICY_DENIED", { type: "denied", failure: FAILURE }, "task.denied");
        task.outcomeToken = lease.token;
        task.outcomeDigest = "";
        return "committed";
      case "park":
      case "fail":
        return this.#failOrPark(work, lease, item.type, "");
      case "lost":
        return this.#lost(work, lease, item.reason);
    }
  }

  #work(run: RunRow): Work {
    let work = this.#works.get(run.id);
    if (work === undefined) {
      work = { run, made: [], stopPending: false, graceOver: false, untold: 0, touched: false };
      this.#works.set(run.id, work);
    }
    return work;
  }

  #apply(work: Work, event: GraphEvent): void {
    const { run } = work;
    const before = run.graph;
    const effects = advance(run.plan, before, event);
    run.graph = effects.state;
    for (const row of effects.changed) if (before.nodes.get(row.node)?.state !== row.state) work.untold += 1;
    if (before.run !== effects.state.run) work.untold += 1;
    for (const made of effects.tasks) {
      work.untold += 1;
      work.made.push(this.#tables.newTask(run, made.node));
    }
    if (effects.stopLiveTasks) work.stopPending = true;
    run.parked = effects.conditions.includes("Parked");
  }

  #tell(work: Work, kind: string, of: string): void {
    work.untold = 0;
    this.#tables.record(kind, of);
  }

  #release(task: TaskRow): void {
    this.#ended.add(task);
    this.#tables.leases.delete(task.id);
  }

  #endTask(work: Work, task: TaskRow, from: TaskState, to: TaskState, end: TaskEnd): void {
    this.#tables.move(task, from, to);
    this.#changed.add(task);
    task.dueMs = undefined;
    this.#apply(work, { type: "task_ended", node: task.node, iteration: 0, end });
  }

  #end(work: Work, lease: LeaseRow, to: TaskState, end: TaskEnd, kind: string): void {
    this.#release(lease.task);
    this.#endTask(work, lease.task, "LEASED", to, end);
    this.#tell(work, kind, lease.task.id);
  }

  #outcome(work: Work, lease: LeaseRow, outcome: Outcome): string {
    const { task } = lease;
    const { run: state, cause } = work.run.graph;
    const note = () => {
      task.outcomeToken = lease.token;
      task.outcomeDigest = digestOf(outcome);
    };
    if (outcome.type === "succeeded") {
      this.#end(work, lease, "SUCCEEDED", { type: "succeeded", output: { x: outcome.x } }, "task.succeeded");
      note();
      return "committed";
    }
    if (outcome.type === "failed") return this.#failure(work, lease, outcome.class, digestOf(outcome));
    const step = afterStop({ state, cause });
    if (step.type === "requeued") this.#requeue(lease);
    else if (step.type === "timed_out") this.#end(work, lease, "TIMED_OUT", { type: "cancelled" }, "task.timed_out");
    else this.#end(work, lease, "CANCELLED", { type: "cancelled" }, "task.cancelled");
    note();
    return "committed";
  }

  #failure(work: Work, lease: LeaseRow, failureClass: string, digest: string): string {
    const { task } = lease;
    const step = afterFailure(work.run.graph.run, {
      ...{ policy: RETRY, attempt: task.attempt, failureClass, retryAfterMs: undefined, random: NO_RANDOM },
      onExhausted: FLOWS[work.run.flow]?.onExhausted ?? "fail",
    });
    if (step.type !== "retried") return this.#failOrPark(work, lease, step.type === "parked" ? "park" : "fail", digest);
    this.#release(task);
    this.#tables.move(task, "LEASED", "WAITING");
    this.#changed.add(task);
    task.outcomeToken = lease.token;
    task.outcomeDigest = digest;
    task.attempt += 1;
    task.deliveries = 0;
    task.dueMs = this.#tables.nowMs + step.delayMs;
    this.#dropUnansweredTurn(task);
    this.#tables.record("task.retrying", task.id);
    return "committed";
  }

  #failOrPark(work: Work, lease: LeaseRow, how: "park" | "fail", digest: string): string {
    const { task } = lease;
    if (how === "park" && work.run.graph.run === "RUNNING") {
      this.#end(work, lease, "DEAD_LETTERED", { type: "parked", failure: FAILURE }, "task.dead_lettered");
      task.letter = "open";
    } else this.#end(work, lease, "FAILED", { type: "failed", failure: FAILURE }, "task.failed");
    task.outcomeToken = lease.token;
    task.outcomeDigest = digest;
    return "committed";
  }

  #requeue(lease: LeaseRow, kind = "task.requeued", keepsToken = false): void {
    const { task } = lease;
    this.#release(task);
    this.#tables.move(task, "LEASED", "READY");
    this.#changed.add(task);
    const late = keepsToken ? { token: lease.token, sessionId: lease.sessionId } : undefined;
    this.#tables.ready.set(task.id, { task, late });
    this.#tables.record(kind, task.id);
  }

  #lost(work: Work, lease: LeaseRow, reason: LossReason): string {
    const { task } = lease;
    const step = afterLoss({
      ...{ reason, accepted: lease.accepted, alive: isAlive(this.#tables, lease.sessionId) },
      ...{ runState: work.run.graph.run, deliveries: task.deliveries },
    });
    if (step.type === "kept") return "duplicate";
    if (step.type === "cancelled") {
      this.#release(task);
      this.#cancelIdle(task, "LEASED");
      return "committed";
    }
    task.deliveries = step.deliveries;
    if (step.type === "poisoned") return this.#failOrPark(work, lease, "park", "");
    const kind = reason === "revoked" ? "lease.revoked" : reason === "expired" ? "lease.expired" : "task.requeued";
    this.#requeue(lease, kind, step.keepsToken);
    return "committed";
  }

  #wake(work: Work, task: TaskRow): string {
    const isDue = task.dueMs !== undefined && task.dueMs <= this.#tables.nowMs;
    if (!isDue || this.#changed.has(task)) return "duplicate";
    if (work.run.graph.run !== "RUNNING") {
      this.#cancelIdle(task, "WAITING");
      return "committed";
    }
    this.#tables.move(task, "WAITING", "READY");
    this.#changed.add(task);
    task.dueMs = undefined;
    this.#tables.ready.set(task.id, { task, late: undefined });
    this.#tables.record("task.requeued", task.id);
    return "committed";
  }

  #replay(work: Work, task: TaskRow, repeat: boolean): string {
    if (task.letter === undefined) return "failed";
    if (task.letter !== "open") {
      return task.letter === "replayed" && task.letterRequest === String(repeat) ? "duplicate" : "failed";
    }
    if (work.run.graph.run !== "RUNNING") return "failed";
    const calls = lineage(this.#tables, task.origin);
    const request = { anew: false, repeatEffects: repeat, results: new Set<string>() };
    if (refuseReplay(calls, request) !== undefined) return "failed";
    this.#apply(work, { type: "replayed", node: task.node, iteration: 0 });
    work.made.push(beginReplay(this.#tables, task));
    task.letter = "replayed";
    task.letterRequest = String(repeat);
    this.#tell(work, "dead_letter.replayed", task.id);
    return "committed";
  }

  #discard(work: Work, task: TaskRow): string {
    if (task.letter !== "open") return task.letter === "discarded" ? "duplicate" : "failed";
    task.letter = "discarded";
    this.#apply(work, { type: "discarded", node: task.node, iteration: 0, failure: FAILURE });
    this.#tell(work, "dead_letter.discarded", task.id);
    return "committed";
  }

  #refuse(task: TaskRow, item: FencedItem): string {
    if (item.type === "lost") return "lease_lost";
    if (item.type === "outcome") {
      const judged = judgeStaleOutcome(
        { outcome_token: task.outcomeToken, outcome_digest: task.outcomeDigest },
        { token: item.token, digest: digestOf(item.outcome) },
      );
      if (judged === "duplicate") return "duplicate";
      this.#tables.record("fact.refused", task.id);
      return judged === "contradiction" ? "refused" : "lease_lost";
    }
    this.#tables.record("fact.refused", task.id);
    return "lease_lost";
  }

  #stop(run: RunRow | undefined, cause: NonNullable<RunRow["graph"]["cause"]>): string {
    if (run === undefined) return "refused";
    if (isTerminal(RUN_TRANSITIONS, run.graph.run) || run.graph.run === "CANCELLING") return "duplicate";
    const work = this.#work(run);
    this.#apply(work, { type: "stopped", cause, failure: FAILURE });
    this.#tell(work, "run.stopping", run.id);
    return "committed";
  }

  #due(run: RunRow | undefined): string {
    if (run?.dueMs === undefined || run.dueMs > this.#tables.nowMs) return "duplicate";
    if (run.graph.run !== "CANCELLING") return this.#stop(run, "timed_out");
    this.#work(run).graceOver = true;
    return "committed";
  }

  // A task of a stopping run that nobody holds ends at once.
  #cancelIdle(task: TaskRow, from: TaskState): void {
    const work = this.#work(task.run);
    const to = cancelledState(task.run.graph.cause) === "timed_out" ? "TIMED_OUT" : "CANCELLED";
    this.#tables.ready.delete(task.id);
    this.#endTask(work, task, from, to, { type: "cancelled" });
    this.#tell(work, to === "TIMED_OUT" ? "task.timed_out" : "task.cancelled", task.id);
  }

  // A new attempt asks again what failed, unless one of its last turn's calls was granted.
  #dropUnansweredTurn(task: TaskRow): void {
    const journal = this.#tables.journal(task.id);
    journal.length = keptEntries(journal, (turn) => this.#tables.ledger.has(`${task.origin}/${turn}/0`));
  }

  finish(): void {
    const stopping = [...this.#works.values()].filter((work) => work.stopPending || work.graceOver);
    for (const work of stopping) {
      for (const task of work.made) {
        this.#tables.ready.delete(task.id);
        this.#endTask(work, task, "READY", "CANCELLED", { type: "cancelled" });
      }
    }
    for (const work of stopping) this.#stopLive(work);
    for (const work of this.#works.values()) this.#keepClock(work);
  }

  #stopLive(work: Work): void {
    const { tasks, leases, ready } = this.#tables;
    const own = [...tasks.values()].filter((task) => task.run === work.run);
    for (const task of own) {
      if (task.state === "WAITING") this.#cancelIdle(task, "WAITING");
      else if (ready.has(task.id)) this.#cancelIdle(task, "READY");
      else if (work.graceOver && leases.has(task.id)) {
        this.#release(task);
        this.#cancelIdle(task, "LEASED");
      }
    }
    const held = own.some((task) => leases.has(task.id));
    if (held && !isTerminal(RUN_TRANSITIONS, work.run.graph.run)) {
      work.run.dueMs = this.#tables.nowMs + GRACE_MS;
      work.run.remainingMs = undefined;
      work.touched = true;
    }
  }

  #keepClock(work: Work): void {
    const { run } = work;
    if (work.untold > 0) {
      const stops = !isTerminal(RUN_TRANSITIONS, run.graph.run) && run.graph.cause !== undefined;
      this.#tables.record(stops ? "run.stopping" : "run.finished", run.id);
    }
    if (isTerminal(RUN_TRANSITIONS, run.graph.run)) {
      run.dueMs = undefined;
      run.remainingMs = undefined;
    } else if (!work.touched && run.graph.run === "RUNNING" && run.parked && run.dueMs !== undefined) {
      run.remainingMs = Math.max(0, run.dueMs - this.#tables.nowMs);
      run.dueMs = undefined;
    } else if (!work.touched && run.graph.run === "RUNNING" && !run.parked && run.remainingMs !== undefined) {
      run.dueMs = this.#tables.nowMs + run.remainingMs;
      run.remainingMs = undefined;
    }
  }
}
