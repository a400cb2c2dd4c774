// How long queued runs waited for their claim: from the record of their invocation to the record of their lease, both by the database's clock.
// Called by growth.ts. The time for a slot is in it, and that of waking, matching and claiming.
// Runs whose task was leased in the transaction that made it were never queued, and do not count.

import type pg from "pg";
import { type Times, tenths } from "./figures.ts";

/** Their number, and how long they waited, in ms. */
export interface ClaimTimes extends Times {
  readonly queued: number;
}

/** Of all runs of a workflow that were invoked after that record. @throws Error if none was queued */
export async function claimTimes(pool: pg.Pool, workflow: string, afterId: string): Promise<ClaimTimes> {
  const { rows } = await pool.query<{ claimed: number; times: number[] | null }>(
    `select count(*)::integer as claimed, percentile_cont(array[0.5, 0.99])
        within group (order by extract(epoch from leased.time - created.time)::double precision * 1000) as times
      from audit_event created join run on run.id = created.run_id
        join audit_event leased on leased.run_id = created.run_id and leased.run_id <> '' and leased.kind = 'task.leased'
          and leased.transaction_id <> created.transaction_id
      where created.id > $2::bigint and created.run_id <> '' and created.kind = 'run.created' and run.workflow = $1`,
    [workflow, afterId],
  );
  const [p50, p99] = rows[0]?.times ?? [];
  if (p50 === undefined || p99 === undefined) throw new Error(`no run of ${workflow} was queued`);
  return { queued: rows[0]?.claimed ?? 0, p50: tenths(p50), p99: tenths(p99) };
}
