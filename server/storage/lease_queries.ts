// The lease table: who holds which task, locked by token, by task or by run.
// Called by commands and dispatch through the store. Every write of a worker goes through hold() first: the token fences it.
// Lock order: ready before lease, ids ascending.

import { sql } from "kysely";
import { bulkInsert, type Columns, type Queryable, recordSet } from "./bulk.ts";
import { DECIDING, NOT_DECIDING } from "./policy_gate.ts";

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
  /** Tools that its agent declares and may not call: denied whatever the arguments are. */
  readonly withheld: readonly string[];
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
  withheld: "text[]",
};

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
  /** As of the assignment; none once the lease was lost and came back: policies decide its calls like any other. */
  readonly withheld: readonly string[];
}

/** A leased task that may have lost its worker, with what decides whether it did; its lease row is locked. */
export interface LosingTask extends HeldTask {
  /** Its session renewed in time after all. */
  readonly alive: boolean;
}

const HELD = sql.raw(
  "l.task_id, l.run_id, l.token, l.session_id, l.worker, l.attempt, l.delivery, l.accepted, l.journal_length, l.withheld",
);

/** Queries of the lease table. */
export function leaseQueries(db: Queryable) {
  return {
    insert: (rows: readonly NewLease[]) => bulkInsert(db, "lease", LEASE_COLUMNS, rows),

    /**
     * Locks the leases that the presented tokens hold. A token that expired and was not superseded (ready.last_token) becomes
     * the lease again (I4). Tokens that hold nothing are absent from the result. A transaction that decides by policies says so: it
     * shares the gate of policy_gate.ts from here on.
     */
    async hold(tokens: readonly PresentedToken[], deciding = false): Promise<HeldTask[]> {
      const held = await this.holdOnce(tokens, deciding);
      const missed = tokens.filter((token) => !held.some((lease) => lease.token === token.token));
      // A lease that was reaped while this statement waited for its row is late by now, which only a new snapshot shows.
      return missed.length === 0 ? held : [...held, ...(await this.holdOnce(missed, deciding))];
    },

    /** hold() as one statement sees it. */
    async holdOnce(tokens: readonly PresentedToken[], deciding = false): Promise<HeldTask[]> {
      if (tokens.length === 0) return [];
      const result = await sql<HeldTask>`
        with ${deciding ? DECIDING : NOT_DECIDING}, x as materialized (
          select * from json_to_recordset((select ${recordSet(tokens)}::json from gate)) as x(task_id text, token text, session_id text)),
        late as (
          delete from ready r using x where r.task_id = x.task_id and r.last_token = x.token
            and r.last_session_id = x.session_id
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
    async lock(taskIds: readonly string[], runIds: readonly string[]): Promise<HeldTask[]> {
      const result = await sql<HeldTask>`
        select ${HELD} from lease l
        where l.task_id = any(${taskIds}::text[]) or l.run_id = any(${runIds}::text[])
        order by l.task_id for update`.execute(db);
      return result.rows;
    },

    /** Locks leases that were found lost, and says what is true of them now. Ids ascending. */
    async lockLosing(taskIds: readonly string[]): Promise<LosingTask[]> {
      await this.lock(taskIds, []);
      const result = await sql<LosingTask>`
        select ${HELD}, exists (select from worker_session s where s.id = l.session_id and s.state in ('active', 'draining')
            and s.expire_time >= clock_timestamp()) as alive
        from lease l where l.task_id = any(${taskIds}::text[])`.execute(db);
      return result.rows;
    },

    /** The live lease of a task, unlocked. */
    async ofTask(taskId: string): Promise<{ token: string }[]> {
      return await db.selectFrom("lease").select("token").where("task_id", "=", taskId).execute();
    },

    async delete(taskIds: readonly string[]): Promise<void> {
      if (taskIds.length > 0) await sql`delete from lease where task_id = any(${taskIds}::text[])`.execute(db);
    },

    /** Marks leases accepted; those that are gone stay gone. */
    async accept(tokens: readonly { task_id: string; token: string }[]): Promise<void> {
      if (tokens.length === 0) return;
      await sql`update lease l set accepted = true
        from json_to_recordset(${recordSet(tokens)}::json) as x(task_id text, token text)
        where l.task_id = x.task_id and l.token = x.token`.execute(db);
    },

    /** Accepted leases of sessions that are not among the tokens. */
    async acceptedBeside(sessionIds: readonly string[], tokens: readonly string[]) {
      if (sessionIds.length === 0) return [];
      const result = await sql<{ task_id: string; token: string; session_id: string }>`
        select task_id, token, session_id from lease
        where session_id = any(${sessionIds}::text[]) and accepted and token <> all(${tokens}::text[])`.execute(db);
      return result.rows;
    },

    /** Of the tokens that a session presents, those that still hold a lease of it or would hold it again; with the state of their run. */
    async stillHeld(tokens: readonly PresentedToken[]) {
      if (tokens.length === 0) return [];
      const result = await sql<{
        task_id: string;
        token: string;
        session_id: string;
        run_state: string;
        cause: string | null;
        due_time: Date | null;
        now: Date;
      }>`
        select x.task_id, x.token, x.session_id, r.state as run_state, r.cause, r.due_time, clock_timestamp() as now
        from json_to_recordset(${recordSet(tokens)}::json) as x(task_id text, token text, session_id text)
        join task t on t.id = x.task_id join run r on r.id = t.run_id
        where exists (select from lease l where l.task_id = x.task_id and l.token = x.token and l.session_id = x.session_id)
          or exists (select from ready q where q.task_id = x.task_id and q.last_token = x.token
            and q.last_session_id = x.session_id)`.execute(db);
      return result.rows;
    },
  };
}
