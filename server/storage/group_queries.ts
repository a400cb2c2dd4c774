// The concurrency_group table: how many runs of a group have a slot, and how many wait for one.
// Called by commands/slots.ts and apply.ts through the store. Lock order: after run, task, lease, ledger and nodes, before limits and
// audit; ids ascending. What is counted changes only while its row is locked, in the transaction that changes the runs.

import { sql } from "kysely";
import { type Columns, type Queryable, recordSet, recordShape } from "./bulk.ts";

/** A group that runs are counted in. */
export interface NewGroup {
  /** "namespace/workflow/key". */
  readonly id: string;
  readonly namespace: string;
  readonly workflow: string;
  readonly key: string;
  readonly max_running: number;
}

/** A group under its lock. */
export interface GroupRow {
  readonly id: string;
  readonly key: string;
  /** Null: the limit was taken away. */
  readonly max_running: number | null;
  readonly running: number;
  readonly waiting: number;
}

/** What a workflow's template says from now on. */
export interface WorkflowMax {
  readonly namespace: string;
  readonly workflow: string;
  readonly max_running: number | null;
}

const NEW_GROUP: Columns = { id: "text", namespace: "text", workflow: "text", key: "text", max_running: "integer" };
const COUNTS: Columns = { id: "text", running: "integer", waiting: "integer" };
const ROW = sql.raw("id, key, max_running, running, waiting");

/** Queries of the concurrency_group table. */
export function groupQueries(db: Queryable) {
  return {
    /** Locks groups, making those that are missing; their limit is the given one from now on. By primary key; bound: the rows given. */
    async make(rows: readonly NewGroup[]): Promise<GroupRow[]> {
      if (rows.length === 0) return [];
      const result = await sql<GroupRow>`
        insert into concurrency_group as g (id, namespace, workflow, key, max_running, running, waiting)
        select id, namespace, workflow, key, max_running, 0, 0
        from json_to_recordset(${recordSet(rows)}::json) as x(${recordShape(NEW_GROUP)}) order by id
        on conflict (id) do update set max_running = excluded.max_running
        returning ${ROW}`.execute(db);
      return result.rows;
    },

    /** Locks groups that are there (FOR NO KEY UPDATE). By primary key. */
    async lock(ids: readonly string[]): Promise<GroupRow[]> {
      if (ids.length === 0) return [];
      const result = await sql<GroupRow>`
        select ${ROW} from concurrency_group where id = any(${ids}::text[]) order by id for no key update`.execute(db);
      return result.rows;
    },

    /** Stores counts of groups that this transaction has locked, and removes those that count nothing any more. */
    async put(rows: readonly Pick<GroupRow, "id" | "running" | "waiting">[]): Promise<void> {
      const counting = rows.filter(({ running, waiting }) => running > 0 || waiting > 0);
      if (counting.length > 0) {
        await sql`
          update concurrency_group g set running = x.running, waiting = x.waiting
          from json_to_recordset(${recordSet(counting)}::json) as x(${recordShape(COUNTS)}) where g.id = x.id`.execute(
          db,
        );
      }
      const empty = rows.filter((row) => !counting.includes(row)).map(({ id }) => id);
      if (empty.length > 0) await sql`delete from concurrency_group where id = any(${empty}::text[])`.execute(db);
    },

    /**
     * Runs that wait for a slot of these groups, the next ones first, as many as there seem to be free slots. Without a lock: who starts
     * them locks runs, then groups, and looks again. Through run_queue_idx; bound: limit runs a group.
     */
    async nextRuns(ids: readonly string[], limit: number): Promise<string[]> {
      if (ids.length === 0) return [];
      const result = await sql<{ id: string }>`
        select r.id from concurrency_group g cross join lateral (
          select id from run where concurrency_group = g.id and slot = 'waiting'
          order by queue_order, id limit greatest(0, least(${limit}, coalesce(g.max_running - g.running, ${limit})))) r
        where g.id = any(${ids}::text[])`.execute(db);
      return result.rows.map(({ id }) => id);
    },

    /** Changes the limit of the groups of workflows; ids ascending, through concurrency_group_workflow_idx. */
    async setMax(rows: readonly WorkflowMax[]): Promise<void> {
      if (rows.length === 0) return;
      const shape = recordShape({ namespace: "text", workflow: "text", max_running: "integer" });
      await sql`
        with locked as materialized (
          select g.id, x.max_running from json_to_recordset(${recordSet(rows)}::json) as x(${shape})
          join concurrency_group g on g.namespace = x.namespace and g.workflow = x.workflow
          order by g.id for no key update of g)
        update concurrency_group g set max_running = l.max_running from locked l where g.id = l.id`.execute(db);
    },
  };
}
