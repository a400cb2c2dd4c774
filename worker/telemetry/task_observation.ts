// What is told of one task: a line for each thing that happened, and a span, if its run is traced and this worker traces.
// Made by worker_telemetry.ts for each task that the task table takes. Lines leave through task_logs.ts, spans through the sink.
// Secrets that this process knows are left out of lines; spans hold names, counts and classes only.

import type { Clock } from "../../kit/clock.ts";
import { escapeControls } from "../../kit/log_text.ts";
import type { Random } from "../../kit/random.ts";
import type { Redactor } from "../../kit/redactor.ts";
import type { EndedSpan, SpanAttributes, SpanSink } from "../../kit/spans.ts";
import { type TraceContext, traceparentOf } from "../../kit/trace.ts";
import type { Activity, Ending, ObservedActivity, TaskObserver } from "../agent/observer.ts";
import type { TaskEnd } from "../agent/task.ts";
import { factsText, LOG_LEVELS, type LogFields, type LogLevel } from "../log.ts";
import { endAttributes, toldOf } from "./activities.ts";
import type { TaskLogWriter } from "./task_logs.ts";

/** What observing takes. */
export interface ObservationParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly redactor: Redactor;
  /** Least level of lines; absent: tasks log nothing. */
  readonly level?: LogLevel | undefined;
  /** Absent: this worker does not trace. */
  readonly sink?: SpanSink | undefined;
  /** Name of the worker. */
  readonly worker: string;
}

/** Which task, and which lease of it. */
export interface ObservedTask {
  readonly taskId: string;
  readonly runId: string;
  readonly namespace: string;
  readonly node: string;
  readonly agent: string;
  readonly attempt: number;
  readonly delivery: number;
  /** The lease in the run's trace; absent: the run is in none. */
  readonly trace?: TraceContext | undefined;
}

interface Began {
  /** Empty: nobody records it. */
  readonly spanId: string;
  readonly startMs: number;
  readonly beganMs: number;
}

/** See the file header. */
export class TaskObservation implements TaskObserver {
  readonly #parts: ObservationParts;
  readonly #task: ObservedTask;
  readonly #writer: TaskLogWriter;
  /** Where its spans go; undefined: nowhere. */
  readonly #sink: SpanSink | undefined;
  readonly #began: Began;

  constructor(parts: ObservationParts, task: ObservedTask, writer: TaskLogWriter) {
    this.#parts = parts;
    this.#task = task;
    this.#writer = writer;
    this.#sink = task.trace?.sampled === true ? parts.sink : undefined;
    this.#began = this.#start();
    const { attempt, delivery, agent } = task;
    const again = delivery > 0 ? { delivery } : {};
    this.log("info", "attempt begins", { attempt, ...again, agent, worker: parts.worker });
  }

  get traceparent(): string | undefined {
    return this.#traceparent(this.#began.spanId);
  }

  log(level: LogLevel, message: string, fields: LogFields = {}): void {
    const { level: least, redactor, clock } = this.#parts;
    if (least === undefined || LOG_LEVELS.indexOf(level) < LOG_LEVELS.indexOf(least)) return;
    const told = Object.entries(fields).map(([name, value]) => {
      return [name, typeof value === "string" ? redactor.text(value) : value] as const;
    });
    const text = `${escapeControls(redactor.text(message))}${factsText(Object.fromEntries(told))}`;
    this.#writer.add(`${new Date(clock.now()).toISOString()} ${level} ${text}`);
  }

  begin(activity: Activity): ObservedActivity {
    return this.#begin(activity, this.#began.spanId);
  }

  /** The task has ended on this worker. */
  end(end: TaskEnd): void {
    const failure = end.kind === "failed" ? end.class : end.kind === "succeeded" ? undefined : end.kind;
    const ms = this.#sinceMs(this.#began);
    const facts = end.kind === "failed" ? { class: end.class, error: end.message } : {};
    this.log(end.kind === "failed" ? "warn" : "info", `attempt ${end.kind}`, { ms, ...facts });
    const { trace } = this.#task;
    this.#record(this.#began, `execute ${this.#task.agent}`, "consumer", {
      parentSpanId: trace?.spanId ?? "",
      attributes: { "orloj.end": end.kind },
      ...(failure !== undefined && { error: failure }),
    });
  }

  #begin(activity: Activity, parentSpanId: string): ObservedActivity {
    const began = this.#start();
    return {
      traceparent: this.#traceparent(began.spanId),
      begin: (part) => this.#begin(part, began.spanId),
      end: (how) => this.#end(activity, began, parentSpanId, how),
    };
  }

  #end(activity: Activity, began: Began, parentSpanId: string, { error, facts = {} }: Ending): void {
    const told = toldOf(activity);
    const ms = this.#sinceMs(began);
    const failed = error === undefined ? {} : { error };
    const level = error === undefined ? told.level : (told.failedLevel ?? "warn");
    this.log(level, told.line, { ...told.fields, ms, ...facts, ...failed });
    const attributes = { ...told.attributes, ...endAttributes(facts) };
    this.#record(began, told.span, told.kind, { parentSpanId, attributes, ...failed });
  }

  #start(): Began {
    const { clock, random } = this.#parts;
    const spanId = this.#sink === undefined ? "" : Buffer.from(random.bytes(8)).toString("hex");
    return { spanId, startMs: clock.now(), beganMs: clock.monotonic() };
  }

  #sinceMs({ beganMs }: Began): number {
    return Math.round(this.#parts.clock.monotonic() - beganMs);
  }

  #record(
    { spanId, startMs, beganMs }: Began,
    name: string,
    kind: EndedSpan["kind"],
    more: {
      readonly parentSpanId: string;
      readonly attributes: SpanAttributes;
      readonly error?: string;
    },
  ): void {
    if (this.#sink === undefined) return;
    const { taskId, runId, namespace, node, agent, attempt, delivery, trace } = this.#task;
    const endMs = startMs + this.#parts.clock.monotonic() - beganMs;
    this.#sink.add({
      ...{ name, kind, traceId: trace?.traceId ?? "", spanId, startMs, endMs },
      ...more,
      attributes: {
        ...{ "orloj.run.id": runId, "orloj.task.id": taskId, "orloj.namespace": namespace, "orloj.node": node },
        ...{ "orloj.agent": agent, "orloj.attempt": attempt, "orloj.delivery": delivery },
        "orloj.worker": this.#parts.worker,
        ...more.attributes,
      },
    });
  }

  // Of a trace that is not recorded, whoever is called is told so.
  #traceparent(spanId: string): string | undefined {
    const { trace } = this.#task;
    if (trace === undefined || this.#parts.sink === undefined) return undefined;
    return traceparentOf(spanId === "" ? trace : { ...trace, spanId });
  }
}
