// The task and ready tables: enqueue, claim, wait, finish.
// Called by commands through the store. Lock order: run, then ready, then task and lease, ids ascending.
// The queue is insert and delete only; LEASED is the lease row, which lease_queries.ts has.

import { sql } from "kysely";
import { bulkInsert, bulkUpdate, type Columns, type Queryable, recordSet } from "./bulk.ts";
import { DECIDING } from "./policy_gate.ts";

/** A task to insert: READY, WAITING for its map, or CANCELLED when its run stopped in the same transaction. */
export interface NewTaskRow {
  readonly id: string;
  readonly run_id: string;
  readonly namespace: string;
  readonly node: string;
  readonly iteration: number;
  readonly item: number;
  readonly agent: string;
  readonly route: string;
  readonly state: "READY" | "WAITING" | "CANCELLED";
  readonly attempt: number;
  readonly deliveries: number;
  readonly claim_order: number;
  readonly origin_task_id: string;
  readonly input: string;
  readonly create_time: Date;
  readonly end_time: Date | null;
  readonly replay_of: string | null;
  /** Absent: the run's. */
  readonly bundle_digest: string | null;
}

const TASK_COLUMNS: Columns = {
  id: "text",
  run_id: "text",
  namespace: "text",
  node: "text",
  iteration: "integer",
  item: "integer",
  agent: "text",
  route: "text",
  state: "text",
  attempt: "integer",
  deliveries: "integer",
  claim_order: "bigint",
  origin_task_id: "text",
  input: "text",
  create_time: "timestamptz",
  end_time: "timestamptz",
  replay_of: "text",
  bundle_digest: "text",
};

/** What settling changes of a task. */
export interface TaskChange {
  readonly id: string;
  readonly state: string;
  readonly attempt: number;
  readonly deliveries: number;
  readonly output: string | null;
  readonly failure_class: string | null;
  readonly failure_message: string | null;
  readonly worker: string | null;
  readonly outcome_token: string | null;
  readonly outcome_digest: string | null;
  readonly end_time: Date | null;
  readonly due_time: Date | null;
}

const TASK_CHANGE: Columns = {
  id: "text",
  state: "text",
  attempt: "integer",
  deliveries: "integer",
  output: "text",
  failure_class: "text",
  failure_message: "text",
  worker: "text",
  outcome_token: "text",
  outcome_digest: "text",
  end_time: "timestamptz",
  due_time: "timestamptz",
};

/** A row of the queue. */
export interface ReadyRow {
  readonly task_id: string;
  readonly run_id: string;
  readonly route: string;
  readonly claim_order: number | bigint;
  readonly last_token: string | null;
  readonly last_session_id: string | null;
  readonly fresh: boolean;
}

const READY_COLUMNS: Columns = {
  task_id: "text",
  run_id: "text",
  route: "text",
  claim_order: "bigint",
  last_token: "text",
  last_session_id: "text",
  fresh: "boolean",
};

/** A task that waited with its run, and is READY now. */
export type ReleasedTask = Pick<ReadyRow, "task_id" | "run_id" | "route" | "claim_order"> & { readonly node: string };

/** A task taken from the queue, with what an assignment needs. */
export interface ClaimedTask {
  readonly id: string;
  readonly run_id: string;
  readonly namespace: string;
  readonly node: string;
  readonly iteration: number;
  readonly item: number;
  readonly agent: string;
  readonly route: string;
  readonly attempt: number;
  readonly deliveries: number;
  readonly input: string;
  readonly origin_task_id: string;
  readonly fresh: boolean;
  readonly workflow: string;
  readonly bundle_digest: string;
  readonly requester: string;
  readonly tags: Record<string, string>;
  readonly metadata: Record<string, string>;
  readonly trace_id: string;
  readonly trace_sampled: boolean;
  /** Some other task of its run was claimed before; null: it was not asked for, or the task is not fresh. */
  readonly run_dispatched: boolean | null;
}

/** A task with what settling needs. */
export interface TaskRow {
  readonly id: string;
  readonly run_id: string;
  readonly namespace: string;
  readonly node: string;
  readonly iteration: number;
  readonly item: number;
  readonly agent: string;
  readonly route: string;
  readonly state: string;
  readonly attempt: number;
  readonly deliveries: number;
  readonly claim_order: bigint;
  readonly origin_task_id: string;
  readonly worker: string | null;
  readonly outcome_token: string | null;
  readonly outcome_digest: string | null;
  /** Absent: the run's. */
  readonly bundle_digest: string | null;
  /** When a WAITING task is tried again. */
  readonly due_time: Date | null;
}

const TASK_ROW =
  sql.raw(`t.id, t.run_id, t.namespace, t.node, t.iteration, t.item, t.agent, t.route, t.state, t.attempt,
  t.deliveries, t.claim_order, t.origin_task_id, t.worker, t.outcome_token, t.outcome_digest, t.bundle_digest, t.due_time`);

