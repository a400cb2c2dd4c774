// 0002: dead letters with what a person decides about them, and what links a replay to what it replays.
// Lock impact: two nullable columns on task and one on run (no rewrite), a new table, filled from the tasks that are parked already.
// Called by migrate.ts under the advisory lock.

import { type Kysely, sql } from "kysely";

const STATEMENTS = [
  `alter table task add column replay_of text, add column bundle_digest text`,
  `create index task_bundle_idx on task (bundle_digest) where bundle_digest is not null`,
  `alter table run add column replay_of text`,
  `create table dead_letter (
    task_id text primary key references task on delete cascade, run_id text not null, namespace text not null,
    workflow text not null, node text not null, agent text not null,
    cause text not null check (cause in ('attempts', 'deliveries', 'unknown_outcome')),
    failure_class text not null, failure_message text not null, attempt integer not null, deliveries integer not null,
    state text not null default 'open' check (state in ('open', 'replayed', 'discarded')),
    park_time timestamptz not null default clock_timestamp(), resolve_time timestamptz, resolved_by text,
    request_digest text, replay_task_id text, replay_run_id text,
    check ((state = 'open') = (resolve_time is null)), check ((state = 'replayed') = (replay_task_id is not null)))`,
  `create index dead_letter_open_idx on dead_letter (namespace, task_id) where state = 'open'`,
  `create index dead_letter_run_idx on dead_letter (run_id)`,
  `insert into dead_letter (task_id, run_id, namespace, workflow, node, agent, cause, failure_class, failure_message,
      attempt, deliveries, park_time)
    select t.id, t.run_id, t.namespace, r.workflow, t.node, t.agent,
      case t.failure_class when 'PoisonTask' then 'deliveries' when 'UnknownOutcome' then 'unknown_outcome' else 'attempts' end,
      coalesce(t.failure_class, ''), coalesce(t.failure_message, ''), t.attempt, t.deliveries, t.end_time
    from task t join run r on r.id = t.run_id where t.state = 'DEAD_LETTERED'`,
];

/** Makes the table and the links. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of STATEMENTS) await sql.raw(statement).execute(db);
}
