// Reading the audit trail: pages in insertion order, and what committed since a position, without ever skipping a record.
// Called by commands/read_audit.ts and watch_run.ts. Never locks, never writes.
// Ids are taken before transactions commit, so a lower id may appear after a higher one. A watcher therefore goes by
// (transaction, id) and sees only transactions older than every running one: below that horizon nothing can appear any more.

import { type RawBuilder, sql } from "kysely";
import { MINUTE } from "../../kit/units.ts";
import type { Queryable } from "./bulk.ts";

// A transaction cannot last this long: its statements and its pauses are limited to seconds.
const TRANSACTION_MS_MAX = 5 * MINUTE;
// Ids that transactions which run at the same time have taken and not yet shown, at most; a batch takes a few hundred.
const IDS_HELD_MAX = 100_000;

/** A record as it is stored. */
export interface AuditReadRow {
  readonly id: bigint;
  readonly time: Date;
  readonly kind: string;
  readonly namespace: string;
  readonly run_id: string;
  readonly task_id: string;
  readonly actor: string;
  readonly on_behalf_of: string;
  readonly trace_id: string;
  readonly record: string;
}

/** What records are filtered by; absent or empty members do not filter. */
export interface AuditFilter {
  readonly namespace?: string;
  readonly runId?: string;
  readonly taskId?: string;
  /** Kinds, or prefixes that end in a dot. */
  readonly kinds?: readonly string[];
  readonly startTime?: Date | undefined;
  readonly endTime?: Date | undefined;
}

/** Where a watcher is: after this record of this transaction; ids at or below floor need not be looked at. */
export interface TrailPosition {
  readonly transaction: string;
  readonly id: string;
  readonly floor: string;
}

/** The state of the trail: every transaction below xmin has ended. */
export interface TrailHorizon {
  readonly xmin: string;
  /** Highest id that is visible. */
  readonly lastId: string;
  /** True if records above the floor are visible whose transactions are not below xmin. */
  readonly pending: boolean;
}

/** Transactions at or above bound took ids above lastId. */
export interface TrailCheckpoint {
  readonly bound: string;
  readonly lastId: string;
}

/** Which records of a run: those that committed between two snapshots, after an id. */
export interface RunSpan {
  readonly since: string | undefined;
  readonly until: string | undefined;
  readonly afterId: string;
}

/** A record with its transaction. */
export type TrailRow = AuditReadRow & { readonly transaction: string };

/** The horizon, and what is new below it. */
export interface TrailLook {
  readonly horizon: TrailHorizon;
  readonly rows: TrailRow[];
}

// In order of ids, or the planner reads the whole trail to find that nothing is pending.
function horizonAbove(floor: string): RawBuilder<TrailHorizon> {
  return sql<TrailHorizon>`
    select pg_snapshot_xmin(s)::text as xmin, (select coalesce(max(id), 0)::text from audit_event) as "lastId",
      coalesce((select true from audit_event where id > ${floor}::bigint and transaction_id >= pg_snapshot_xmin(s)
        order by id desc limit 1), false) as pending
    from pg_current_snapshot() s`;
}

const COLUMNS = sql.raw("id, time, kind, namespace, run_id, task_id, actor, on_behalf_of, trace_id, record");

