// The tables of the audit trail as Kysely sees them; schema.ts joins them to the others.
// Whatever is in a table of these only grows: triggers and rights refuse the rest. JSON that is hashed is text.
// Types only.

import type { Generated } from "kysely";
import type { OptionalTime, Time } from "./column_types.ts";

/** The audit trail: append-only by trigger. */
export interface AuditEventTable {
  id: Generated<bigint>;
  transaction_id: Generated<string>;
  time: Time;
  kind: string;
  namespace: string;
  run_id: string;
  task_id: string;
  actor: string;
  record: string;
  /** Who invoked the run; empty if there is none. */
  on_behalf_of: Generated<string>;
  trace_id: Generated<string>;
}

/** Sealed stretches of the trail: every record up to last_id that no earlier one holds. */
export interface AuditSegmentTable {
  number: bigint;
  last_id: bigint;
  first_sequence: bigint;
  last_sequence: bigint;
  ids: bigint[];
  /** 32 bytes an id. */
  hashes: Buffer;
  previous_head: string;
  head: string;
  /** Newest record in it. */
  latest_time: Time;
  seal_time: Time;
}

/** One row: the last segment that retention removed; its trigger fills in what it copies from the segment. */
export interface AuditRemovalTable {
  only_row: Generated<boolean>;
  number: bigint;
  last_id: bigint;
  last_sequence: bigint;
  head: string;
  retention_ms: number;
  transaction_id: string | null;
  remove_time: OptionalTime;
}

/** Signed heads of the chain; see audit/checkpoint.ts. */
export interface AuditCheckpointTable {
  number: bigint;
  segment: bigint;
  last_id: bigint;
  last_sequence: bigint;
  head: string;
  previous: string;
  time: string;
  key: string;
  signature: string;
}
