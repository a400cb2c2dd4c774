// What one transaction wrote of the trail: its events, to be told of once it has committed, and the record by which its fate can be
// found out when its COMMIT is not answered.
// Made by store.ts for each transaction; filled by audit_queries.ts.

import type { AuditEvent } from "../audit/events.ts";

/** A record that was inserted, and the transaction that is to commit it: by it the fate of that transaction is told. */
export interface WrittenRecord {
  readonly transactionId: string;
  readonly record: string;
  /** Empty: it is of no run. */
  readonly runId: string;
  /** Absent while its insert is not answered. */
  readonly id?: string;
}

/** A row that is inserted. */
export interface RecordRow {
  readonly run_id: string;
  readonly record: string;
  /** What it was made of; absent: nobody counts it. */
  readonly event?: AuditEvent;
}

/** Learns what inserts do. */
export interface RecordWatch {
  /** The transaction has this id. */
  identified(transactionId: string): void;
  /** Rows are on their way, one at least. */
  sent(rows: readonly RecordRow[]): void;
  /** They were inserted, the last of them with this id. */
  inserted(rows: readonly RecordRow[], transactionId: string, id: string): void;
}

/** See the file header. */
export class WrittenRecords implements RecordWatch {
  readonly events: AuditEvent[] = [];
  #transactionId: string | undefined;
  #last: Omit<WrittenRecord, "transactionId"> | undefined;

  identified(transactionId: string): void {
    this.#transactionId = transactionId;
  }

  sent(rows: readonly RecordRow[]): void {
    this.events.push(...eventsOf(rows));
    const { record, run_id: runId } = rows.findLast(({ run_id }) => run_id !== "") ?? lastOf(rows);
    this.#last = { record, runId };
  }

  inserted(rows: readonly RecordRow[], transactionId: string, id: string): void {
    const { record, run_id: runId } = lastOf(rows);
    this.#transactionId = transactionId;
    this.#last = { record, runId, id };
  }

  /** The record to look for; undefined while none could be found again. */
  get record(): WrittenRecord | undefined {
    if (this.#transactionId === undefined || this.#last === undefined) return undefined;
    if (this.#last.id === undefined && this.#last.runId === "") return undefined;
    return { transactionId: this.#transactionId, ...this.#last };
  }
}

/** The events that rows were made of. */
export function eventsOf(rows: readonly RecordRow[]): AuditEvent[] {
  return rows.flatMap(({ event }) => event ?? []);
}

function lastOf(rows: readonly RecordRow[]): RecordRow {
  return rows.at(-1) as RecordRow;
}
