// What work costs in Postgres, by its own counters: rows written, bytes of log, transactions that wrote.
// Called by throughput.ts around each round. Log and transaction ids are exact at once; counts of rows reach a reader once the
// connection that wrote them tells, which it does at the end of a later transaction: a wait, and reads that cause them.

import type pg from "pg";
import type { Clock } from "../kit/clock.ts";
import { SECOND } from "../kit/units.ts";

const LOOK_MS = SECOND / 5;
const PATIENCE_MS = 30 * SECOND;

/** Counters at one moment. */
export interface Counters {
  /** Rows inserted, updated and deleted in all tables of the database. */
  readonly rows: number;
  /** Bytes of write-ahead log of the whole server. */
  readonly walBytes: number;
  /** Transaction ids that were given out: only a transaction that writes takes one. */
  readonly transactions: number;
}

/** How to read them. */
export interface CounterReader {
  readonly pool: pg.Pool;
  readonly clock: Clock;
  /** Makes the server read something on every connection of its pool. */
  readonly nudge: () => Promise<unknown>;
}

/** Reads the counters once everything that was written is sealed and counted. @throws Error when Postgres does not tell in time */
export async function readCounters({ pool, clock, nudge }: CounterReader): Promise<Counters> {
  const deadline = clock.monotonic() + PATIENCE_MS;
  const until = async (what: string, holds: () => Promise<boolean>) => {
    while (!(await holds())) {
      if (clock.monotonic() > deadline) throw new Error(`${what} within ${PATIENCE_MS / SECOND} s`);
      await clock.sleep(LOOK_MS);
    }
  };
  await until("the audit trail was not sealed", () => isSealed(pool));
  const { rows } = await pool.query<{ wal: string; transactions: string }>(
    "select pg_current_wal_insert_lsn() - '0/0' as wal, pg_snapshot_xmax(pg_current_snapshot())::text as transactions",
  );
  await until("Postgres did not tell what was written", async () => {
    if (await isCounted(pool)) return true;
    await nudge();
    return false;
  });
  const written = await pool.query<{ rows: string }>(
    "select sum(n_tup_ins + n_tup_upd + n_tup_del) as rows from pg_stat_user_tables",
  );
  const { wal, transactions } = rows[0] as { wal: string; transactions: string };
  return { rows: Number(written.rows[0]?.rows), walBytes: Number(wal), transactions: Number(transactions) };
}

/** What was counted between two moments. */
export function between(before: Counters, after: Counters): Counters {
  return {
    rows: after.rows - before.rows,
    walBytes: after.walBytes - before.walBytes,
    transactions: after.transactions - before.transactions,
  };
}

/** True once every record of the trail is in a segment. */
export async function isSealed(pool: pg.Pool): Promise<boolean> {
  const { rows } = await pool.query<{ sealed: boolean }>(
    `select coalesce((select max(last_id) from audit_segment), 0) >= coalesce((select max(id) from audit_event), 0) as sealed`,
  );
  return rows[0]?.sealed === true;
}

// A connection tells everything at once, and every transaction of the queue writes a record: when all records are counted, so is the rest.
async function isCounted(pool: pg.Pool): Promise<boolean> {
  const { rows } = await pool.query<{ counted: boolean }>(
    `select bool_and(n_tup_ins >= case relname when 'audit_event' then (select count(*) from audit_event)
        else (select count(*) from audit_segment) end) as counted
      from pg_stat_user_tables where relname in ('audit_event', 'audit_segment')`,
  );
  return rows[0]?.counted === true;
}