/** Read queries of the audit trail. */
export function auditReads(db: Queryable) {
  return {
    /**
     * A page after an id. By audit_event_run_idx when a run or a known task is given, by audit_event_time_idx for times,
     * else by the primary key.
     */
    async list(filter: AuditFilter, afterId: string, limit: number): Promise<AuditReadRow[]> {
      const run = filter.runId || (await runOfTask(db, filter.taskId));
      const conditions = conditionsOf({ ...filter, ...(run && { runId: run }) });
      const result = await sql<AuditReadRow>`
        select ${COLUMNS} from audit_event where id > ${afterId}::bigint and ${conditions} order by id limit ${limit}`.execute(
        db,
      );
      return result.rows;
    },

    /** The horizon now; one statement, so one snapshot. */
    async horizon(floor: string): Promise<TrailHorizon> {
      const result = await horizonAbove(floor).execute(db);
      return result.rows[0] as TrailHorizon;
    },

    /**
     * A checkpoint now. It takes a transaction id of its own for the bound: a snapshot's xmax is only one above the newest
     * transaction that ended, and those that run above it may hold ids below lastId.
     */
    async checkpoint(): Promise<TrailCheckpoint> {
      const result = await sql<TrailCheckpoint>`
        select pg_current_xact_id()::text as bound, coalesce(max(id), 0)::text as "lastId" from audit_event`.execute(
        db,
      );
      return result.rows[0] as TrailCheckpoint;
    },

    /** The position of a record that was delivered before; undefined if there is none of that id. By primary key and recentFloor. */
    async positionOf(id: string): Promise<TrailPosition | undefined> {
      const result = await sql<{ transaction: string; id: string; time: Date }>`
        select transaction_id::text as transaction, id::text as id, time from audit_event where id = ${id}::bigint`.execute(
        db,
      );
      const row = result.rows[0];
      if (row === undefined) return undefined;
      return { transaction: row.transaction, id: row.id, floor: await floorAt(db, row.time) };
    },

    /** An id below every record of a transaction that may still be running. By primary key. */
    recentFloor: () => floorAt(db),

    /**
     * The horizon now, and records after a position and below it, in (transaction, id) order, with their transactions. One statement,
     * so one snapshot. By primary key above floor.
     */
    async look(filter: AuditFilter, { floor, transaction, id }: TrailPosition, limit: number): Promise<TrailLook> {
      type Looked = TrailHorizon & { readonly [Column in keyof TrailRow]: TrailRow[Column] | null };
      const { rows } = await sql<Looked>`
        with horizon as materialized (${horizonAbove(floor)})
        select h.*, r.* from horizon h left join lateral (
          select ${COLUMNS}, transaction_id::text as transaction from audit_event
          where id > ${floor}::bigint and transaction_id < h.xmin::xid8
            and (transaction_id, id) > (${transaction}::xid8, ${id}::bigint) and ${conditionsOf(filter)}
          order by transaction_id, id limit ${limit}) r on true
        order by r.transaction::xid8, r.id`.execute(db);
      return {
        horizon: rows[0] as TrailHorizon,
        rows: rows.filter((row): row is Looked & TrailRow => row.id !== null),
      };
    },

    /**
     * Records of a run that committed after one snapshot and up to another, by id, after an id. From the beginning if `since`
     * is absent, up to now if `until` is, which the answer then names. By audit_event_run_idx; unlike `look` it does not wait for
     * transactions of others.
     */
    async ofRunBetween(
      runId: string,
      { since, until, afterId }: RunSpan,
      limit: number,
    ): Promise<{ until: string; rows: AuditReadRow[] }> {
      const end = until === undefined ? sql`pg_current_snapshot()` : sql`${until}::pg_snapshot`;
      const unseen =
        since === undefined ? sql`true` : sql`not pg_visible_in_snapshot(transaction_id, ${since}::pg_snapshot)`;
      type Found = { readonly until: string } & {
        readonly [Column in keyof AuditReadRow]: AuditReadRow[Column] | null;
      };
      const { rows } = await sql<Found>`
        select s.until::text as until, r.* from (select ${end} as until) s left join lateral (
          select ${COLUMNS} from audit_event
          where run_id = ${runId} and run_id <> '' and id > ${afterId}::bigint and ${unseen}
            and pg_visible_in_snapshot(transaction_id, s.until)
          order by id limit ${limit}) r on true
        order by r.id`.execute(db);
      const [first] = rows;
      return {
        until: first?.until ?? "",
        rows: rows.filter((row): row is Found & AuditReadRow => row.id !== null),
      };
    },
  };
}

// Back from the newest record to the first one that is older; so it costs what was recorded in that time, however long the trail is.
async function floorAt(db: Queryable, time?: Date): Promise<string> {
  const from = sql`${time ?? sql`clock_timestamp()`}::timestamptz - ${TRANSACTION_MS_MAX} * interval '1 ms'`;
  const result = await sql<{ floor: string }>`
    select greatest(coalesce((select id from audit_event where time < ${from} order by id desc limit 1), 0) - ${IDS_HELD_MAX}, 0)::text
      as floor`.execute(db);
  return (result.rows[0] as { floor: string }).floor;
}

async function runOfTask(db: Queryable, taskId: string | undefined): Promise<string | undefined> {
  if (taskId === undefined || taskId === "") return undefined;
  return (await db.selectFrom("task").select("run_id").where("id", "=", taskId).executeTakeFirst())?.run_id;
}

function conditionsOf(filter: AuditFilter): RawBuilder<unknown> {
  const conditions: RawBuilder<unknown>[] = [sql`true`];
  if (filter.namespace) conditions.push(sql`namespace = ${filter.namespace}`);
  if (filter.runId) conditions.push(sql`run_id = ${filter.runId} and run_id <> ''`);
  if (filter.taskId) conditions.push(sql`task_id = ${filter.taskId}`);
  if (filter.startTime) conditions.push(sql`time >= ${filter.startTime}`);
  if (filter.endTime) conditions.push(sql`time < ${filter.endTime}`);
  if (filter.kinds !== undefined && filter.kinds.length > 0) {
    const any = filter.kinds.map((kind) =>
      kind.endsWith(".") ? sql`starts_with(kind, ${kind})` : sql`kind = ${kind}`,
    );
    conditions.push(sql`(${sql.join(any, sql` or `)})`);
  }
  return sql.join(conditions, sql` and `);
}

/** What conditionsOf asks of kinds. */
export function isOfKinds(kind: string, kinds: readonly string[] = []): boolean {
  return kinds.length === 0 || kinds.some((one) => (one.endsWith(".") ? kind.startsWith(one) : kind === one));
}
