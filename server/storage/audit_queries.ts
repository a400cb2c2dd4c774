// Inserting audit records: always in the transaction of the change that they describe.
// Called by commands through the store. Reading the trail is in read_audit.ts.

import { bulkInsert, type Columns, type Queryable } from "./bulk.ts";

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

/** Queries of the audit_event table. */
export function auditQueries(db: Queryable) {
  return {
    /** Appends records in the order given. */
    insert: (rows: readonly NewAuditRow[]) => bulkInsert(db, "audit_event", COLUMNS, rows),
  };
}
