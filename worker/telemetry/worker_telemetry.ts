// What this worker tells of its tasks: how much it logs, whether it traces, and where spans go.
// Made by worker.ts with what the configuration says; asked by the task table for each task.
// Tracing is opened when the worker starts: tasks before that are not traced, and there are none.

import type { SpanSink } from "../../kit/spans.ts";
import type { TaskLogWriter } from "./task_logs.ts";
import { type ObservationParts, type ObservedTask, TaskObservation } from "./task_observation.ts";

/** See the file header. */
export class WorkerTelemetry {
  readonly #parts: Omit<ObservationParts, "sink">;
  readonly #openSink: (() => Promise<SpanSink>) | undefined;
  #sink: SpanSink | undefined;

  /** @param openSink absent: the worker does not trace. */
  constructor(parts: Omit<ObservationParts, "sink">, openSink?: () => Promise<SpanSink>) {
    this.#parts = parts;
    this.#openSink = openSink;
  }

  /** Opens tracing. @throws DomainError CONFIG_INVALID when its packages are missing */
  async start(): Promise<void> {
    this.#sink = await this.#openSink?.();
  }

  /** Sends the spans that are left; never rejects. */
  async stop(): Promise<void> {
    await this.#sink?.close();
  }

  /** What is told of a task, from now on. */
  observe(task: ObservedTask, writer: TaskLogWriter): TaskObservation {
    return new TaskObservation({ ...this.#parts, sink: this.#sink }, task, writer);
  }
}
