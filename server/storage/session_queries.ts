// The worker_session and sweep tables and the tick: what one replica asks of the database every second.
// Called by dispatch and commands through the store. Expiry is database time, and one HOT update a worker.

import { sql } from "kysely";
import { type Queryable, recordSet } from "./bulk.ts";
import { UNSEALED } from "./segment_queries.ts";

/** A session to open. */
export interface NewSession {
  readonly id: string;
  readonly instance_id: string;
  readonly name: string;
  readonly identity: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly slots: number;
  readonly runtimes: readonly string[];
  readonly handlers: readonly string[];
  readonly version: string;
  readonly replica_id: string;
}

/** What one tick found; lists are bounded by its limit. */
export interface TickFindings {
  /** Routes with ready tasks. */
  readonly ready_routes: string[];
  /** Tasks whose retry is due. */
  readonly due_tasks: string[];
  /** Runs whose deadline or grace is over. */
  readonly due_runs: { id: string; state: string }[];
  /** Groups of runs in which one waits although a slot is free. */
  readonly open_groups: string[];
  /** Leases of sessions that expired, or that were not accepted in time. */
  readonly lost_leases: { task_id: string; token: string; session_id: string; reason: "expired" | "unaccepted" }[];
  /** Leases of this replica's sessions whose run is being cancelled. */
  readonly cancelling: { task_id: string; token: string; session_id: string; cause: string; grace_ms: number }[];
  /** Sessions of this replica that are to drain. */
  readonly draining: string[];
  /** Sessions that expired and are not marked lost yet. */
  readonly expired_sessions: string[];
  /** Audit records are not sealed yet. */
  readonly unsealed: boolean;
  /** Time until the next retry, deadline, end of a grace, or expiry of a session, in ms; null if nothing waits. */
  readonly next_due_ms: number | null;
}

/** How a tick looks; times in ms. */
export interface TickOptions {
  /** Findings of a kind at most. */
  readonly limit: number;
  /** How long an Accept may take to reach the store. */
  readonly acceptMs: number;
  /** Lease length. */
  readonly ttlMs: number;
  /** Longest time between two ticks of any replicas after which the sweep still goes on. */
  readonly gapMs: number;
}

const markWatch = (ttlMs: number, gapMs: number) => sql`
  update sweep set seen_time = clock_timestamp(), sweep_from = case
    when seen_time < clock_timestamp() - ${gapMs} * interval '1 ms' then clock_timestamp() + ${ttlMs} * interval '1 ms'
    else sweep_from end
  where seen_time < clock_timestamp() - ${ttlMs} * interval '0.1 ms' returning sweep_from`;

