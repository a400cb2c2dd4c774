// The task, ready and lease tables: enqueue, claim, lock the holder of a token, finish.
// Called by commands through the store. Lock order: run, then ready, then task and lease, ids ascending.
// The queue is insert and delete only; LEASED is the lease row.

import { sql } from "kysely";
import { bulkInsert, bulkUpdate, type Columns, type Queryable, recordSet } from "./bulk.ts";

/** A task to insert: READY, or CANCELLED when its run stopped in the same transaction. */
export interface NewTaskRow {
  readonly id: string;
  readonly run_id: string;
  readonly namespace: string;
  readonly node: string;
  readonly iteration: number;
  readonly item: number;
  readonly agent: string;
  readonly route: string;
  readonly state: "READY" | "CANCELLED";
  readonly attempt: number;
  readonly deliveries: number;
  readonly claim_order: number;
  readonly origin_task_id: string;
  readonly input: string;
  readonly create_time: Date;
  readonly end_time: Date | null;
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
  readonly fresh: boolean;
}

const READY_COLUMNS: Columns = {
  task_id: "text",
  run_id: "text",
  route: "text",
  claim_order: "bigint",
  last_token: "text",
  fresh: "boolean",
};

/** A lease to insert. */
export interface NewLease {
  readonly task_id: string;
  readonly run_id: string;
  readonly token: string;
  readonly session_id: string;
  readonly worker: string;
  readonly attempt: number;
  readonly delivery: number;
  readonly journal_length: number;
}

const LEASE_COLUMNS: Columns = {
  task_id: "text",
  run_id: "text",
  token: "text",
  session_id: "text",
  worker: "text",
  attempt: "integer",
  delivery: "integer",
  journal_length: "integer",
};

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
  readonly fresh: boolean;
  readonly workflow: string;
  readonly bundle_digest: string;
  readonly requester: string;
  readonly tags: Record<string, string>;
  readonly metadata: Record<string, string>;
}

/** A token as a session presents it. */
export interface PresentedToken {
  readonly task_id: string;
  readonly token: string;
  readonly session_id: string;
}

/** A task whose current token was presented by the session that holds it; its lease row is locked. */
export interface HeldTask {
  readonly task_id: string;
  readonly run_id: string;
  readonly token: string;
  readonly session_id: string;
  readonly worker: string;
  readonly attempt: number;
  readonly delivery: number;
  readonly accepted: boolean;
  readonly journal_length: number;
}

/** A leased task that may have lost its worker, with what decides whether it did; its lease row is locked. */
export interface LosingTask extends HeldTask {
  /** Its session renewed in time after all. */
  readonly alive: boolean;
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
}

const HELD = sql.raw(
  "l.task_id, l.run_id, l.token, l.session_id, l.worker, l.attempt, l.delivery, l.accepted, l.journal_length",
);

