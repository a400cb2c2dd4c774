// The policy_limit table: how much of each limit of a policy has been used, by key and window.
// Called by commands/limit_counts.ts through the store. Lock order: after run, task, lease and ledger, before audit; keys ascending.
// A row that is counted up stays locked until its transaction ends: two that count the same thing do it one after the other.

import { sql } from "kysely";
import { type Columns, type Queryable, recordSet, recordShape } from "./bulk.ts";

/** Which counter: a limit of a policy at a checkpoint, for one key, in one window. */
export interface CounterKey {
  /** "namespace/name". */
  readonly policy: string;
  readonly limit_name: string;
  readonly checkpoint: string;
  readonly key_digest: string;
  readonly window_ms: number;
  readonly window_start: Date;
}

/** A counter with its count. */
export type CounterRow = CounterKey & { readonly count: number };

const COUNTER_COLUMNS: Columns = {
  policy: "text",
  limit_name: "text",
  checkpoint: "text",
  key_digest: "text",
  window_ms: "bigint",
  window_start: "timestamptz",
  count: "integer",
};
const KEY = sql.raw("policy, limit_name, checkpoint, key_digest, window_ms, window_start");

/** Queries of the policy_limit table. */
export function limitQueries(db: Queryable) {
  return {
    /** Counts up, making the counters that are missing, and returns what they show then. By primary key; bound: the rows given. */
    async countUp(rows: readonly CounterRow[]): Promise<CounterRow[]> {
      if (rows.length === 0) return [];
      const result = await sql<Omit<CounterRow, "window_ms"> & { window_ms: bigint }>`
        insert into policy_limit (${KEY}, expire_time, count)
        select ${KEY}, window_start + window_ms * interval '1 ms', count
        from json_to_recordset(${recordSet(rows)}::json) as x(${recordShape(COUNTER_COLUMNS)}) order by ${KEY}
        on conflict (${KEY}) do update set count = policy_limit.count + excluded.count
        returning ${KEY}, count`.execute(db);
      return result.rows.map((row) => ({ ...row, window_ms: Number(row.window_ms) }));
    },

    /** What counters show now, without a lock; those that are not there are absent from the result. By primary key. */
    async counts(keys: readonly CounterKey[]): Promise<CounterRow[]> {
      if (keys.length === 0) return [];
      const result = await sql<Omit<CounterRow, "window_ms"> & { window_ms: bigint }>`
        select p.policy, p.limit_name, p.checkpoint, p.key_digest, p.window_ms, p.window_start, p.count
        from policy_limit p join json_to_recordset(${recordSet(keys)}::json) as x(${recordShape(COUNTER_COLUMNS)})
          using (policy, limit_name, checkpoint, key_digest, window_ms, window_start)`.execute(db);
      return result.rows.map((row) => ({ ...row, window_ms: Number(row.window_ms) }));
    },

    /** Counts down what this transaction counted up too much: the rows are locked by it. */
    async countDown(rows: readonly CounterRow[]): Promise<void> {
      if (rows.length === 0) return;
      await sql`
        update policy_limit p set count = p.count - x.count
        from json_to_recordset(${recordSet(rows)}::json) as x(${recordShape(COUNTER_COLUMNS)})
        where (p.policy, p.limit_name, p.checkpoint, p.key_digest, p.window_ms, p.window_start)
          = (x.policy, x.limit_name, x.checkpoint, x.key_digest, x.window_ms, x.window_start)`.execute(db);
    },

    /** Deletes counters of windows that are over by so much. By policy_limit_expire_idx; bound: limit. */
    async deleteOver(byMs: number, limit: number): Promise<number> {
      const result = await sql`
        with gone as materialized (
          select ${KEY} from policy_limit where expire_time < clock_timestamp() - ${byMs} * interval '1 ms'
          order by expire_time limit ${limit} for update skip locked)
        delete from policy_limit p using gone g
        where (p.policy, p.limit_name, p.checkpoint, p.key_digest, p.window_ms, p.window_start)
          = (g.policy, g.limit_name, g.checkpoint, g.key_digest, g.window_ms, g.window_start)`.execute(db);
      return Number(result.numAffectedRows ?? 0n);
    },
  };
}
