// The store as commands see it: query objects bound to one open transaction, or to the pool for single reads.
// Made by main; commands open transactions and await nothing but queries inside them.
// A transaction that loses a deadlock or a lock wait is run again from its start; fn must therefore have no effect of its own.
// One whose COMMIT was not answered is looked up by the last audit record that it wrote.

import type { Kysely } from "kysely";
import type { Clock } from "../../kit/clock.ts";
import { DomainError } from "../../kit/errors.ts";
import type { AuditEvent } from "../audit/events.ts";
import { auditQueries, type OnWritten, type WrittenRecord } from "./audit_queries.ts";
import type { Queryable } from "./bulk.ts";
import { bundleQueries } from "./bundle_queries.ts";
import { checkpointQueries } from "./checkpoint_queries.ts";
import { transaction } from "./database.ts";
import { deadLetterQueries } from "./dead_letter_queries.ts";
import { groupQueries } from "./group_queries.ts";
import { leaseQueries } from "./lease_queries.ts";
import { ledgerQueries } from "./ledger_queries.ts";
import { limitQueries } from "./limit_queries.ts";
import { isCommitted } from "./read_back.ts";
import { retentionQueries } from "./retention_queries.ts";
import { runQueries } from "./run_queries.ts";
import type { Database } from "./schema.ts";
import { segmentQueries } from "./segment_queries.ts";
import { sessionQueries } from "./session_queries.ts";
import { isRetryable, toDomainError } from "./sql_errors.ts";
import { taskLogQueries } from "./task_log_queries.ts";
import { taskQueries } from "./task_queries.ts";
import { tokenQueries } from "./token_queries.ts";
import { toolTurnQueries } from "./tool_turn_queries.ts";

/** Times that a transaction is run at most. */
const TRIES_MAX = 4;

/** Takes audit events that are committed. Never throws. */
export type OnRecorded = (events: readonly AuditEvent[]) => void;

/** All hot queries, bound to a transaction or to the pool. */
export interface StoreQueries {
  readonly runs: ReturnType<typeof runQueries>;
  readonly tasks: ReturnType<typeof taskQueries>;
  readonly leases: ReturnType<typeof leaseQueries>;
  readonly deadLetters: ReturnType<typeof deadLetterQueries>;
  readonly ledger: ReturnType<typeof ledgerQueries>;
  readonly groups: ReturnType<typeof groupQueries>;
  readonly toolTurns: ReturnType<typeof toolTurnQueries>;
  readonly limits: ReturnType<typeof limitQueries>;
  readonly bundles: ReturnType<typeof bundleQueries>;
  readonly sessions: ReturnType<typeof sessionQueries>;
  readonly audit: ReturnType<typeof auditQueries>;
  readonly segments: ReturnType<typeof segmentQueries>;
  readonly checkpoints: ReturnType<typeof checkpointQueries>;
  readonly retention: ReturnType<typeof retentionQueries>;
  readonly tokens: ReturnType<typeof tokenQueries>;
  readonly taskLogs: ReturnType<typeof taskLogQueries>;
  /** For the read models and the manifests' files of this room. */
  readonly db: Queryable;
}

/** The store. */
export interface Store {
  /** Runs fn in one READ COMMITTED transaction; rolls back when it throws. @throws DomainError for database trouble */
  transaction<T>(fn: (tx: StoreQueries) => Promise<T>): Promise<T>;
  /** Single statements outside a transaction. @throws DomainError for database trouble */
  read<T>(fn: (queries: StoreQueries) => Promise<T>): Promise<T>;
}

function bind(db: Queryable, onWritten?: OnWritten): StoreQueries {
  return {
    runs: runQueries(db),
    tasks: taskQueries(db),
    leases: leaseQueries(db),
    deadLetters: deadLetterQueries(db),
    ledger: ledgerQueries(db),
    groups: groupQueries(db),
    toolTurns: toolTurnQueries(db),
    limits: limitQueries(db),
    bundles: bundleQueries(db),
    sessions: sessionQueries(db),
    audit: auditQueries(db, onWritten),
    segments: segmentQueries(db),
    checkpoints: checkpointQueries(db),
    retention: retentionQueries(db),
    tokens: tokenQueries(db),
    taskLogs: taskLogQueries(db),
    db,
  };
}

/**
 * The store over a database.
 *
 * @param clock      absent: nothing is read back, a COMMIT that was not answered stays unknown.
 * @param onRecorded told of the audit events of each transaction, once it has committed.
 */
export function createStore(db: Kysely<Database>, clock?: Clock, onRecorded: OnRecorded = () => undefined): Store {
  const pool = bind(db, (_, events) => onRecorded(events));
  return {
    async read(fn) {
      try {
        return await fn(pool);
      } catch (error) {
        throw toDomainError(error);
      }
    },
    async transaction(fn) {
      for (let tries = 1; ; tries += 1) {
        const sent: Sent<Awaited<ReturnType<typeof fn>>> = { events: [] };
        const onWritten: OnWritten = (written, events) => {
          sent.written = written;
          sent.events.push(...events);
        };
        try {
          const result = await transaction(db, async (tx) => {
            const value = await fn(bind(tx, onWritten));
            sent.result = { value };
            return value;
          });
          onRecorded(sent.events);
          return result;
        } catch (error) {
          const committed = await resultOf(db, clock, sent, error);
          if (committed !== undefined) {
            onRecorded(sent.events);
            return committed.value;
          }
          if (tries >= TRIES_MAX || !isRetryable(error)) throw error;
        }
      }
    },
  };
}

/** What is known of a transaction when its COMMIT was sent. */
interface Sent<Result> {
  readonly events: AuditEvent[];
  written?: WrittenRecord;
  result?: { readonly value: Result };
}

// What a transaction gave that committed though nobody said so. @throws DomainError when it is known that it did not
async function resultOf<Result>(
  db: Kysely<Database>,
  clock: Clock | undefined,
  { written, result }: Sent<Result>,
  error: unknown,
): Promise<{ readonly value: Result } | undefined> {
  const isUnknown = error instanceof DomainError && error.metadata["commit"] === "unknown";
  if (!isUnknown || clock === undefined || written === undefined) return undefined;
  const committed = await isCommitted(db, written, clock);
  if (committed !== false) return committed === true ? result : undefined;
  const message = "the database was lost before the change was committed: nothing happened, try again";
  throw new DomainError("STORAGE_UNAVAILABLE", message, {}, error);
}
