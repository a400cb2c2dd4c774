// Traces runs: takes the events that this replica has committed, as the metrics do, and a second later reads and exports the spans of
// the tasks and runs that have ended in them; and the spans of invocations.
// Made by main.ts when tracing is on; fed by the store and replica.ts. Nothing of it stands in the way of a command: what the database
// or the collector cannot keep up with is left out, and told in the log.

import type { Clock } from "../../kit/clock.ts";
import { DomainError, messageOf } from "../../kit/errors.ts";
import type { Random } from "../../kit/random.ts";
import type { SpanSink } from "../../kit/spans.ts";
import { spanIdOf, type TraceContext } from "../../kit/trace.ts";
import { SECOND } from "../../kit/units.ts";
import type { AuditEvent } from "../audit/events.ts";
import type { Logger } from "./log.ts";
import { invocationSpanId, runSpan, type TracedRun, type TracedTask, taskSpans } from "./run_spans.ts";

/** How long ended tasks are gathered, in ms: their records are read together. */
export const GATHER_MS = SECOND;
/** Tasks and runs that are read at once. */
const BATCH_MAX = 200;
/** Ended tasks, and runs, that wait to be read at most. */
const WAITING_MAX = 20_000;

/** What a tracer is made of. */
export interface RunTracerOptions {
  readonly sink: SpanSink;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Part of the runs that is recorded, and whether a caller's flag comes before that. */
  readonly sampling: { readonly ratio: number; readonly followsCaller: boolean };
}

/** Reads what spans are made of. @throws when the database does not answer */
export type ReadTraces = (
  runIds: readonly string[],
  taskIds: readonly string[],
) => Promise<{ readonly runs: readonly TracedRun[]; readonly tasks: readonly TracedTask[] }>;

/** What an invocation gave. */
export interface Invoked {
  readonly run: { readonly id: string; readonly traceId: string };
  /** It is the first run of its key. */
  readonly duplicate: boolean;
}

/** What is traced of an invocation. */
export interface Invocation {
  readonly namespace: string;
  readonly workflow: string;
  /** Where the caller is; absent: in no trace. */
  readonly trace?: TraceContext;
}

/** States in which a task or a run ends. */
const ENDED: ReadonlySet<string> = new Set([
  ...["SUCCEEDED", "FAILED", "CANCELLED", "TIMED_OUT", "POLICY_DENIED", "DEAD_LETTERED"],
]);
const TASK_ENDS: ReadonlySet<string> = new Set([
  ...["task.succeeded", "task.failed", "task.cancelled", "task.timed_out", "task.denied", "task.dead_lettered"],
]);

/** See the file header. */
export class RunTracer {
  readonly #options: RunTracerOptions;
  readonly #tasks = new Set<string>();
  readonly #runs = new Set<string>();
  #read: ReadTraces | undefined;
  #left = 0;
  #cancelTimer: (() => void) | undefined;
  #working: Promise<void> = Promise.resolve();

  constructor(options: RunTracerOptions) {
    this.#options = options;
  }

  /** From now on ended tasks and runs are read. */
  start(read: ReadTraces): void {
    this.#read = read;
  }

  /** Takes what has committed. */
  recorded(events: readonly AuditEvent[]): void {
    for (const { kind, runId = "", taskId = "", detail } of events) {
      if (TASK_ENDS.has(kind)) this.#add(this.#tasks, taskId);
      const transitions = "transitions" in detail ? (detail.transitions ?? []) : [];
      for (const transition of transitions) {
        if (transition.of === "task" && ENDED.has(transition.to)) this.#add(this.#tasks, transition.taskId);
        if (transition.of === "run" && ENDED.has(transition.to)) this.#add(this.#runs, runId);
      }
    }
  }

  /**
   * Runs an invocation, told whether its run is recorded, and tells it as a span: of the trace of the caller, or of the run that it made. One that was refused is told
   * in the caller's trace alone, and the second of a key as well: its run has a trace already.
   */
  async invocation<Result extends Invoked>(
    invocation: Invocation,
    run: (sampled: boolean) => Promise<Result>,
  ): Promise<Result> {
    const sampled = this.#samples(invocation);
    if (!sampled) return await run(false);
    const { clock } = this.#options;
    const startMs = clock.now();
    const beganMs = clock.monotonic();
    const ended = () => startMs + clock.monotonic() - beganMs;
    try {
      const result = await run(true);
      this.#invoked(invocation, startMs, ended(), result);
      return result;
    } catch (error) {
      const reason = error instanceof DomainError ? error.reason : "INTERNAL";
      this.#invoked(invocation, startMs, ended(), undefined, reason);
      throw error;
    }
  }

  /** Reads and sends what is left. */
  async stop(): Promise<void> {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#flush();
    await this.#working;
    await this.#options.sink.close();
  }

  #samples({ trace }: Invocation): boolean {
    const { ratio, followsCaller } = this.#options.sampling;
    if (trace !== undefined && followsCaller) return trace.sampled;
    return ratio === 1 || this.#options.random.next() < ratio;
  }

  #invoked(
    { namespace, workflow, trace }: Invocation,
    startMs: number,
    endMs: number,
    result: Invoked | undefined,
    error?: string,
  ): void {
    const isFirst = result !== undefined && !result.duplicate;
    const traceId = isFirst ? result.run.traceId : trace?.traceId;
    if (traceId === undefined || traceId === "") return;
    const spanId = isFirst
      ? invocationSpanId(result.run.id)
      : spanIdOf(Buffer.from(this.#options.random.bytes(16)).toString("hex"));
    const runId = result?.run.id;
    this.#options.sink.add({
      ...{ name: `invoke ${workflow}`, kind: "server", traceId, spanId, startMs, endMs },
      ...(trace !== undefined && trace.traceId === traceId && { parentSpanId: trace.spanId }),
      attributes: {
        ...{ "rpc.service": "orloj.v1.WorkflowService", "rpc.method": "Invoke" },
        ...{ "orloj.namespace": namespace, "orloj.workflow": workflow },
        ...(runId !== undefined && { "orloj.run.id": runId }),
        ...(result?.duplicate === true && { "orloj.duplicate": true }),
      },
      ...(error !== undefined && { error }),
    });
  }

  #add(ids: Set<string>, id: string): void {
    if (id === "") return;
    if (ids.size >= WAITING_MAX) {
      this.#left += 1;
      return;
    }
    ids.add(id);
    this.#cancelTimer ??= this.#options.clock.after(GATHER_MS, () => {
      this.#cancelTimer = undefined;
      this.#flush();
    });
  }

  #flush(): void {
    this.#working = this.#working.then(() => this.#export());
  }

  async #export(): Promise<void> {
    const { sink, log } = this.#options;
    const left = this.#left;
    this.#left = 0;
    if (left > 0) log.warn("trace.left_out", { ended: left });
    while (this.#read !== undefined && this.#tasks.size + this.#runs.size > 0) {
      const tasks = taken(this.#tasks);
      const runs = taken(this.#runs);
      try {
        const read = await this.#read(runs, tasks);
        for (const task of read.tasks) for (const span of taskSpans(task)) sink.add(span);
        for (const run of read.runs) sink.add(runSpan(run));
      } catch (error) {
        log.warn("trace.unread", { tasks: tasks.length, runs: runs.length, error: messageOf(error) });
      }
    }
  }
}

function taken(ids: Set<string>): string[] {
  const batch: string[] = [];
  for (const id of ids) {
    if (batch.length === BATCH_MAX) break;
    batch.push(id);
    ids.delete(id);
  }
  return batch;
}