/** Queries of the worker_session table. */
export function sessionQueries(db: Queryable) {
  return {
    /**
     * Opens a session, or takes it over with the next epoch when the same instance resumes it. One that was marked lost
     * comes back to life: its tokens that nobody superseded count again (I4). One that drains goes on draining.
     */
    async open(
      session: NewSession,
      resumeId: string,
      ttlMs: number,
    ): Promise<{ id: string; epoch: bigint; state: string; resumed: boolean }> {
      const resumed = await sql<{ id: string; epoch: bigint; state: string }>`
        update worker_session set epoch = epoch + 1, replica_id = ${session.replica_id},
          state = case state when 'draining' then state else 'active' end, slots = ${session.slots},
          last_seen_time = clock_timestamp(), expire_time = clock_timestamp() + ${ttlMs} * interval '1 ms'
        where id = ${resumeId} and instance_id = ${session.instance_id} and identity = ${session.identity}
          and state <> 'closed'
        returning id, epoch, state`.execute(db);
      const row = resumed.rows[0];
      if (row !== undefined) return { ...row, resumed: true };
      await sql`insert into worker_session
          (id, epoch, instance_id, name, identity, labels, slots, runtimes, handlers, version, replica_id, state, expire_time)
        values (${session.id}, 1, ${session.instance_id}, ${session.name}, ${session.identity}, ${JSON.stringify(session.labels)}::jsonb,
          ${session.slots}, ${session.runtimes}::text[], ${session.handlers}::text[], ${session.version}, ${session.replica_id}, 'active',
          clock_timestamp() + ${ttlMs} * interval '1 ms')`.execute(db);
      return { id: session.id, epoch: 1n, state: "active", resumed: false };
    },

    /** Renews sessions seen since the last tick; one row a worker. A lost or newer session is left alone. */
    async renew(sessions: readonly { id: string; epoch: string }[], ttlMs: number): Promise<string[]> {
      if (sessions.length === 0) return [];
      const result = await sql<{ id: string }>`
        update worker_session s set last_seen_time = clock_timestamp(), expire_time = clock_timestamp() + ${ttlMs} * interval '1 ms'
        from json_to_recordset(${recordSet(sessions)}::json) as x(id text, epoch bigint)
        where s.id = x.id and s.epoch = x.epoch and s.state in ('active', 'draining') returning s.id`.execute(db);
      return result.rows.map((row) => row.id);
    },

    /** Marks an active session draining; false if it drains already, or is over. */
    async startDraining(sessionId: string): Promise<boolean> {
      const result = await db
        .updateTable("worker_session")
        .set({ state: "draining" })
        .where("id", "=", sessionId)
        .where("state", "=", "active")
        .executeTakeFirst();
      return result.numUpdatedRows > 0n;
    },

    /** Marks a session draining or closed. */
    async setState(sessionId: string, state: "draining" | "closed"): Promise<boolean> {
      const result = await db
        .updateTable("worker_session")
        .set({ state })
        .where("id", "=", sessionId)
        .where("state", "in", ["active", "draining"])
        .executeTakeFirst();
      return result.numUpdatedRows > 0n;
    },

    /** Marks sessions lost that are still expired; returns those it marked, with the leases that they leave. */
    async markLost(sessionIds: readonly string[]): Promise<{ id: string; name: string; leases: number }[]> {
      const result = await sql<{ id: string; name: string; leases: number }>`
        update worker_session s set state = 'lost'
        where s.id = any(${sessionIds}::text[]) and s.state in ('active', 'draining') and s.expire_time < clock_timestamp()
        returning s.id, s.name, (select count(*) from lease l where l.session_id = s.id)::integer as leases`.execute(
        db,
      );
      return result.rows;
    },

    /** Deletes sessions that ended more than a day ago; bound: 1,000. */
    async forgetEnded(): Promise<void> {
      await sql`delete from worker_session where id = any(array(
        select id from worker_session where state in ('lost', 'closed') and last_seen_time < clock_timestamp() - interval '1 day'
        limit 1000))`.execute(db);
    },

    /** Marks the sweep's watch between two ticks, as a tick does. */
    async keepWatch(ttlMs: number, gapMs: number): Promise<void> {
      await markWatch(ttlMs, gapMs).execute(db);
    },

    /**
     * The tick: ready work, due timers, lost sessions and leases, runs being cancelled, records to seal. One statement a second and replica.
     * Indexes: ready_route_idx (skip scan by route), task_due_idx, run_due_idx, concurrency_group_waiting_idx, lease_session_idx, run_cancelling_idx.
     *
     * It also keeps the sweep's watch, a row that all replicas share: one that finds that nobody looked for longer than
     * `gapMs` (every replica was away, or the database was) puts the sweep off by a ttl, so that workers can renew first. Written
     * every tenth of a ttl at most; its lock lasts for this statement.
     */
    async tick(replicaId: string, options: TickOptions): Promise<TickFindings> {
      const { limit, acceptMs, ttlMs, gapMs } = options;
      const result = await sql<TickFindings>`
        with watch as (${markWatch(ttlMs, gapMs)}),
        allowed as materialized (
          select coalesce((select sweep_from from watch), (select sweep_from from sweep)) <= clock_timestamp() as sweep),
        lost as (
          select l.task_id, l.token, l.session_id, 'expired' as reason from lease l
          left join worker_session s on s.id = l.session_id and s.state in ('active', 'draining') and s.expire_time >= clock_timestamp()
          where (select sweep from allowed) and s.id is null and l.claim_time < clock_timestamp() - ${acceptMs} * interval '1 ms'
          union all
          select l.task_id, l.token, l.session_id, 'unaccepted' from lease l
          where (select sweep from allowed) and not l.accepted and l.claim_time < clock_timestamp() - ${acceptMs} * interval '1 ms'
          limit ${limit}),
        route_walk as (
          select coalesce(json_agg(route), '[]') as routes from (
            select r.route from route r where exists (select from ready q where q.route = r.route limit 1)) w)
        select (select routes from route_walk) as ready_routes,
          (select coalesce(json_agg(id), '[]') from (
            select id from task where due_time <= clock_timestamp() order by due_time limit ${limit}) d) as due_tasks,
          (select coalesce(json_agg(json_build_object('id', id, 'state', state)), '[]') from (
            select id, state from run where due_time <= clock_timestamp() order by due_time limit ${limit}) d) as due_runs,
          (select coalesce(json_agg(id), '[]') from (
            select id from concurrency_group where waiting > 0 and (max_running is null or running < max_running)
            limit ${limit}) g) as open_groups,
          (select coalesce(json_agg(lost), '[]') from lost) as lost_leases,
          (select coalesce(json_agg(c), '[]') from (
            select l.task_id, l.token, l.session_id, r.cause,
              greatest(0, extract(epoch from r.due_time - clock_timestamp()) * 1000)::bigint as grace_ms
            from run r join lease l on l.run_id = r.id join worker_session s on s.id = l.session_id
            where r.state = 'CANCELLING' and s.replica_id = ${replicaId} limit ${limit}) c) as cancelling,
          (select coalesce(json_agg(id), '[]')
            from worker_session where replica_id = ${replicaId} and state = 'draining') as draining,
          (select coalesce(json_agg(id), '[]') from (
            select id from worker_session
            where (select sweep from allowed) and state in ('active', 'draining') and expire_time < clock_timestamp()
            limit ${limit}) e) as expired_sessions,
          coalesce(${UNSEALED}, false) as unsealed,
          (select extract(epoch from min(due_time) - clock_timestamp()) * 1000 from (
            (select due_time from task where due_time > clock_timestamp() order by due_time limit 1)
            union all
            (select due_time from run where due_time > clock_timestamp() order by due_time limit 1)
            union all
            (select min(expire_time) from worker_session
              where state in ('active', 'draining') and expire_time > clock_timestamp())) n)::float8 as next_due_ms`.execute(
        db,
      );
      return result.rows[0] as TickFindings;
    },
  };
}