/** Queries of the task, ready and lease tables. */
export function taskQueries(db: Queryable) {
  return {
    insert: (rows: readonly NewTaskRow[]) => bulkInsert(db, "task", TASK_COLUMNS, rows),
    update: (rows: readonly TaskChange[]) => bulkUpdate(db, "task", ["id"], TASK_CHANGE, rows),
    enqueue: (rows: readonly ReadyRow[]) => bulkInsert(db, "ready", READY_COLUMNS, rows),
    insertLeases: (rows: readonly NewLease[]) => bulkInsert(db, "lease", LEASE_COLUMNS, rows),

    /**
     * Takes up to `limit` tasks of the routes from the queue, in claim order. Locks only ready rows (SKIP LOCKED), through
     * ready_route_idx; bound: limit rows a route. A plain read of the run: cancelling deletes ready rows after its own write.
     */
    async claim(routes: readonly string[], limit: number): Promise<ClaimedTask[]> {
      const result = await sql<ClaimedTask>`
        with picked as materialized (
          select r.task_id from unnest(${routes}::text[]) as x(route)
          cross join lateral (
            select task_id, claim_order from ready where route = x.route
            order by claim_order, task_id limit ${limit} for update skip locked) r
          order by r.claim_order, r.task_id limit ${limit}),
        gone as (delete from ready where task_id = any(array(select task_id from picked)) returning task_id, fresh)
        select t.id, t.run_id, t.namespace, t.node, t.iteration, t.item, t.agent, t.route, t.attempt, t.deliveries, t.input,
          g.fresh, r.workflow, r.bundle_digest, r.requester, r.tags, r.metadata
        from gone g join task t on t.id = g.task_id join run r on r.id = t.run_id
        order by t.claim_order, t.id`.execute(db);
      return result.rows;
    },

    /**
     * Locks the leases that the presented tokens hold. A token that expired and was not superseded (ready.last_token) becomes
     * the lease again (I4). Tokens that hold nothing are absent from the result.
     */
    async hold(tokens: readonly PresentedToken[]): Promise<HeldTask[]> {
      const held = await this.holdOnce(tokens);
      const missed = tokens.filter((token) => !held.some((lease) => lease.token === token.token));
      // A lease that was reaped while this statement waited for its row is late by now, which only a new snapshot shows.
      return missed.length === 0 ? held : [...held, ...(await this.holdOnce(missed))];
    },

    /** hold() as one statement sees it. */
    async holdOnce(tokens: readonly PresentedToken[]): Promise<HeldTask[]> {
      if (tokens.length === 0) return [];
      const result = await sql<HeldTask>`
        with x as materialized (
          select * from json_to_recordset(${recordSet(tokens)}::json) as x(task_id text, token text, session_id text)),
        late as (
          delete from ready r using x where r.task_id = x.task_id and r.last_token = x.token
          returning r.task_id, r.run_id, x.token, x.session_id),
        revived as (
          insert into lease (task_id, run_id, token, session_id, worker, attempt, delivery, accepted, journal_length)
          select late.task_id, late.run_id, late.token, late.session_id, coalesce(s.name, ''), t.attempt, t.deliveries, true,
            (select count(*) from journal j where j.task_id = late.task_id)
          from late join task t on t.id = late.task_id left join worker_session s on s.id = late.session_id
          returning *),
        held as materialized (
          select ${HELD} from lease l join x on l.task_id = x.task_id and l.token = x.token and l.session_id = x.session_id
          order by l.task_id for update of l)
        select * from held union all select ${HELD} from revived l`.execute(db);
      return result.rows;
    },

    /** Locks leases whatever their token: by task, by run. Ids ascending. */
    async lockLeases(taskIds: readonly string[], runIds: readonly string[]): Promise<HeldTask[]> {
      const result = await sql<HeldTask>`
        select ${HELD} from lease l
        where l.task_id = any(${taskIds}::text[]) or l.run_id = any(${runIds}::text[])
        order by l.task_id for update`.execute(db);
      return result.rows;
    },

    /** Locks leases that were found lost, and says what is true of them now. Ids ascending. */
    async lockLosing(taskIds: readonly string[]): Promise<LosingTask[]> {
      await this.lockLeases(taskIds, []);
      const result = await sql<LosingTask>`
        select ${HELD}, exists (select from worker_session s where s.id = l.session_id and s.state in ('active', 'draining')
            and s.expire_time >= clock_timestamp()) as alive
        from lease l where l.task_id = any(${taskIds}::text[])`.execute(db);
      return result.rows;
    },

    /** The live lease of a task, unlocked. */
    async leaseOf(taskId: string): Promise<{ token: string }[]> {
      return await db.selectFrom("lease").select("token").where("task_id", "=", taskId).execute();
    },

    async deleteLeases(taskIds: readonly string[]): Promise<void> {
      if (taskIds.length > 0)
        await db
          .deleteFrom("lease")
          .where("task_id", "in", [...taskIds])
          .execute();
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

    /** Tasks of runs that wait for a retry. */
    async waitingOf(runIds: readonly string[]): Promise<{ id: string; run_id: string }[]> {
      if (runIds.length === 0) return [];
      return await db
        .selectFrom("task")
        .select(["id", "run_id"])
        .where("run_id", "in", [...runIds])
        .where("due_time", "is not", null)
        .execute();
    },

    /** Tasks by id, for settling. */
    async byId(taskIds: readonly string[]): Promise<TaskRow[]> {
      if (taskIds.length === 0) return [];
      const result = await sql<TaskRow>`
        select id, run_id, namespace, node, iteration, item, agent, route, state, attempt, deliveries, claim_order,
          origin_task_id, worker, outcome_token, outcome_digest
        from task where id = any(${taskIds}::text[])`.execute(db);
      return result.rows;
    },

    /** Progress: losses before it count no more. */
    async forgetLosses(taskIds: readonly string[]): Promise<void> {
      if (taskIds.length === 0) return;
      await sql`update task set deliveries = 0 where id = any(${taskIds}::text[])`.execute(db);
    },

    /** Tasks with their runs as they are now; read after their leases are locked, so that no grant follows a cancel. */
    async calling(taskIds: readonly string[]): Promise<CallingTask[]> {
      if (taskIds.length === 0) return [];
      const result = await sql<CallingTask>`
        select t.id, t.run_id, t.namespace, t.agent, t.origin_task_id, r.state as run_state, r.bundle_digest, r.requester, r.tags,
          r.metadata
        from task t join run r on r.id = t.run_id where t.id = any(${taskIds}::text[])`.execute(db);
      return result.rows;
    },

    /** Marks leases accepted; those that are gone stay gone. */
    async accept(tokens: readonly { task_id: string; token: string }[]): Promise<void> {
      if (tokens.length === 0) return;
      await sql`update lease l set accepted = true
        from json_to_recordset(${recordSet(tokens)}::json) as x(task_id text, token text)
        where l.task_id = x.task_id and l.token = x.token`.execute(db);
    },

    /** Of the held tokens, those that still hold a lease or would hold it again; with the state of their run. */
    async stillHeld(tokens: readonly { task_id: string; token: string }[]) {
      if (tokens.length === 0) return [];
      const result = await sql<{
        task_id: string;
        token: string;
        run_state: string;
        cause: string | null;
        due_time: Date | null;
        now: Date;
      }>`
        select x.task_id, x.token, r.state as run_state, r.cause, r.due_time, clock_timestamp() as now
        from json_to_recordset(${recordSet(tokens)}::json) as x(task_id text, token text)
        join task t on t.id = x.task_id join run r on r.id = t.run_id
        where exists (select from lease l where l.task_id = x.task_id and l.token = x.token)
          or exists (select from ready q where q.task_id = x.task_id and q.last_token = x.token)`.execute(db);
      return result.rows;
    },
  };
}
