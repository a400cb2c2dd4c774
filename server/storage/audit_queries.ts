// Inserting audit records: always in the transaction of the change that they describe. For whom a record is made, and in which trace, is
// copied from its run.
// Called by commands through the store. Reading the trail is in read_audit.ts.

import { sql } from "kysely";
import type { AuditEvent } from "../audit/events.ts";
import { type Columns, type Queryable, recordSet, recordShape } from "./bulk.ts";
import type { RecordWatch } from "./written_records.ts";

/** A record to insert; time and transaction id come from the database. */
export interface NewAuditRow {
  readonly kind: string;
  readonly namespace: string;
  readonly run_id: string;
  readonly task_id: string;
  readonly actor: string;
  /** Of the call that caused it; that of the run comes first. */
  readonly trace_id?: string;
  /** Canonical JSON text. */
  readonly record: string;
  /** What it was made of; absent: nobody counts it. */
  readonly event?: AuditEvent;
}

const COLUMNS: Columns = {
  kind: "text",
  namespace: "text",
  run_id: "text",
  task_id: "text",
  actor: "text",
  record: "text",
};

const NAMES = sql.raw(Object.keys(COLUMNS).join(", "));
const GIVEN = recordShape({ ...COLUMNS, call_trace_id: "text" });

/** Queries of the audit_event table. */
export function auditQueries(db: Queryable, watch: RecordWatch) {
  return {
    /**
     * Appends records in the order given. The transaction takes its id before the records take theirs: readers rely on a
     * transaction that began after a look having ids above all that were seen in it. Reads the run of each by primary key.
     */
    async insert(rows: readonly NewAuditRow[]): Promise<void> {
      if (rows.length === 0) return;
      watch.sent(rows);
      const given = rows.map(({ trace_id, event: _, ...row }) => ({ ...row, call_trace_id: trace_id }));
      const result = await sql<{ transactionId: string; id: string }>`
        with started as materialized (select pg_current_xact_id() as transaction_id),
        inserted as (
          insert into audit_event (transaction_id, ${NAMES}, on_behalf_of, trace_id)
          select started.transaction_id, ${NAMES}, coalesce(requester_id, ''), coalesce(nullif(run_trace_id, ''), call_trace_id, '')
          from started cross join json_to_recordset(${recordSet(given)}::json) as x(${GIVEN})
            left join lateral (select requester_id, trace_id as run_trace_id from run where run.id = x.run_id) r on true
          returning id)
        select transaction_id::text as "transactionId", (select max(id) from inserted)::text as id from started`.execute(
        db,
      );
      const { transactionId, id } = result.rows[0] as { transactionId: string; id: string };
      watch.inserted(rows, transactionId, id);
    },
  };
}

/**
 * Learns the id of a transaction, if it has one, or lets it take one. For a transaction whose last statements are sent together with
 * COMMIT: by its id and a record of a run, its fate is found out if neither is answered.
 */
export async function identify(db: Queryable, watch: RecordWatch, takeOne: boolean): Promise<void> {
  const current = sql.raw(takeOne ? "pg_current_xact_id()" : "pg_current_xact_id_if_assigned()");
  const result = await sql<{ id: string | null }>`select ${current}::text as id`.execute(db);
  const id = result.rows[0]?.id;
  if (id !== undefined && id !== null) watch.identified(id);
}
