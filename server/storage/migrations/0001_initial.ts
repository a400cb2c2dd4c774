// 0001: every table of the first version. Lock impact: none, nothing exists before it.
// Called by migrate.ts under the advisory lock. Forward only; CHECK constraints repeat the state unions of queue/states.ts.

import { type Kysely, sql } from "kysely";

const STATEMENTS = [
  `create table revision (name text primary key check (name in ('catalog', 'policy')), value bigint not null)`,
  `insert into revision (name, value) values ('catalog', 0), ('policy', 0)`,

  `create table resource (
    kind text not null, namespace text not null, name text not null,
    generation integer not null check (generation >= 1), digest text not null,
    labels jsonb not null, document text not null,
    create_time timestamptz not null default clock_timestamp(), update_time timestamptz not null default clock_timestamp(),
    primary key (kind, namespace, name))`,
  `create table resource_revision (
    kind text not null, namespace text not null, name text not null, generation integer not null,
    digest text not null, document text not null, applied_by text not null,
    create_time timestamptz not null default clock_timestamp(),
    primary key (kind, namespace, name, generation))`,
  `create table bundle (
    digest text primary key, document text not null, view_digest text not null, view_document text not null,
    create_time timestamptz not null default clock_timestamp())`,
  `create index bundle_view_idx on bundle (view_digest)`,
  `create table route (route text primary key, requirements jsonb not null)`,

  `create table run (
    id text primary key, namespace text not null, workflow text not null, bundle_digest text not null references bundle,
    state text not null check (state in
      ('PENDING', 'RUNNING', 'CANCELLING', 'SUCCEEDED', 'FAILED', 'CANCELLED', 'TIMED_OUT', 'POLICY_DENIED')),
    cause text check (cause in ('failed', 'cancelled', 'timed_out', 'policy_denied')),
    conditions text[] not null default '{}',
    requester_id text not null, requester text not null, tags jsonb not null, metadata jsonb not null,
    parameters text not null, input text not null, output text,
    failure_class text, failure_message text, stop_reason text,
    idempotency_key text, request_digest text,
    priority smallint not null, timeout_ms bigint not null, grace_ms bigint not null,
    create_time timestamptz not null default clock_timestamp(), start_time timestamptz, end_time timestamptz,
    due_time timestamptz, remaining_ms bigint,
    check ((state in ('SUCCEEDED', 'FAILED', 'CANCELLED', 'TIMED_OUT', 'POLICY_DENIED')) = (end_time is not null)),
    check (state <> 'CANCELLING' or cause is not null)
  ) with (fillfactor = 85)`,
  `create unique index run_idempotency_idx on run (namespace, requester_id, idempotency_key) where idempotency_key is not null`,
  `create index run_due_idx on run (due_time) where due_time is not null`,
  `create index run_namespace_idx on run (namespace, id)`,
  `create index run_cancelling_idx on run (id) where state = 'CANCELLING'`,

  `create table node_state (
    run_id text not null references run on delete cascade, node text not null, iteration integer not null,
    state text not null check (state in
      ('PENDING', 'ACTIVE', 'PARKED', 'SUCCEEDED', 'FAILED', 'SKIPPED', 'DENIED', 'CANCELLED')),
    unresolved integer not null check (unresolved >= 0), taken integer not null check (taken >= 0),
    open_tasks integer not null check (open_tasks >= 0), output text, failure_class text, failure_message text,
    primary key (run_id, node, iteration)) with (fillfactor = 85)`,

  `create table task (
    id text primary key, run_id text not null references run on delete cascade, namespace text not null,
    node text not null, iteration integer not null, item integer not null, agent text not null, route text not null,
    state text not null check (state in
      ('WAITING', 'READY', 'SUCCEEDED', 'FAILED', 'CANCELLED', 'TIMED_OUT', 'POLICY_DENIED', 'DEAD_LETTERED')),
    attempt integer not null check (attempt >= 1), deliveries integer not null check (deliveries >= 0),
    claim_order bigint not null, origin_task_id text not null,
    input text not null, output text, failure_class text, failure_message text, worker text,
    outcome_token text, outcome_digest text,
    create_time timestamptz not null default clock_timestamp(), end_time timestamptz, due_time timestamptz,
    check ((state in ('WAITING', 'READY')) = (end_time is null)),
    check ((state = 'WAITING') = (due_time is not null))
  ) with (fillfactor = 85)`,
  `create index task_run_idx on task (run_id, id)`,
  `create index task_due_idx on task (due_time) where due_time is not null`,

  `create table ready (
    task_id text primary key, run_id text not null, route text not null, claim_order bigint not null, last_token text,
    last_session_id text, check ((last_token is null) = (last_session_id is null)),
    fresh boolean not null)`,
  `create index ready_route_idx on ready (route, claim_order, task_id)`,
  `create index ready_run_idx on ready (run_id)`,

  `create table lease (
    task_id text primary key, run_id text not null, token text not null, session_id text not null, worker text not null,
    attempt integer not null, delivery integer not null, accepted boolean not null default false,
    journal_length integer not null, claim_time timestamptz not null default clock_timestamp())`,
  `create index lease_session_idx on lease (session_id)`,
  `create index lease_run_idx on lease (run_id)`,

  `create table worker_session (
    id text primary key, epoch bigint not null, instance_id text not null, name text not null, identity text not null,
    labels jsonb not null, slots integer not null check (slots between 1 and 1000), runtimes text[] not null,
    version text not null, replica_id text not null,
    state text not null check (state in ('active', 'draining', 'lost', 'closed')),
    connect_time timestamptz not null default clock_timestamp(),
    last_seen_time timestamptz not null default clock_timestamp(), expire_time timestamptz not null
  ) with (fillfactor = 50)`,

  `create table journal (
    task_id text not null references task on delete cascade, sequence integer not null check (sequence >= 1),
    kind text not null check (kind in ('turn', 'result', 'failure')),
    payload text, turn_sequence integer, call_index integer, tool text, failure_class text, failure_message text,
    create_time timestamptz not null default clock_timestamp(),
    primary key (task_id, sequence))`,

  `create table tool_call (
    request_id text primary key, namespace text not null, run_id text not null, task_id text not null,
    tool text not null, tool_generation integer not null, effect text not null, arguments_digest text not null,
    state text not null check (state in ('granted', 'done', 'failed', 'denied', 'unknown')),
    attempt integer not null check (attempt >= 0), grant_id text not null, grant_token text not null,
    grant_expire_time timestamptz not null, result text, failure_class text, failure_message text,
    create_time timestamptz not null default clock_timestamp(), end_time timestamptz)`,
  `create index tool_call_task_idx on tool_call (task_id)`,
  `create index tool_call_grant_idx on tool_call (grant_id)`,

  `create table audit_event (
    id bigint generated always as identity primary key, transaction_id xid8 not null default pg_current_xact_id(),
    time timestamptz not null default clock_timestamp(), kind text not null, namespace text not null,
    run_id text not null, task_id text not null, actor text not null, record text not null)`,
  `create index audit_event_run_idx on audit_event (run_id, id) where run_id <> ''`,
  `create index audit_event_time_idx on audit_event using brin (time)`,
  `create function audit_event_is_append_only() returns trigger language plpgsql as
    $$ begin raise exception 'audit_event is append-only' using errcode = 'insufficient_privilege'; end $$`,
  `create trigger audit_event_append_only before update or delete or truncate on audit_event
    for each statement execute function audit_event_is_append_only()`,

  `create table access_token (
    hash text primary key, principal_id text not null, kind text not null check (kind in ('user', 'service', 'worker')),
    groups text[] not null, claims jsonb not null, roles text[] not null, method text not null,
    create_time timestamptz not null default clock_timestamp(), revoke_time timestamptz)`,
];

/** Makes the tables. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of STATEMENTS) await sql.raw(statement).execute(db);
}
