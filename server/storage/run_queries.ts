// The run and node_state tables: insert, lock, load, update.
// Called by commands through the store. A command that advances a graph locks its runs first, ids ascending.

import { sql } from "kysely";
import type { Slot } from "../queue/concurrency.ts";
import { bulkInsert, bulkUpdate, type Columns, type Queryable, recordSet } from "./bulk.ts";

/** What a run has of the group that it is counted in. */
export interface RunPlace {
  readonly concurrency_group: string | null;
  readonly slot: Slot;
  /** Of a run that waits: lower first. */
  readonly queue_order: number | bigint | null;
}

/** A run that is counted in no group. */
export const NO_PLACE: RunPlace = { concurrency_group: null, slot: null, queue_order: null };

/** A run to insert. */
export interface NewRun extends RunPlace {
  readonly id: string;
  readonly namespace: string;
  readonly workflow: string;
  readonly bundle_digest: string;
  readonly state: string;
  readonly cause: string | null;
  readonly conditions: readonly string[];
  readonly requester_id: string;
  readonly requester: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly metadata: Readonly<Record<string, string>>;
  readonly parameters: string;
  readonly input: string;
  readonly output: string | null;
  readonly failure_class: string | null;
  readonly failure_message: string | null;
  readonly idempotency_key: string | null;
  readonly request_digest: string | null;
  readonly priority: number;
  readonly timeout_ms: number;
  readonly grace_ms: number;
  readonly create_time: Date;
  /** Null until it begins. */
  readonly start_time: Date | null;
  readonly end_time: Date | null;
  readonly due_time: Date | null;
  /** Its timeout while it waits for its turn. */
  readonly remaining_ms: number | null;
  readonly replay_of: string | null;
  readonly trace_id: string;
  readonly trace_sampled: boolean;
}

const RUN_COLUMNS: Columns = {
  id: "text",
  namespace: "text",
  workflow: "text",
  bundle_digest: "text",
  state: "text",
  cause: "text",
  conditions: "text[]",
  requester_id: "text",
  requester: "text",
  tags: "jsonb",
  metadata: "jsonb",
  parameters: "text",
  input: "text",
  output: "text",
  failure_class: "text",
  failure_message: "text",
  idempotency_key: "text",
  request_digest: "text",
  priority: "smallint",
  timeout_ms: "bigint",
  grace_ms: "bigint",
  create_time: "timestamptz",
  start_time: "timestamptz",
  end_time: "timestamptz",
  due_time: "timestamptz",
  remaining_ms: "bigint",
  replay_of: "text",
  trace_id: "text",
  trace_sampled: "boolean",
  concurrency_group: "text",
  slot: "text",
  queue_order: "bigint",
};

/** What settling tasks may change of a run. */
export interface RunChange {
  readonly id: string;
  readonly state: string;
  readonly cause: string | null;
  readonly conditions: readonly string[];
  readonly output: string | null;
  readonly failure_class: string | null;
  readonly failure_message: string | null;
  readonly stop_reason: string | null;
  readonly start_time: Date | null;
  readonly end_time: Date | null;
  readonly due_time: Date | null;
  readonly remaining_ms: number | null;
  readonly slot: Slot;
  readonly queue_order: number | bigint | null;
}

const RUN_CHANGE: Columns = {
  id: "text",
  state: "text",
  cause: "text",
  conditions: "text[]",
  output: "text",
  failure_class: "text",
  failure_message: "text",
  stop_reason: "text",
  start_time: "timestamptz",
  end_time: "timestamptz",
  due_time: "timestamptz",
  remaining_ms: "bigint",
  slot: "text",
  queue_order: "bigint",
};

/** A node row to insert or to update. */
export interface NodeRecord {
  readonly run_id: string;
  readonly node: string;
  readonly iteration: number;
  readonly state: string;
  readonly unresolved: number;
  readonly taken: number;
  readonly open_tasks: number;
  readonly output: string | null;
  readonly failure_class: string | null;
  readonly failure_message: string | null;
  readonly routes: readonly number[] | null;
  readonly loop_taken: string | null;
  readonly loop_last: string | null;
  readonly items_total: number | null;
  readonly items_next: number | null;
}

const NODE_COLUMNS: Columns = {
  run_id: "text",
  node: "text",
  iteration: "integer",
  state: "text",
  unresolved: "integer",
  taken: "integer",
  open_tasks: "integer",
  output: "text",
  failure_class: "text",
  failure_message: "text",
  routes: "integer[]",
  loop_taken: "text",
  loop_last: "text",
  items_total: "integer",
  items_next: "integer",
};

