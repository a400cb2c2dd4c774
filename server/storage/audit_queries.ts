// Inserting audit records: always in the transaction of the change that they describe.
// Called by commands through the store. Reading the trail is in read_audit.ts.

import { sql } from "kysely";
import { type Columns, type Queryable, recordSet, recordShape } from "./bulk.ts";

/** A record to insert; time and transaction id come from the database. */
export interface NewAuditRow {
  readonly kind: string;
  readonly namespace: string;
  readonly run_id: string;
  readonly task_id: string;
  readonly actor: string;
  /** Canonical JSON text. */
  readonly record: string;
}

const COLUMNS: Columns = {
  kind: "text",
  namespace: "text",
  run_id: "text",
  task_id: "text",
  actor: "text",
  record: "text",
};

/** Queries of the audit_event table. @param onTransactionId learns the id of the transaction that records were written in */
export function auditQueries(db: Queryable, onTransactionId: (id: string) => void = () => undefined) {
  return {
    /**
     * Appends records in the order given. The transaction takes its id before the records take theirs: readers rely on a
     * transaction that began after a look having ids above all that were seen in it.
     */
    async insert(rows: readonly NewAuditRow[]): Promise<void> {
      if (rows.length === 0) return;
      const names = sql.raw(Object.keys(COLUMNS).join(", "));
      const result = await sql<{ transaction_id: string }>`
        with started as materialized (select pg_current_xact_id() as transaction_id),
        inserted as (
          insert into audit_event (transaction_id, ${names})
          select started.transaction_id, ${names}
          from started cross join json_to_recordset(${recordSet(rows)}::json) as x(${recordShape(COLUMNS)}))
        select transaction_id::text from started`.execute(db);
      onTransactionId((result.rows[0] as { transaction_id: string }).transaction_id);
    },
  };
}
