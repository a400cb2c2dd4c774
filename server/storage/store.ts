// The store as commands see it: query objects bound to one open transaction, or to the pool for single reads.
// Made by main; commands open transactions and await nothing but queries inside them.
// A transaction that loses a deadlock or a lock wait is run again from its start; fn must therefore have no effect of its own.
// One whose COMMIT was not answered is looked up by an audit record that it wrote.

import type { Kysely } from "kysely";
import type { Clock } from "../../kit/clock.ts";
import { DomainError } from "../../kit/errors.ts";
import type { AuditEvent } from "../audit/events.ts";
import { auditQueries, identify } from "./audit_queries.ts";
import type { Queryable } from "./bulk.ts";
import { bundleQueries } from "./bundle_queries.ts";
import { checkpointQueries } from "./checkpoint_queries.ts";
import { atOnce, transaction } from "./database.ts";
import { deadLetterQueries } from "./dead_letter_queries.ts";
import { groupQueries } from "./group_queries.ts";
import { Lastly } from "./lastly.ts";
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
import { eventsOf, type RecordWatch, WrittenRecords } from "./written_records.ts";

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
  /** Learns the id of the transaction, for Lastly. @param takeOne false, the default: only if it has one, as after a lock */
  identify(takeOne?: boolean): Promise<void>;
  /** For the read models and the manifests' files of this room. */
  readonly db: Queryable;
}

/** The store. */
export interface Store {
  /**
   * Runs fn in one READ COMMITTED transaction; rolls back when it throws. One whose fate could not be found out by then (see
   * identify) commits after its last statements are answered. @throws DomainError for database trouble
   */
  transaction<T>(fn: (tx: StoreQueries) => Promise<T | Lastly<T>>): Promise<T>;
  /** Single statements outside a transaction. @throws DomainError for database trouble */
  read<T>(fn: (queries: StoreQueries) => Promise<T>): Promise<T>;
  /**
   * Statements that fn asks for all at once, in that order: one round trip, and each is planned once. For what comes often; run again like
   * a transaction, so fn must have no effect of its own.
   */
  atOnce<T>(fn: (queries: StoreQueries) => Promise<T>): Promise<T>;
}

function bind(db: Queryable, watch: RecordWatch): StoreQueries {
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
    audit: auditQueries(db, watch),
    segments: segmentQueries(db),
    checkpoints: checkpointQueries(db),
    retention: retentionQueries(db),
    tokens: tokenQueries(db),
    taskLogs: taskLogQueries(db),
    identify: (takeOne = false) => identify(db, watch, takeOne),
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
  // What is inserted outside of a transaction is committed.
  const alone = { identified: () => undefined, sent: () => undefined };
  const watch: RecordWatch = { ...alone, inserted: (rows) => onRecorded(eventsOf(rows)) };
  const pool = bind(db, watch);
  return {
    async read(fn) {
      try {
        return await fn(pool);
      } catch (error) {
        throw toDomainError(error);
      }
    },
    async atOnce(fn) {
      for (let tries = 1; ; tries += 1) {
        try {
          return await atOnce(db, (own) => fn(bind(own, watch)));
        } catch (error) {
          if (tries >= TRIES_MAX || !isRetryable(error)) throw toDomainError(error);
        }
      }
    },
    async transaction<T>(fn: (tx: StoreQueries) => Promise<T | Lastly<T>>): Promise<T> {
      for (let tries = 1; ; tries += 1) {
        const sent: Sent<T> = { written: new WrittenRecords() };
        try {
          const result = await transaction(db, async (tx, last) => {
            const given = await fn(bind(tx, sent.written));
            const value = given instanceof Lastly ? given.value : given;
            if (given instanceof Lastly) {
              if (sent.written.record === undefined) await Promise.all(given.statements);
              else last.push(...(await given.onTheirWay()));
            }
            sent.result = { value };
            return value;
          });
          onRecorded(sent.written.events);
          return result;
        } catch (error) {
          const committed = await resultOf(db, clock, sent, error);
          if (committed !== undefined) {
            onRecorded(sent.written.events);
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
  readonly written: WrittenRecords;
  result?: { readonly value: Result };
}

// What a transaction gave that committed though nobody said so. @throws DomainError when it is known that it did not
async function resultOf<Result>(
  db: Kysely<Database>,
  clock: Clock | undefined,
  { written: { record }, result }: Sent<Result>,
  error: unknown,
): Promise<{ readonly value: Result } | undefined> {
  const isUnknown = error instanceof DomainError && error.metadata["commit"] === "unknown";
  if (!isUnknown || clock === undefined || record === undefined) return undefined;
  const committed = await isCommitted(db, record, clock);
  if (committed !== false) return committed === true ? result : undefined;
  const message = "the database was lost before the change was committed: nothing happened, try again";
  throw new DomainError("STORAGE_UNAVAILABLE", message, {}, error);
}
