// The log lines of this worker's tasks until they leave: gathered for a second, bounded for each lease, with the last lines kept
// whatever came before. Made by session.ts; written by task_observation.ts through the writer of a task.
// A lease sends 64 KiB at most: the first lines as they come, and the last ones when it ends; how many are missing between is told.
// Nothing waits for a line, and none is sent again.

import type { Clock } from "../../kit/clock.ts";
import { KIB, SECOND } from "../../kit/units.ts";

/** Longest time that a line waits for others, in ms. */
export const GATHER_MS = SECOND;
/** Bytes of the first lines of a lease. */
export const HEAD_BYTES_MAX = 46 * KIB;
/** Bytes of its last ones. */
export const TAIL_BYTES_MAX = 16 * KIB;
/** Bytes of one line; the rest is cut off. */
export const LINE_BYTES_MAX = 4 * KIB;
/** What the server counts for lines that come together, beside them. */
const CHUNK_BYTES = 128;
/** Tasks that ended while there was no connection, whose lines are kept for the next one. */
const LEFT_MAX = 1_000;
const CUT = "…";

/** Lines of one lease, as they leave. */
export interface TaskLogLines {
  readonly taskId: string;
  readonly token: string;
  readonly lines: readonly string[];
  /** Lines that are missing before these. */
  readonly dropped: number;
}

/** Sends lines; false: there is no connection, and they are kept. */
export type SendLogs = (log: TaskLogLines) => boolean;

/** Takes the lines of one task. */
export interface TaskLogWriter {
  /** Adds a line: one line of text, without secrets. */
  add(line: string): void;
}

/** See the file header. */
export class TaskLogs {
  readonly #clock: Clock;
  readonly #send: SendLogs;
  readonly #open = new Map<string, Lines>();
  /** Of tasks that have ended, not sent yet. */
  #left: TaskLogLines[] = [];
  #cancelTimer: (() => void) | undefined;

  constructor(clock: Clock, send: SendLogs) {
    this.#clock = clock;
    this.#send = send;
  }

  /** The writer of a lease. */
  open(taskId: string, token: string): TaskLogWriter {
    const lines = new Lines(taskId, token);
    this.#open.set(token, lines);
    return {
      add: (line) => {
        lines.add(bounded(line));
        this.#arm();
      },
    };
  }

  /** A task has ended: its last lines leave now. */
  end(token: string): void {
    const lines = this.#open.get(token);
    this.#open.delete(token);
    if (lines === undefined) return;
    for (const log of lines.takeLast()) {
      if (!this.#send(log) && this.#left.length < LEFT_MAX) this.#left.push(log);
    }
    if (this.#left.length > 0) this.#arm();
  }

  /** A lease is lost: nobody takes its lines any more. */
  forget(token: string): void {
    this.#open.delete(token);
    this.#left = this.#left.filter((log) => log.token !== token);
  }

  /** No line leaves any more. */
  close(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#open.clear();
    this.#left = [];
  }

  #arm(): void {
    this.#cancelTimer ??= this.#clock.after(GATHER_MS, () => {
      this.#cancelTimer = undefined;
      this.#flush();
    });
  }

  #flush(): void {
    this.#left = this.#left.filter((log) => !this.#send(log));
    let waiting = this.#left.length > 0;
    for (const lines of this.#open.values()) waiting = !lines.sendTo(this.#send) || waiting;
    if (waiting) this.#arm();
  }
}

// The lines of one lease: first ones that wait to be sent, and last ones.
class Lines {
  readonly #of: Pick<TaskLogLines, "taskId" | "token">;
  #sentBytes = 0;
  #head: string[] = [];
  #headBytes = 0;
  #tail: string[] = [];
  #tailBytes = 0;
  #dropped = 0;

  constructor(taskId: string, token: string) {
    this.#of = { taskId, token };
  }

  add(line: string): void {
    const bytes = Buffer.byteLength(line) + 1;
    const fits = this.#sentBytes + CHUNK_BYTES + this.#headBytes + bytes <= HEAD_BYTES_MAX;
    if (fits && this.#tail.length === 0) {
      this.#head.push(line);
      this.#headBytes += bytes;
      return;
    }
    this.#tail.push(line);
    this.#tailBytes += bytes;
    while (this.#tailBytes > TAIL_BYTES_MAX) {
      this.#tailBytes -= Buffer.byteLength(this.#tail.shift() as string) + 1;
      this.#dropped += 1;
    }
  }

  /** Sends the first lines that wait; false if they could not leave. */
  sendTo(send: SendLogs): boolean {
    if (this.#head.length === 0) return true;
    if (!send({ ...this.#of, lines: this.#head, dropped: 0 })) return false;
    this.#sentBytes += this.#headBytes + CHUNK_BYTES;
    this.#head = [];
    this.#headBytes = 0;
    return true;
  }

  takeLast(): TaskLogLines[] {
    const logs = [
      { ...this.#of, lines: this.#head, dropped: 0 },
      { ...this.#of, lines: this.#tail, dropped: this.#dropped },
    ];
    return logs.filter(({ lines }) => lines.length > 0);
  }
}

function bounded(line: string): string {
  if (Buffer.byteLength(line) <= LINE_BYTES_MAX) return line;
  const head = Buffer.from(line).subarray(0, LINE_BYTES_MAX - Buffer.byteLength(CUT));
  // A character that was cut in two is left out.
  return head.toString("utf8").replace(/\ufffd+$/, "") + CUT;
}
