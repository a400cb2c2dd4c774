// What the gauges of monitoring leave out and people want to see: replicas with what they hold, and how much happens. Never locks, never writes.
// Called by commands/read_status.ts, at most once a second and replica.
// A replica is known by the connection on which it listens for hints (listen.ts), or by the sessions that it holds.

import { sql } from "kysely";
import { SECOND } from "../../kit/units.ts";
import type { Queryable } from "./bulk.ts";
import { LISTENER_NAME } from "./listen.ts";

/** Time over which rates are counted, in ms. */
export const RATE_WINDOW_MS = 10 * SECOND;

/** One number; the name is that of the status, see docs/observability.md. */
export interface StatusRow {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Replicas, and events a second of the last ten by kind; the trail is read by audit_event_time_idx. @throws what Postgres says */
export async function readStatus(db: Queryable): Promise<{ readonly time: Date; readonly rows: StatusRow[] }> {
  const { rows } = await sql<StatusRow>`
    with held as (
      select replica_id, count(*) as sessions, coalesce(sum(slots) filter (where state = 'active'), 0) as slots,
        coalesce(sum((select count(*) from lease l where l.session_id = s.id)), 0) as leases
      from worker_session s where state in ('active', 'draining') group by replica_id),
    listening as (
      select distinct substr(application_name, ${LISTENER_NAME.length + 2}) as replica_id from pg_stat_activity
      where datname = current_database() and application_name like ${`${LISTENER_NAME} %`}),
    replica as (
      select replica_id, coalesce(sessions, 0) as sessions, coalesce(slots, 0) as slots, coalesce(leases, 0) as leases
      from listening full join held using (replica_id))
    select name, labels, value::double precision as value from (
      select 'replica_sessions' as name, jsonb_build_object('replica', replica_id) as labels, sessions as value from replica
      union all select 'replica_slots', jsonb_build_object('replica', replica_id), slots from replica
      union all select 'replica_leases', jsonb_build_object('replica', replica_id), leases from replica
      union all select 'events_per_second', jsonb_build_object('kind', kind), count(*) / ${RATE_WINDOW_MS / SECOND}::numeric
        from audit_event where time > clock_timestamp() - ${RATE_WINDOW_MS} * interval '1 ms' group by kind
    ) numbers order by name, labels::text`.execute(db);
  const clock = await sql<{ time: Date }>`select clock_timestamp() as time`.execute(db);
  return { time: (clock.rows[0] as { time: Date }).time, rows };
}
