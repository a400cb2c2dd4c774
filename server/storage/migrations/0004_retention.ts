// 0004: sealed audit segments, what retention removed of them, and the indexes by which retention finds its rows.
// Lock impact: builds an index on run and an empty one on task, each under a short lock of its table; the triggers of audit_event are replaced.
// Audit records may now be deleted, but only whole sealed segments that the same transaction marked as removed: the triggers see to it.

import { type Kysely, sql } from "kysely";

const refuse = (what: string) => `raise exception '${what}' using errcode = 'insufficient_privilege'`;

const STATEMENTS = [
  `alter table bundle add column run_retention_ms bigint, add column dead_letter_retention_ms bigint`,
  // Also what "no run uses this bundle" asks; end_time never changes again once it is set.
  `create index run_retention_idx on run (bundle_digest, end_time)`,
  // Replayed tasks only: nothing on the hot path enters it.
  `create index task_lineage_idx on task (origin_task_id) where origin_task_id <> id`,
  `alter table tool_call add column if not exists expire_time timestamptz`,
  `create index if not exists tool_call_expire_idx on tool_call (expire_time) where expire_time is not null`,

  `create table audit_segment (
    number bigint primary key check (number >= 1), last_id bigint not null,
    first_sequence bigint not null, last_sequence bigint not null check (last_sequence >= first_sequence),
    ids bigint[] not null, hashes bytea not null check (octet_length(hashes) = 32 * cardinality(ids)),
    previous_head text not null, head text not null, latest_time timestamptz not null,
    seal_time timestamptz not null default clock_timestamp())`,
  `create table audit_removal (
    only_row boolean primary key default true check (only_row),
    number bigint not null, last_id bigint not null, last_sequence bigint not null, head text not null,
    retention_ms bigint not null check (retention_ms >= 0), transaction_id xid8, remove_time timestamptz)`,
  `insert into audit_removal (number, last_id, last_sequence, head, retention_ms) values (0, 0, 0, repeat('0', 64), 0)`,

  `create function audit_removal_is_guarded() returns trigger language plpgsql as $$ begin
    if new.number <= old.number then ${refuse("audit_removal only moves forward")}; end if;
    select s.last_id, s.last_sequence, s.head into strict new.last_id, new.last_sequence, new.head
      from audit_segment s where s.number = new.number;
    if exists (select from audit_segment s where s.number <= new.number
        and s.latest_time >= clock_timestamp() - new.retention_ms * interval '1 ms') then
      ${refuse("a segment is younger than the audit retention")}; end if;
    new.transaction_id := pg_current_xact_id(); new.remove_time := clock_timestamp(); return new; end $$`,
  `create trigger audit_removal_guard before update on audit_removal
    for each row execute function audit_removal_is_guarded()`,
  `create function audit_is_append_only() returns trigger language plpgsql as
    $$ begin ${refuse("the audit tables are append-only")}; end $$`,
  `create trigger audit_removal_stays before delete or truncate on audit_removal
    for each statement execute function audit_is_append_only()`,
  `create trigger audit_segment_append_only before update or truncate on audit_segment
    for each statement execute function audit_is_append_only()`,

  `create function audit_segment_removal() returns trigger language plpgsql as $$ begin
    if exists (select from gone g where not exists (
        select from audit_removal r where g.number <= r.number and r.transaction_id = pg_current_xact_id_if_assigned())) then
      ${refuse("audit_segment is append-only until retention marks a segment as removed")}; end if;
    return null; end $$`,
  `create trigger audit_segment_removal after delete on audit_segment referencing old table as gone
    for each statement execute function audit_segment_removal()`,

  `drop trigger audit_event_append_only on audit_event`,
  `create trigger audit_event_append_only before update or truncate on audit_event
    for each statement execute function audit_event_is_append_only()`,
  `create function audit_event_removal() returns trigger language plpgsql as $$
    declare through bigint; begin
    if not exists (select from gone) then return null; end if;
    select last_id into through from audit_removal where transaction_id = pg_current_xact_id_if_assigned();
    if through is null or exists (select from gone where id > through) then
      ${refuse("audit_event is append-only until retention marks its segment as removed")}; end if;
    if exists (select from audit_event where id <= through) then
      ${refuse("audit records are removed by whole segments")}; end if;
    return null; end $$`,
  `create trigger audit_event_removal after delete on audit_event referencing old table as gone
    for each statement execute function audit_event_removal()`,
];

/** Makes the tables, indexes and triggers. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of STATEMENTS) await sql.raw(statement).execute(db);
}