/** Items of a mapped node that follow each other. */
export interface ItemRange {
  readonly run_id: string;
  readonly node: string;
  readonly iteration: number;
  readonly first: number;
  readonly count: number;
}

/** How an item of a mapped node ended. */
export interface ItemResultRow {
  readonly run_id: string;
  readonly node: string;
  readonly item: number;
  readonly agent: string;
  readonly state: string;
  readonly output: string | null;
  readonly failure_class: string | null;
  readonly failure_message: string | null;
}

/** A place in the journal of a task where a tool call was asked for; 0: none is wanted. */
export interface CallingTurn {
  readonly task_id: string;
  readonly turn_sequence: number;
}

/** A task with what a decision about one of its tool calls needs. */
export interface CallingTask {
  readonly id: string;
  readonly run_id: string;
  readonly namespace: string;
  readonly agent: string;
  readonly origin_task_id: string;
  readonly run_state: string;
  readonly bundle_digest: string;
  readonly requester: string;
  readonly tags: Record<string, string>;
  readonly metadata: Record<string, string>;
  /** The turn at that place, as recorded; null if none is there. */
  readonly turn_sequence: number;
  readonly turn: string | null;
  /** Input of the task if it is the tool of a node; null for an agent's. */
  readonly tool_input: string | null;
}

// A task that was claimed before.
const DISPATCHED = sql.raw(`from task o left join ready q on q.task_id = o.id
  where (o.state <> 'READY' or not q.fresh or exists (select from lease l where l.task_id = o.id))`);