/** A run that this transaction has locked. */
export interface LockedRun {
  readonly id: string;
  readonly namespace: string;
  readonly workflow: string;
  readonly bundle_digest: string;
  readonly state: string;
  readonly cause: string | null;
  readonly conditions: string[];
  readonly requester: string;
  readonly input: string;
  readonly failure_class: string | null;
  readonly failure_message: string | null;
  readonly stop_reason: string | null;
  readonly priority: number;
  readonly grace_ms: bigint;
  readonly start_time: Date | null;
  readonly due_time: Date | null;
  readonly remaining_ms: bigint | null;
  readonly concurrency_group: string | null;
  readonly slot: Slot;
  readonly queue_order: bigint | null;
  readonly tags: Record<string, string>;
  readonly metadata: Record<string, string>;
  readonly trace_id: string;
  readonly trace_sampled: boolean;
  /** Database time of the lock. */
  readonly now: Date;
}

/** The run that an idempotency key stands for. */
export interface FirstRun {
  readonly id: string;
  readonly namespace: string;
  readonly requester_id: string;
  readonly idempotency_key: string;
  readonly request_digest: string | null;
}

/** A node row as it is stored, without its output. */
export type StoredNode = Omit<NodeRecord, "output">;

function runsAndRunsOf(runIds: readonly string[], taskIds: readonly string[]) {
  return sql`array(
    select run_id from task where id = any(${taskIds}::text[])
    union select unnest(${runIds}::text[]))`;
}

/** Queries of the run and node_state tables. */
export function runQueries(db: Queryable) {
  return {
    /** Inserts runs. @throws unique violation on run_idempotency_idx when two batches race for one key. */
    insert: (rows: readonly NewRun[]) => bulkInsert(db, "run", RUN_COLUMNS, rows),

    insertNodes: (rows: readonly NodeRecord[]) => bulkInsert(db, "node_state", NODE_COLUMNS, rows),

    update: (rows: readonly RunChange[]) => bulkUpdate(db, "run", ["id"], RUN_CHANGE, rows),

    /** Updates nodes, their iterations too. */
    updateNodes: (rows: readonly NodeRecord[]) => bulkUpdate(db, "node_state", ["run_id", "node"], NODE_COLUMNS, rows),

    /** Runs by (namespace, requester, key), through run_idempotency_idx. */
    async byIdempotencyKeys(
      keys: readonly { namespace: string; requester_id: string; idempotency_key: string }[],
    ): Promise<FirstRun[]> {
      if (keys.length === 0) return [];
      // A lateral look-up a key: a list of tuples is planned as a scan once the table is large.
      const result = await sql<FirstRun>`
        select r.* from json_to_recordset(${recordSet(keys)}::json)
          as k(namespace text, requester_id text, idempotency_key text)
        cross join lateral (
          select id, namespace, requester_id, idempotency_key, request_digest from run
          where namespace = k.namespace and requester_id = k.requester_id and idempotency_key = k.idempotency_key limit 1) r`.execute(
        db,
      );
      return result.rows;
    },

    /** Locks runs, and the runs of tasks, ids ascending (FOR NO KEY UPDATE). Primary keys only. */
    async lock(runIds: readonly string[], taskIds: readonly string[]): Promise<LockedRun[]> {
      const result = await sql<LockedRun>`
        select id, namespace, workflow, bundle_digest, state, cause, conditions, requester, input, failure_class,
          failure_message, stop_reason, priority, grace_ms, start_time, due_time, remaining_ms, concurrency_group, slot, queue_order,
          tags, metadata, trace_id, trace_sampled, clock_timestamp() as now
        from run
        where id = any(${runsAndRunsOf(runIds, taskIds)})
        order by id
        for no key update`.execute(db);
      return result.rows;
    },

    /** Node rows of runs, and of the runs of tasks, without outputs. Read after the runs are locked. Primary keys only. */
    async nodes(runIds: readonly string[], taskIds: readonly string[] = []): Promise<StoredNode[]> {
      const result = await sql<StoredNode>`
        select run_id, node, iteration, state, unresolved, taken, open_tasks, failure_class, failure_message, routes,
          loop_taken, loop_last, items_total, items_next
        from node_state where run_id = any(${runsAndRunsOf(runIds, taskIds)})`.execute(db);
      return result.rows;
    },

    /** Outputs of some nodes of runs. */
    async nodeOutputs(wanted: readonly { run_id: string; node: string }[]) {
      if (wanted.length === 0) return [];
      const result = await sql<{ run_id: string; node: string; output: string }>`
        select n.run_id, n.node, n.output from node_state n
        join json_to_recordset(${JSON.stringify(wanted)}::json) as x(run_id text, node text)
          on n.run_id = x.run_id and n.node = x.node
        where n.output is not null`.execute(db);
      return result.rows;
    },
  };
}
