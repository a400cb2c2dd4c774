// The dead_letter table: tasks that were parked for a person, and what was decided about them.
// Called by commands through the store. Locked after task and lease, before the ledger, ids ascending.

import { sql } from "kysely";
import { bulkInsert, type Columns, type Queryable, recordSet } from "./bulk.ts";

/** Why a task was parked. */
export type DeadLetterCause = "attempts" | "deliveries" | "unknown_outcome";

/** A task that is parked now. */
export interface NewDeadLetter {
  readonly task_id: string;
  readonly run_id: string;
  readonly namespace: string;
  readonly workflow: string;
  readonly node: string;
  readonly agent: string;
  readonly cause: DeadLetterCause;
  readonly failure_class: string;
  readonly failure_message: string;
  readonly attempt: number;
  readonly deliveries: number;
}

const COLUMNS: Columns = {
  ...{
    task_id: "text",
    run_id: "text",
    namespace: "text",
    workflow: "text",
    node: "text",
    agent: "text",
    cause: "text",
  },
  ...{ failure_class: "text", failure_message: "text", attempt: "integer", deliveries: "integer" },
};

/** A dead letter that this transaction has locked. */
export interface LockedDeadLetter {
  readonly task_id: string;
  readonly run_id: string;
  readonly state: "open" | "replayed" | "discarded";
  readonly failure_class: string;
  readonly failure_message: string;
  readonly request_digest: string | null;
  readonly replay_task_id: string | null;
  readonly replay_run_id: string | null;
}

/** What was decided about a dead letter. */
export interface DeadLetterDecision {
  readonly task_id: string;
  readonly state: "replayed" | "discarded";
  readonly resolved_by: string;
  /** Tells a repeated request from another one. */
  readonly request_digest: string;
  readonly replay_task_id: string | null;
  readonly replay_run_id: string | null;
}

/** Queries of the dead_letter table. */
export function deadLetterQueries(db: Queryable) {
  return {
    insert: (rows: readonly NewDeadLetter[]) => bulkInsert(db, "dead_letter", COLUMNS, rows),

    /** Locks dead letters by task, ascending; primary key only. */
    async lock(taskIds: readonly string[]): Promise<LockedDeadLetter[]> {
      if (taskIds.length === 0) return [];
      const { rows } = await sql<LockedDeadLetter>`
        select task_id, run_id, state, failure_class, failure_message, request_digest, replay_task_id, replay_run_id
        from dead_letter where task_id = any(${taskIds}::text[]) order by task_id for update`.execute(db);
      return rows;
    },

    /** Records decisions about open dead letters, which the caller has locked. */
    async resolve(rows: readonly DeadLetterDecision[]): Promise<void> {
      if (rows.length === 0) return;
      await sql`update dead_letter d set state = x.state, resolve_time = clock_timestamp(), resolved_by = x.resolved_by,
          request_digest = x.request_digest, replay_task_id = x.replay_task_id, replay_run_id = x.replay_run_id
        from json_to_recordset(${recordSet(rows)}::json) as x(task_id text, state text, resolved_by text,
          request_digest text, replay_task_id text, replay_run_id text)
        where d.task_id = x.task_id and d.state = 'open'`.execute(db);
    },
  };
}