/** Queries of the task and ready tables. */
export function taskQueries(db: Queryable) {
  return {
    insert: (rows: readonly NewTaskRow[]) => bulkInsert(db, "task", TASK_COLUMNS, rows),
    update: (rows: readonly TaskChange[]) => bulkUpdate(db, "task", ["id"], TASK_CHANGE, rows),
    enqueue: (rows: readonly ReadyRow[]) => bulkInsert(db, "ready", READY_COLUMNS, rows),

    /**
     * Takes up to `limit` tasks of the routes from the queue, in claim order. Locks only ready rows (SKIP LOCKED), through
     * ready_route_idx; bound: limit rows a route. What is claimed is decided by policies: shares the gate of policy_gate.ts. A plain read of the run: cancelling deletes ready rows after its own write.
     *
     * @param askDispatched tells of fresh tasks whether their run has begun; see dispatchedRuns.
     */
    async claim(routes: readonly string[], limit: number, askDispatched = false): Promise<ClaimedTask[]> {
      const result = await sql<ClaimedTask>`
        with ${DECIDING}, picked as materialized (
          select r.task_id from unnest((select ${routes}::text[] from gate)) as x(route)
          cross join lateral (
            select task_id, claim_order from ready where route = x.route
            order by claim_order, task_id limit ${limit} for update skip locked) r
          order by r.claim_order, r.task_id limit ${limit}),
        gone as (delete from ready where task_id = any(array(select task_id from picked)) returning task_id, fresh)
        select t.id, t.run_id, t.namespace, t.node, t.iteration, t.item, t.agent, t.route, t.attempt, t.deliveries, t.input,
          t.origin_task_id, g.fresh, r.workflow, coalesce(t.bundle_digest, r.bundle_digest) as bundle_digest,
          r.requester, r.tags, r.metadata, r.trace_id, r.trace_sampled,
          case when ${askDispatched} and g.fresh then exists (
            select ${DISPATCHED} and o.run_id = t.run_id and o.id <> all(array(select task_id from picked))) end as run_dispatched
        from gone g join task t on t.id = g.task_id join run r on r.id = t.run_id
        order by t.claim_order, t.id`.execute(db);
      return result.rows;
    },

    /**
     * Runs of which some task was claimed before, but for the tasks that are being claimed now: it is leased, has ended, waits, or is
     * queued again. Through task_run_idx; bound: the tasks of the runs.
     */
    async dispatchedRuns(runIds: readonly string[], claimed: readonly string[]): Promise<string[]> {
      if (runIds.length === 0) return [];
      const { rows } = await sql<{ run_id: string }>`
        select distinct o.run_id ${DISPATCHED} and o.run_id = any(${runIds}::text[]) and o.id <> all(${claimed}::text[])`.execute(
        db,
      );
      return rows.map(({ run_id }) => run_id);
    },

    /** Takes every queued task of runs out of the queue. */
    async dequeueRuns(runIds: readonly string[]): Promise<{ task_id: string; run_id: string }[]> {
      if (runIds.length === 0) return [];
      return await db
        .deleteFrom("ready")
        .where("run_id", "in", [...runIds])
        .returning(["task_id", "run_id"])
        .execute();
    },

    /** Takes the queued tasks of nodes out of the queue, each in one iteration; by ready_run_idx. */
    async dequeueNodes(
      places: readonly { readonly run_id: string; readonly node: string; readonly iteration: number }[],
    ): Promise<{ task_id: string; run_id: string }[]> {
      if (places.length === 0) return [];
      const result = await sql<{ task_id: string; run_id: string }>`
        delete from ready q using task t, json_to_recordset(${recordSet(places)}::json)
          as x(run_id text, node text, iteration integer)
        where q.run_id = x.run_id and t.id = q.task_id and t.node = x.node and t.iteration = x.iteration
        returning q.task_id, q.run_id`.execute(db);
      return result.rows;
    },

    /** Tasks of runs that wait for a retry, or for their map to let them go. */
    async waitingOf(runIds: readonly string[]): Promise<{ id: string; run_id: string }[]> {
      if (runIds.length === 0) return [];
      return await db
        .selectFrom("task")
        .select(["id", "run_id"])
        .where("run_id", "in", [...runIds])
        .where("state", "=", "WAITING")
        .execute();
    },

    /** Tasks by id, for settling. */
    async byId(taskIds: readonly string[]): Promise<TaskRow[]> {
      if (taskIds.length === 0) return [];
      const result = await sql<TaskRow>`
        select ${TASK_ROW} from task t where t.id = any(${taskIds}::text[])`.execute(db);
      return result.rows;
    },

    /** Tasks that wait for their map to let them go, item by item from `first` on; by task_held_idx. */
    async heldItems(wanted: readonly ItemRange[]): Promise<TaskRow[]> {
      if (wanted.length === 0) return [];
      const result = await sql<TaskRow>`
        select ${TASK_ROW} from json_to_recordset(${recordSet(wanted)}::json)
          as x(run_id text, node text, iteration integer, first integer, count integer)
        join task t on t.run_id = x.run_id and t.node = x.node and t.iteration = x.iteration
          and t.item >= x.first and t.item < x.first + x.count
        where t.state = 'WAITING' and t.due_time is null`.execute(db);
      return result.rows;
    },

    /**
     * Makes the tasks of a run READY that waited with it for its turn: WAITING without a time, and not held back by their map. The run
     * is locked. By task_held_idx.
     */
    async release(runId: string): Promise<ReleasedTask[]> {
      const result = await sql<ReleasedTask>`
        update task t set state = 'READY' from node_state n
        where t.run_id = ${runId} and t.state = 'WAITING' and t.due_time is null
          and n.run_id = t.run_id and n.node = t.node and n.iteration = t.iteration
          and (t.item < 0 or t.item < n.items_next)
        returning t.id as task_id, t.run_id, t.route, t.claim_order, t.node`.execute(db);
      return result.rows;
    },

    /** How the items of mapped nodes ended so far. */
    async itemResults(places: readonly Pick<ItemRange, "run_id" | "node" | "iteration">[]): Promise<ItemResultRow[]> {
      if (places.length === 0) return [];
      const result = await sql<ItemResultRow>`
        select t.run_id, t.node, t.item, t.agent, t.state, t.output, t.failure_class, t.failure_message
        from json_to_recordset(${recordSet(places)}::json) as x(run_id text, node text, iteration integer)
        join task t on t.run_id = x.run_id and t.node = x.node and t.iteration = x.iteration
        where t.end_time is not null`.execute(db);
      return result.rows;
    },

    /** Progress: losses before it count no more. */
    async forgetLosses(taskIds: readonly string[]): Promise<void> {
      if (taskIds.length === 0) return;
      await sql`update task set deliveries = 0 where id = any(${taskIds}::text[])`.execute(db);
    },

    /**
     * Tasks with their runs as they are now, and the turn at a place of their journal; one row a place. Read after their leases
     * are locked, so that no grant follows a cancel and no turn is recorded meanwhile. Primary keys of all three tables.
     */
    async calling(turns: readonly CallingTurn[]): Promise<CallingTask[]> {
      if (turns.length === 0) return [];
      const result = await sql<CallingTask>`
        select t.id, t.run_id, t.namespace, t.agent, t.origin_task_id, r.state as run_state,
          coalesce(t.bundle_digest, r.bundle_digest) as bundle_digest, r.requester, r.tags,
          r.metadata, x.turn_sequence, j.payload as turn,
          case when starts_with(t.agent, 'tool:') then t.input end as tool_input
        from (select distinct task_id, turn_sequence
          from json_to_recordset(${recordSet(turns)}::json) as x(task_id text, turn_sequence integer)) x
        join task t on t.id = x.task_id join run r on r.id = t.run_id
        left join journal j on j.task_id = x.task_id and j.sequence = x.turn_sequence and j.kind = 'turn'`.execute(db);
      return result.rows;
    },
  };
}
