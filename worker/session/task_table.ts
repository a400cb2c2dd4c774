// The tasks that this worker holds: takes assignments, runs each, reports its outcome, obeys cancel and loss.
// Driven by session.ts with frames; runs tasks through the runtimes that come in.
// A slot is busy from assignment until the task has ended here; a lease is held until its outcome is acknowledged.
// Facts about a task leave with its token only; a task whose lease is lost ends quietly.

import { messageOf } from "../../kit/errors.ts";
import { traceContextIn } from "../../kit/trace.ts";
import type { Assignment, CancelTask } from "../../proto/gen/orloj/v1/worker_pb.ts";
import { type Runtime, type Runtimes, runtimeOf } from "../agent/runtimes.ts";
import { orStopped, TaskStopped } from "../agent/stop.ts";
import type { AgentTask, TaskEnd, TaskPort } from "../agent/task.ts";
import type { Log, LogFields } from "../log.ts";
import type { TaskLogs } from "../telemetry/task_logs.ts";
import type { TaskObservation } from "../telemetry/task_observation.ts";
import type { WorkerTelemetry } from "../telemetry/worker_telemetry.ts";
import type { Facts } from "./facts.ts";
import type { JournalFetches, Views } from "./fetches.ts";
import type { Outbox } from "./outbox.ts";
import { agentMeansOf, durationMs, journalEntryOf, outcomeOf, parseWire } from "./translate.ts";

/** What the table needs. */
export interface TaskTableOptions {
  readonly slots: number;
  readonly outbox: Outbox;
  readonly facts: Facts;
  readonly views: Views;
  readonly journals: JournalFetches;
  readonly port: (taskId: string, token: string) => TaskPort;
  readonly runtimes: Runtimes;
  readonly log: Log;
  readonly logs: TaskLogs;
  readonly telemetry: WorkerTelemetry;
}

interface Held {
  readonly assignment: Assignment;
  readonly stop: AbortController;
  /** Occupies a slot. */
  running: boolean;
  readonly observation: TaskObservation;
}

/** See the file header. */
export class TaskTable {
  readonly #options: TaskTableOptions;
  readonly #held = new Map<string, Held>();
  #lastAssign = 0n;
  #running = 0;
  #draining = false;
  #paused = false;
  #idle: (() => void)[] = [];

  constructor(options: TaskTableOptions) {
    this.#options = options;
  }

