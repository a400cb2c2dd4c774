// Keeps what workers log about tasks: a batch of chunks, one transaction.
// Called through the logs coalescer by dispatch/task_logs.ts. Not a fact: nothing is decided by it, it has no record in the trail, and
// what cannot be written is left out.

import { KIB } from "../../kit/units.ts";
import type { NewTaskLog } from "../storage/task_log_queries.ts";
import type { CommandContext } from "./context.ts";

/** Bytes of lines that a task keeps, the newest. */
export const TASK_LOG_BYTES_MAX = 64 * KIB;

/** Lines of one lease that came together. */
export interface TaskLogChunk extends NewTaskLog {
  /** Earlier leases may have logged about the task as well. */
  readonly isLater: boolean;
}

/** See the file header. @throws DomainError for database trouble: nothing of the batch was kept */
export async function keepTaskLogs(
  { store }: Pick<CommandContext, "store">,
  chunks: readonly TaskLogChunk[],
): Promise<true[]> {
  await store.transaction(async (tx) => {
    await tx.taskLogs.insert(chunks.map(({ isLater: _, ...row }) => row));
    const later = chunks.flatMap(({ isLater, task_id }) => (isLater ? [task_id] : []));
    await tx.taskLogs.trim([...new Set(later)], TASK_LOG_BYTES_MAX);
  });
  return chunks.map(() => true);
}
