// 0020: signed heads of the audit trail; and for whom, and in which trace, each record was made.
// Lock impact: three columns with a constant default (no rewrite) under a short lock of run and audit_event; a new table.
// Called by migrate.ts under the advisory lock.

import { type Kysely, sql } from "kysely";

const STATEMENTS = [
  `alter table run add column trace_id text not null default ''`,
  `alter table audit_event add column on_behalf_of text not null default '', add column trace_id text not null default ''`,
  `create table audit_checkpoint (
    number bigint primary key check (number >= 1), segment bigint not null, last_id bigint not null,
    last_sequence bigint not null, head text not null, previous text not null, time text not null,
    key text not null, signature text not null)`,
  `create trigger audit_checkpoint_append_only before update or truncate on audit_checkpoint
    for each statement execute function audit_is_append_only()`,
  // Heads go with the segments that they signed; the newest one stays.
  `create function audit_checkpoint_removal() returns trigger language plpgsql as $$ begin
    if exists (select from gone g where not exists (
        select from audit_removal r where g.segment <= r.number and r.transaction_id = pg_current_xact_id_if_assigned()))
      or exists (select from gone) and not exists (select from audit_checkpoint) then
      raise exception 'audit_checkpoint is append-only until retention removes its segment' using errcode = 'insufficient_privilege';
    end if;
    return null; end $$`,
  `create trigger audit_checkpoint_removal after delete on audit_checkpoint referencing old table as gone
    for each statement execute function audit_checkpoint_removal()`,
];

/** Makes the table, the columns and the triggers. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of STATEMENTS) await sql.raw(statement).execute(db);
}