  /** Tasks whose lease this worker holds. */
  held(): { readonly taskId: string; readonly token: string }[] {
    return [...this.#held.entries()].map(([token, { assignment }]) => ({ taskId: assignment.taskId, token }));
  }

  /** Highest assignment sequence seen in this session. */
  get lastAssign(): bigint {
    return this.#lastAssign;
  }

  /** A new session counts assignments from the beginning. */
  newSession(): void {
    this.#lastAssign = 0n;
  }

  /** Offers what a reconnect lost: acceptances, and the credit. */
  resend(): void {
    for (const token of this.#held.keys()) this.#options.outbox.add({ kind: "accept", token });
    this.#sendCredit();
  }

  /** Takes assignments, or gives them back while draining, paused, or full. */
  assign(assignments: readonly Assignment[]): void {
    const { outbox, slots } = this.#options;
    for (const assignment of assignments) {
      const { token } = assignment;
      if (assignment.sequence > this.#lastAssign) this.#lastAssign = assignment.sequence;
      if (this.#held.has(token)) outbox.add({ kind: "accept", token });
      else if (this.#draining) outbox.add({ kind: "yield", token, reason: "draining" });
      else if (this.#paused) outbox.add({ kind: "yield", token, reason: "moving" });
      else if (this.#running >= slots) outbox.add({ kind: "yield", token, reason: "full" });
      else this.#take(assignment);
    }
    this.#sendCredit();
  }

  /** The server asks to stop tasks; each is acknowledged, known or not. */
  cancel(cancels: readonly CancelTask[]): void {
    for (const { token, reason } of cancels) {
      const held = this.#held.get(token);
      if (held?.running && !held.stop.signal.aborted) {
        this.#options.log("info", "task is cancelled", { ...idsOf(held.assignment), reason });
        held.observation.log("info", "the server asks to stop", { reason });
        held.stop.abort(new TaskStopped("cancelled"));
      }
      this.#options.outbox.add({ kind: "cancelAck", token });
    }
  }

  /** The server says that a lease is void. */
  lost(token: string): void {
    const held = this.#held.get(token);
    if (held === undefined) return;
    this.#held.delete(token);
    this.#options.facts.forget(token);
    this.#options.logs.forget(token);
    if (!held.running) return;
    this.#options.log("warn", "lease lost, task is dropped", idsOf(held.assignment));
    held.stop.abort(new TaskStopped("lost"));
  }

  /** Takes nothing more from now on. */
  drain(): void {
    this.#draining = true;
    this.#sendCredit();
  }

  /** Takes nothing until resume: the session moves to another stream. */
  pause(): void {
    this.#paused = true;
    this.#sendCredit();
  }

  /** Takes assignments again. */
  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#sendCredit();
  }

  /** Gives back what still runs. */
  interrupt(): void {
    for (const held of this.#held.values()) held.stop.abort(new TaskStopped("interrupted"));
  }

  /** Resolves when no task runs here. */
  idle(): Promise<void> {
    if (this.#running === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  #take(assignment: Assignment): void {
    const { logs, telemetry } = this.#options;
    const { taskId, runId, namespace, node, agent, attempt, delivery, token } = assignment;
    const trace = traceContextIn(assignment.traceparent);
    const observed = { taskId, runId, namespace, node, agent, attempt, delivery, trace };
    const observation = telemetry.observe(observed, logs.open(taskId, token));
    const held: Held = { assignment, stop: new AbortController(), running: true, observation };
    this.#held.set(assignment.token, held);
    this.#running += 1;
    this.#options.outbox.add({ kind: "accept", token: assignment.token });
    if (assignment.cancelled) held.stop.abort(new TaskStopped("cancelled"));
    const ended = () => this.#ended(held);
    this.#run(held).then(ended, ended);
  }

  async #run(held: Held): Promise<void> {
    const { assignment, stop } = held;
    const { taskId, token } = assignment;
    let end: TaskEnd;
    try {
      const resolved = await orStopped(this.#resolve(held), stop.signal);
      if (resolved === undefined) return this.#yieldUnsupported(held);
      end = await resolved.runtime.run(resolved.task, this.#options.port(taskId, token), stop.signal);
    } catch (error) {
      if (!(error instanceof TaskStopped)) {
        this.#options.log("error", "assignment cannot be understood", {
          ...idsOf(assignment),
          error: messageOf(error),
        });
        return this.#yieldUnsupported(held);
      }
      end = endBeforeStart(error);
    }
    this.#report(held, end);
  }

  #report(held: Held, end: TaskEnd): void {
    const { assignment, observation } = held;
    const { taskId, token } = assignment;
    observation.end(end);
    // The last lines leave before the outcome.
    this.#options.logs.end(token);
    const failure = end.kind === "failed" ? { class: end.class, error: end.message } : {};
    this.#options.log(end.kind === "failed" ? "warn" : "debug", `task ${end.kind}`, {
      ...idsOf(assignment),
      node: assignment.node,
      ...failure,
    });
    const outcome = outcomeOf(taskId, token, end);
    // A token that is gone from the table was lost meanwhile: its outcome would only be refused.
    if (outcome === undefined || this.#held.get(token) !== held) {
      this.#held.delete(token);
      return;
    }
    this.#options.facts.record({ kind: "outcome", value: outcome }).then(
      () => this.#held.delete(token),
      (error: unknown) => {
        this.#held.delete(token);
        if (!(error instanceof TaskStopped)) {
          const ids = idsOf(assignment);
          this.#options.log("error", "outcome was refused", { ...ids, error: messageOf(error) });
        }
      },
    );
  }

  #yieldUnsupported({ assignment }: Held): void {
    this.#held.delete(assignment.token);
    this.#options.logs.end(assignment.token);
    this.#options.outbox.add({ kind: "yield", token: assignment.token, reason: "unsupported" });
  }

  // Undefined if this worker cannot run the agent.
  async #resolve({ assignment, observation }: Held): Promise<{ task: AgentTask; runtime: Runtime } | undefined> {
    const { views, journals, runtimes } = this.#options;
    const { taskId, runId, node, attempt, token } = assignment;
    const view = await views.get(assignment.viewDigest);
    const agent = view.get(assignment.agent);
    const runtime = agent && runtimeOf(runtimes, agent);
    if (agent === undefined || runtime === undefined) return undefined;
    const journal = assignment.journal.map(journalEntryOf);
    if (assignment.journalTruncated)
      journal.push(...(await journals.rest(taskId, token, journal.at(-1)?.sequence ?? 0)));
    const timeoutMs = durationMs(assignment.timeout);
    const agentMeans = agentMeansOf(assignment);
    const task = {
      taskId,
      runId,
      node,
      attempt,
      agent,
      input: parseWire(assignment.inputJson, "the input"),
      journal,
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      withheldTools: assignment.withheldTools,
      modelSecret: assignment.modelSecret,
      ...(agentMeans && { agentMeans }),
      agentSecrets: assignment.agentSecrets,
      toolCallsSpent: assignment.toolCallsSpent,
      ...traceOf(assignment),
      observer: observation,
    };
    return { task, runtime };
  }

  #ended(held: Held): void {
    held.running = false;
    this.#running -= 1;
    this.#sendCredit();
    if (this.#running === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  #sendCredit(): void {
    const freeSlots = this.#draining || this.#paused ? 0 : Math.max(0, this.#options.slots - this.#running);
    this.#options.outbox.add({ kind: "credit", freeSlots, lastAssign: this.#lastAssign });
  }
}

// By these a line of the log is found from the run, and the run from a line.
function idsOf(assignment: Assignment): LogFields {
  return { task: assignment.taskId, run: assignment.runId, ...traceOf(assignment) };
}

function traceOf({ traceparent }: Assignment): { readonly trace?: string } {
  const trace = traceContextIn(traceparent)?.traceId;
  return trace === undefined ? {} : { trace };
}

function endBeforeStart({ stop }: TaskStopped): TaskEnd {
  if (stop === "cancelled") return { kind: "cancelled" };
  return stop === "lost" ? { kind: "dropped" } : { kind: "interrupted", reason: "draining" };
}
