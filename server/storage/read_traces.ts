// What the spans of tasks and runs are made of: their rows, and the records of the trail that tell what became of each lease.
// Called by commands/read_traces.ts, for tasks and runs that have just ended, and only while tracing is on. Never locks, never writes.
// Reads nothing of runs that are not sampled.

import { sql } from "kysely";
import type { AuditKind } from "../audit/events.ts";
import type { Queryable } from "./bulk.ts";

/** A run whose spans are wanted. */
export interface TracedRunRow {
  readonly id: string;
  readonly namespace: string;
  readonly workflow: string;
  readonly state: string;
  readonly failure_class: string | null;
  readonly create_time: Date;
  readonly end_time: Date | null;
  readonly replay_of: string | null;
  readonly trace_id: string;
}

/** A task whose spans are wanted. */
export interface TracedTaskRow {
  readonly id: string;
  readonly run_id: string;
  readonly namespace: string;
  readonly workflow: string;
  readonly node: string;
  readonly iteration: number;
  readonly item: number;
  readonly agent: string;
  readonly state: string;
  readonly failure_class: string | null;
  readonly create_time: Date;
  readonly end_time: Date | null;
  readonly replay_of: string | null;
  readonly trace_id: string;
}

/** A record of one of these tasks. */
export interface TracedRecordRow {
  readonly task_id: string;
  readonly time: Date;
  readonly kind: AuditKind;
  /** Canonical JSON. */
  readonly record: string;
}

/** Read queries for spans. */
export function traceReads(db: Queryable) {
  return {
    /** Primary key; bound: the ids. */
    async runs(ids: readonly string[]): Promise<TracedRunRow[]> {
      if (ids.length === 0) return [];
      const { rows } = await sql<TracedRunRow>`
        select id, namespace, workflow, state, failure_class, create_time, end_time, replay_of, trace_id from run
        where id = any(${ids}::text[]) and trace_sampled and trace_id <> ''`.execute(db);
      return rows;
    },

    /** Primary keys; bound: the ids. */
    async tasks(ids: readonly string[]): Promise<TracedTaskRow[]> {
      if (ids.length === 0) return [];
      const { rows } = await sql<TracedTaskRow>`
        select t.id, t.run_id, t.namespace, r.workflow, t.node, t.iteration, t.item, t.agent, t.state, t.failure_class,
          t.create_time, t.end_time, t.replay_of, r.trace_id
        from task t join run r on r.id = t.run_id
        where t.id = any(${ids}::text[]) and r.trace_sampled and r.trace_id <> ''`.execute(db);
      return rows;
    },

    /** Records of tasks, in the order in which they were written. By audit_event_run_idx; bound: limit. */
    async records(
      tasks: readonly TracedTaskRow[],
      kinds: readonly AuditKind[],
      limit: number,
    ): Promise<TracedRecordRow[]> {
      if (tasks.length === 0) return [];
      const ids = tasks.map(({ id }) => id);
      const runs = [...new Set(tasks.map(({ run_id }) => run_id))];
      const { rows } = await sql<TracedRecordRow>`
        select task_id, time, kind, record from audit_event
        where run_id = any(${runs}::text[]) and run_id <> '' and task_id = any(${ids}::text[]) and kind = any(${kinds}::text[])
        order by id limit ${limit}`.execute(db);
      return rows;
    },
  };
}
