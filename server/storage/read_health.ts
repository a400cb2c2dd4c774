// Facts about the database and about work that does not get on, for `orloj doctor`. Never locks, never writes.
// Called by the looks of commands/diagnose…. Reads what is alive and the statistics of Postgres, never the history.

import { sql } from "kysely";
import type { Queryable } from "./bulk.ts";
import { comparedMigrations } from "./migrate.ts";
import type { RouteRequirements } from "./schema.ts";

/** The database as a whole. */
export interface DatabaseFacts {
  /** Such as 180004. */
  readonly versionNumber: number;
  readonly version: string;
  readonly connections: number;
  readonly connectionsMax: number;
  readonly bytes: number;
  /** Transactions until ids wrap around, as far as this database is concerned: Postgres stops writes before 0. */
  readonly transactionAge: number;
  readonly autovacuum: boolean;
}

/** A table with rows that nobody sees any more. */
export interface DeadRows {
  readonly table: string;
  readonly live: number;
  readonly dead: number;
  /** null: never, as far as the statistics go. */
  readonly vacuumTime: Date | null;
}

/** Queued tasks that no connected worker may take. */
export interface StrandedRoute {
  readonly requirements: RouteRequirements;
  readonly tasks: number;
  readonly oldestSeconds: number;
}

/** Runs that wait for their turn in a group. */
export interface WaitingGroup {
  readonly namespace: string;
  readonly workflow: string;
  readonly key: string;
  readonly running: number;
  readonly maxRunning: number | null;
  readonly waiting: number;
}

/** Queries of health. */
export function healthReads(db: Queryable) {
  return {
    /** One statement over catalogs and statistics. */
    async database(): Promise<DatabaseFacts> {
      const { rows } = await sql<DatabaseFacts>`
        select current_setting('server_version_num')::integer as "versionNumber", current_setting('server_version') as version,
          (select count(*)::integer from pg_stat_activity where datid is not null) as connections,
          current_setting('max_connections')::integer as "connectionsMax",
          pg_database_size(current_database())::double precision as bytes,
          (select age(datfrozenxid)::double precision from pg_database where datname = current_database()) as "transactionAge",
          current_setting('autovacuum') = 'on' as autovacuum`.execute(db);
      return rows[0] as DatabaseFacts;
    },

    /** Database time, for comparison with a clock. */
    async time(): Promise<Date> {
      const { rows } = await sql<{ time: Date }>`select clock_timestamp() as time`.execute(db);
      return (rows[0] as { time: Date }).time;
    },

    migrations: () => comparedMigrations(db),

    /** Tables with at least so many dead rows, and more of them than live ones. */
    async deadRows(least: number): Promise<DeadRows[]> {
      const { rows } = await sql<DeadRows>`
        select relname as table, n_live_tup::double precision as live, n_dead_tup::double precision as dead,
          greatest(last_vacuum, last_autovacuum) as "vacuumTime"
        from pg_stat_user_tables where n_dead_tup >= ${least} and n_dead_tup > n_live_tup order by n_dead_tup desc`.execute(
        db,
      );
      return rows;
    },

    /** Routes with ready tasks, the first in line older than a time, that no connected worker fits. The first of each by ready's order. */
    async stranded(afterMs: number, limit: number): Promise<StrandedRoute[]> {
      const { rows } = await sql<StrandedRoute>`
        select r.requirements, q.tasks::double precision as tasks,
          extract(epoch from clock_timestamp() - first.create_time)::double precision as "oldestSeconds"
        from (select route, count(*) as tasks from ready group by route) q join route r on r.route = q.route
          cross join lateral (
            select t.create_time from ready join task t on t.id = ready.task_id where ready.route = q.route
            order by ready.claim_order, ready.task_id limit 1) first
        where first.create_time < clock_timestamp() - ${afterMs} * interval '1 ms'
          and not exists (select from worker_session s
            where s.state = 'active' and s.expire_time >= clock_timestamp()
              and r.requirements ->> 'runtime' = any(s.runtimes)
              and (r.requirements ->> 'handler' is null or r.requirements ->> 'handler' = any(s.handlers))
              and s.labels @> (r.requirements -> 'labels'))
        order by q.tasks desc limit ${limit}`.execute(db);
      return rows;
    },

    /** Groups in which most runs wait; by concurrency_group_waiting_idx. */
    async waitingGroups(limit: number): Promise<WaitingGroup[]> {
      const { rows } = await sql<WaitingGroup>`
        select namespace, workflow, key, running, max_running as "maxRunning", waiting from concurrency_group
        where waiting > 0 order by waiting desc, id limit ${limit}`.execute(db);
      return rows;
    },

    /** How long the first run has been waiting for its turn, in seconds; 0 if none does. By run_queue_idx. */
    async longestWaitSeconds(): Promise<number> {
      const { rows } = await sql<{ seconds: number }>`
        select coalesce(max(extract(epoch from clock_timestamp() - create_time)), 0)::double precision as seconds
        from run where slot = 'waiting'`.execute(db);
      return (rows[0] as { seconds: number }).seconds;
    },

    /** Open dead letters of each namespace, and the age of its oldest one; by dead_letter_open_idx. */
    async openDeadLetters(): Promise<{ namespace: string; count: number; oldestSeconds: number }[]> {
      const { rows } = await sql<{ namespace: string; count: number; oldestSeconds: number }>`
        select namespace, count(*)::integer as count,
          extract(epoch from clock_timestamp() - min(park_time))::double precision as "oldestSeconds"
        from dead_letter where state = 'open' group by namespace order by namespace`.execute(db);
      return rows;
    },

    /** Sessions of workers that are live, or that were lost within a time. */
    async sessions(lostWithinMs: number): Promise<{ name: string; state: string; version: string }[]> {
      const { rows } = await sql<{ name: string; state: string; version: string }>`
        select name, state, version from worker_session
        where state in ('active', 'draining')
          or state = 'lost' and last_seen_time > clock_timestamp() - ${lostWithinMs} * interval '1 ms' order by name`.execute(
        db,
      );
      return rows;
    },

    /** Age of the oldest record that no segment seals, in seconds; 0: all are sealed. By the primary key of audit_event. */
    async unsealedSeconds(lastSealedId: string): Promise<number> {
      const { rows } = await sql<{ seconds: number }>`
        select coalesce((select greatest(0, extract(epoch from clock_timestamp() - time)) from audit_event
          where id > ${lastSealedId}::bigint order by id limit 1), 0)::double precision as seconds`.execute(db);
      return (rows[0] as { seconds: number }).seconds;
    },

    /** Time since the first segment after this one was sealed, in seconds; 0 if there is none. By the primary key of audit_segment. */
    async sealedSince(segment: number): Promise<number> {
      const { rows } = await sql<{ seconds: number }>`
        select coalesce((select greatest(0, extract(epoch from clock_timestamp() - seal_time)) from audit_segment
          where number > ${segment} order by number limit 1), 0)::double precision as seconds`.execute(db);
      return (rows[0] as { seconds: number }).seconds;
    },

    /** How long it took to say nothing, in ms, by the clock of the caller. */
    async roundTripMs(now: () => number): Promise<number> {
      const beganMs = now();
      await sql`select 1`.execute(db);
      return now() - beganMs;
    },
  };
}
