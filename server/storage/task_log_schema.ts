// The table of task logs as Kysely sees it; migrations/ makes it.
// Read by task_log_queries.ts. Rows are added, and emptied when a task has too many; retention deletes them.

import type { Generated } from "kysely";
import type { Time } from "./column_types.ts";

/** What workers logged about tasks, in chunks as they came. */
export interface TaskLogTable {
  id: Generated<bigint>;
  transaction_id: Generated<string>;
  run_id: string;
  task_id: string;
  attempt: number;
  delivery: number;
  worker: string;
  /** Lines with a line feed between; empty once the task holds too many. */
  lines: string;
  line_count: number;
  bytes: number;
  /** Lines that are missing before these. */
  dropped: number;
  create_time: Generated<Time>;
}
