// What of the logs of tasks people and programs are shown.
// Made by read_task_logs.ts, mapped to the wire by rpc/to_wire.ts. Holds no behaviour.

/** Whose logs are read: those of a run, or of one task. */
export interface TaskLogsView {
  readonly runId?: string;
  readonly taskId?: string;
  /** Of a run: tasks of this node alone. */
  readonly node?: string;
  /** Chunks that came from this time on, by the database. */
  readonly since?: Date;
}

/** Lines about a task that came together. */
export interface TaskLogChunkView {
  readonly id: bigint;
  readonly taskId: string;
  readonly node: string;
  readonly iteration: number;
  readonly item: number;
  readonly attempt: number;
  readonly delivery: number;
  readonly worker: string;
  readonly lines: readonly TaskLogLineView[];
  /** Lines that were written before these and are not kept. */
  readonly dropped: number;
}

/** One line about a task. */
export interface TaskLogLineView {
  /** The worker's; absent: it told none. */
  readonly time?: Date;
  readonly level: "debug" | "info" | "warn" | "error";
  readonly text: string;
}
