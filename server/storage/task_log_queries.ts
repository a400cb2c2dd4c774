// The task_log table: what workers logged about tasks, in chunks as they came, bounded for each task.
// Called by commands through the store. Stands last in the lock order: it locks rows of its own only, of tasks in the batch.
// A chunk that is over the bound of its task is emptied and not deleted: its row says how many lines are missing.

import { type RawBuilder, sql } from "kysely";
import { type Columns, type Queryable, recordSet, recordShape } from "./bulk.ts";

/** Lines of one task that came together. */
export interface NewTaskLog {
  readonly task_id: string;
  /** 0: not known, that of the task as it is. */
  readonly attempt: number;
  readonly delivery: number;
  readonly worker: string;
  /** Lines with a line feed between. */
  readonly lines: string;
  readonly line_count: number;
  readonly bytes: number;
  readonly dropped: number;
}

const COLUMNS: Columns = {
  task_id: "text",
  attempt: "integer",
  delivery: "integer",
  worker: "text",
  lines: "text",
  line_count: "integer",
  bytes: "integer",
  dropped: "integer",
};

/** Whose logs are read; one of runId and taskId is set. */
export interface TaskLogFilter {
  readonly runId?: string;
  readonly taskId?: string;
  readonly node?: string;
  /** Chunks that came before it are left out. */
  readonly since?: Date;
}

/** A chunk with the place of its task. */
export interface TaskLogRow {
  readonly id: bigint;
  readonly task_id: string;
  readonly node: string;
  readonly iteration: number;
  readonly item: number;
  readonly attempt: number;
  readonly delivery: number;
  readonly worker: string;
  readonly lines: string;
  readonly dropped: number;
}

/** Queries of the task_log table. */
export function taskLogQueries(db: Queryable) {
  return {
    /** Adds chunks in the order given. Those of tasks that are not there any more are left out. By the primary key of task. */
    async insert(rows: readonly NewTaskLog[]): Promise<void> {
      if (rows.length === 0) return;
      await sql`
        insert into task_log (run_id, task_id, attempt, delivery, worker, lines, line_count, bytes, dropped)
        select t.run_id, t.id, case when x.attempt > 0 then x.attempt else t.attempt end,
          case when x.attempt > 0 then x.delivery else t.deliveries end, x.worker, x.lines, x.line_count, x.bytes, x.dropped
        from rows from (json_to_recordset(${recordSet(rows)}::json) as (${recordShape(COLUMNS)}))
          with ordinality as x(${sql.raw(Object.keys(COLUMNS).join(", "))}, place)
          join task t on t.id = x.task_id
        order by x.place`.execute(db);
    },

    /** Empties the oldest chunks of tasks that hold more than bytesMax together. By task_log_task_idx; bound: the chunks of the tasks. */
    async trim(taskIds: readonly string[], bytesMax: number): Promise<void> {
      if (taskIds.length === 0) return;
      await sql`
        update task_log l set lines = '', bytes = 0, line_count = 0, dropped = l.dropped + l.line_count
        from (select task_id, id, sum(bytes) over (partition by task_id order by id desc) as total from task_log
          where task_id = any(${taskIds}::text[])) x
        where l.task_id = x.task_id and l.id = x.id and x.total > ${bytesMax} and l.bytes > 0`.execute(db);
    },

    /** A page after an id, in the order in which chunks came. By the primary key, or task_log_task_idx. */
    list: (filter: TaskLogFilter, afterId: string, limit: number) => read(db, filter, sql`true`, afterId, limit),

    /** This moment as a snapshot, for between. */
    async snapshot(): Promise<string> {
      const result = await sql<{ snapshot: string }>`select pg_current_snapshot()::text as snapshot`.execute(db);
      return (result.rows[0] as { snapshot: string }).snapshot;
    },

    /** What committed after one snapshot and up to another, after an id; from the beginning if `since` is absent. Indexes as in list. */
    between(
      filter: TaskLogFilter,
      since: string | undefined,
      until: string,
      afterId: string,
      limit: number,
    ): Promise<TaskLogRow[]> {
      const unseen =
        since === undefined ? sql`true` : sql`not pg_visible_in_snapshot(l.transaction_id, ${since}::pg_snapshot)`;
      const seen = sql`pg_visible_in_snapshot(l.transaction_id, ${until}::pg_snapshot)`;
      return read(db, filter, sql`${unseen} and ${seen}`, afterId, limit);
    },
  };
}

async function read(
  db: Queryable,
  { runId, taskId, node, since }: TaskLogFilter,
  condition: RawBuilder<unknown>,
  afterId: string,
  limit: number,
): Promise<TaskLogRow[]> {
  const of = taskId === undefined ? sql`l.run_id = ${runId ?? ""}` : sql`l.task_id = ${taskId}`;
  const { rows } = await sql<TaskLogRow>`
    select l.id, l.task_id, t.node, t.iteration, t.item, l.attempt, l.delivery, l.worker, l.lines, l.dropped
    from task_log l join task t on t.id = l.task_id
    where ${of} and l.id > ${afterId}::bigint and ${node === undefined ? sql`true` : sql`t.node = ${node}`}
      and ${since === undefined ? sql`true` : sql`l.create_time >= ${since}`} and ${condition}
    order by l.id limit ${limit}`.execute(db);
  return rows;
}
