// What the database holds now, as numbers for monitoring: one statement, so one snapshot. Never locks, never writes.
// Called by commands/read_gauges.ts, which asks at most every few seconds, and only while somebody scrapes.
// Reads what is alive, never what is finished: runs by run_due_idx, run_queue_idx and dead_letter_open_idx, tasks by task_due_idx,
// task_held_idx, ready and lease. So its cost follows the work under way, not the history.

import { sql } from "kysely";
import { SECOND } from "../../kit/units.ts";
import { CLASS_HEAD_START_MS } from "../queue/claim_order.ts";
import type { Queryable } from "./bulk.ts";

/** Routes that are told apart; the others are one. */
export const ROUTES_MAX = 50;

/** One number. */
export interface GaugeRow {
  readonly gauge: GaugeName;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** What is read. */
export type GaugeName =
  | "runs"
  | "runs_waiting_for_slot"
  | "tasks"
  | "queue_tasks"
  | "queue_first_age_seconds"
  | "dead_letters"
  | "sessions"
  | "slots"
  | "audit_unsealed_age_seconds";

// A run that goes on has a deadline, waits for a slot, or is parked: each is found by its own partial index.
const LIVE_RUNS = sql`
  select state from run where due_time is not null
  union all select state from run where slot = 'waiting' and due_time is null
  union all select r.state from (select distinct run_id from dead_letter where state = 'open') d join run r on r.id = d.run_id
    where r.due_time is null and r.end_time is null and r.slot is distinct from 'waiting'`;

// The first in line of each route; what its priority gave it as a head start (0, 1, 2: low, normal, high) is no waiting time.
const QUEUE = sql`
  select q.route, q.tasks, first.enqueued_ms, row_number() over (order by q.tasks desc, q.route) as place
  from (select route, count(*) as tasks from ready group by route) q
    cross join lateral (
      select claim_order + (run.priority - 1) * ${sql.lit(CLASS_HEAD_START_MS)} as enqueued_ms
      from ready join run on run.id = ready.run_id where ready.route = q.route
      order by claim_order, task_id limit 1) first`;

const ROUTE_LABELS = sql`
  jsonb_build_object('route', q.route, 'runtime', coalesce(r.requirements->>'runtime', ''),
    'handler', coalesce(r.requirements->>'handler', ''), 'labels', coalesce((
      select string_agg(key || '=' || value, ',' order by key) from jsonb_each_text(r.requirements->'labels')), ''))`;

const SEALED_TO = sql`
  select coalesce(greatest(
    (select last_id from audit_segment order by number desc limit 1),
    (select last_id from audit_removal order by number desc limit 1)), 0)`;

/** The statement. @throws what Postgres says */
export async function readGauges(db: Queryable): Promise<GaugeRow[]> {
  const { rows } = await sql<GaugeRow>`
    with now as materialized (select extract(epoch from clock_timestamp()) * ${SECOND} as ms),
    queue as materialized (${QUEUE}),
    shown as (
      select ${ROUTE_LABELS} as labels, q.tasks, q.enqueued_ms
      from queue q left join route r on r.route = q.route where q.place <= ${ROUTES_MAX}
      union all select jsonb_build_object('route', '_other', 'runtime', '', 'handler', '', 'labels', ''), sum(tasks), min(enqueued_ms)
      from queue where place > ${ROUTES_MAX} having count(*) > 0)
    select gauge, labels, value::double precision as value from (
      select 'runs' as gauge, jsonb_build_object('state', state) as labels, count(*) as value from (${LIVE_RUNS}) live group by state
      union all select 'runs_waiting_for_slot', '{}', coalesce(sum(waiting), 0) from concurrency_group where waiting > 0
      union all select 'tasks', '{"state":"WAITING"}', (select count(*) from task where due_time is not null)
        + (select count(*) from task where state = 'WAITING' and due_time is null)
      union all select 'tasks', '{"state":"READY"}', coalesce(sum(tasks), 0) from queue
      union all select 'tasks', '{"state":"LEASED"}', count(*) from lease
      union all select 'queue_tasks', labels, tasks from shown
      union all select 'queue_first_age_seconds', labels, greatest(0, now.ms - enqueued_ms) / ${SECOND} from shown, now
      union all select 'dead_letters', jsonb_build_object('cause', cause), count(*) from dead_letter where state = 'open' group by cause
      union all select 'sessions', jsonb_build_object('state', state), count(*) from worker_session
        where state in ('active', 'draining') group by state
      union all select 'slots', '{}', coalesce(sum(slots), 0) from worker_session where state = 'active'
      union all select 'audit_unsealed_age_seconds', '{}', coalesce((
        select greatest(0, now.ms / ${SECOND} - extract(epoch from time)) from audit_event, now
        where id > (${SEALED_TO}) order by id limit 1), 0)
    ) gauges`.execute(db);
  return rows;
}
