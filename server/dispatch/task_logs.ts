// Log lines of workers on their way to the store: checked, cut, and bounded for each lease, so that a worker which floods costs little.
// Called by worker_session.ts; writes through the logs coalescer and waits for nothing. What is left out for the moment is counted, and the
// count goes with the next lines; over its bound a lease has no next ones. Lines about a task that the session does not hold, nor held
// lately, change nothing.

import { messageOf } from "../../kit/errors.ts";
import { escapeControls } from "../../kit/log_text.ts";
import { KIB, MIB } from "../../kit/units.ts";
import type { TaskLog } from "../../proto/gen/orloj/v1/worker_pb.ts";
import type { CommandServices } from "../commands/services.ts";
import type { Logger } from "../telemetry/log.ts";
import type { HeldAssignment } from "./worker_session.ts";

/** Bytes of one lease; of a task, the store keeps as many. */
export const LEASE_LOG_BYTES_MAX = 64 * KIB;
/** What each chunk counts beside its lines. */
export const CHUNK_BYTES = 128;
/** Bytes of one line; the rest is cut off. */
export const LINE_BYTES_MAX = 4 * KIB;
/** Bytes of this replica that wait to be written. */
const WAITING_BYTES_MAX = 8 * MIB;
const CUT = "…";

interface Lease {
  bytes: number;
  /** Lines that were left out since the last chunk. */
  dropped: number;
}

/** See the file header. */
export class TaskLogIntake {
  readonly #services: Pick<CommandServices, "logs">;
  readonly #log: Logger;
  readonly #leases = new WeakMap<HeldAssignment, Lease>();
  #waitingBytes = 0;

  constructor(services: Pick<CommandServices, "logs">, log: Logger) {
    this.#services = services;
    this.#log = log;
  }

  /** Takes lines of a session; `assignment` is what it holds, or held lately, by that token. */
  take(worker: string, log: TaskLog, assignment: HeldAssignment | undefined): void {
    if (assignment === undefined || assignment.taskId !== log.taskId) return;
    const lease = this.#leases.get(assignment) ?? { bytes: 0, dropped: 0 };
    this.#leases.set(assignment, lease);
    lease.dropped += Math.max(0, Math.min(log.dropped, 1_000_000_000));
    const { kept, bytes } = this.#fitting(log.lines, lease);
    const waiting = this.#waitingBytes + bytes > WAITING_BYTES_MAX;
    if (kept.length === 0 || waiting) {
      lease.dropped += log.lines.length;
      return;
    }
    const dropped = lease.dropped;
    lease.dropped = log.lines.length - kept.length;
    lease.bytes += bytes;
    this.#write(bytes, {
      task_id: log.taskId,
      ...{ attempt: assignment.attempt ?? 0, delivery: assignment.delivery ?? 0, worker },
      ...{ lines: kept.join("\n"), line_count: kept.length, bytes, dropped },
      // Of a lease that another replica gave out, this one does not know what was logged before.
      isLater: assignment.attempt !== 1 || (assignment.delivery ?? 0) > 0,
    });
  }

  #fitting(lines: readonly string[], { bytes: before }: Lease): { kept: string[]; bytes: number } {
    const kept: string[] = [];
    let bytes = CHUNK_BYTES;
    for (const line of lines) {
      const text = bounded(escapeControls(line));
      const more = Buffer.byteLength(text) + 1;
      if (before + bytes + more > LEASE_LOG_BYTES_MAX) break;
      kept.push(text);
      bytes += more;
    }
    return { kept, bytes };
  }

  #write(bytes: number, chunk: Parameters<CommandServices["logs"]["add"]>[0]): void {
    this.#waitingBytes += bytes;
    this.#services.logs.add(chunk).then(
      () => {
        this.#waitingBytes -= bytes;
      },
      (error: unknown) => {
        this.#waitingBytes -= bytes;
        this.#log.warn("task_logs.lost", { task: chunk.task_id, lines: chunk.line_count, error: messageOf(error) });
      },
    );
  }
}

function bounded(line: string): string {
  if (Buffer.byteLength(line) <= LINE_BYTES_MAX) return line;
  const head = Buffer.from(line).subarray(0, LINE_BYTES_MAX - Buffer.byteLength(CUT));
  // A character that was cut in two is left out.
  return head.toString("utf8").replace(/\ufffd+$/, "") + CUT;
}
