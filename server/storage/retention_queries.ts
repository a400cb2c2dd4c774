// What retention may remove, found and deleted in bounded batches: finished runs with everything of theirs, expired ledger rows, bundles, tokens.
// Called by commands/remove_expired.ts through the store. Ages are database time; rows that another replica holds are skipped.
// Never finds a run that has not ended, or one whose lineage a run that has not ended, or a dead letter that is kept, still needs.

import { sql } from "kysely";
import type { Queryable } from "./bulk.ts";

/** How long things are kept where no template says otherwise, in ms. */
export interface KeptFor {
  readonly runsMs: number;
  readonly deadLettersMs: number;
}

/** A run that may go. */
export interface ExpiredRun {
  readonly id: string;
  readonly end_time: Date;
  readonly tasks: number;
}

/** Rows that went. */
export interface RemovedRows {
  readonly runs: number;
  readonly tasks: number;
  readonly toolCalls: number;
}

/** Queries of retention. */
export function retentionQueries(db: Queryable) {
  return {
    /**
     * Locks finished runs that are over their time. Locks: run, skipping locked ones. Indexes: run_retention_idx for each bundle,
     * task_run_idx and task_lineage_idx for each candidate. Bound: limit.
     */
    async lockExpiredRuns(kept: KeptFor, limit: number): Promise<ExpiredRun[]> {
      const { rows } = await sql<ExpiredRun>`
        with keeping as materialized (
          select digest, clock_timestamp() - coalesce(run_retention_ms, ${kept.runsMs}) * interval '1 ms' as runs,
            clock_timestamp() - coalesce(dead_letter_retention_ms, ${kept.deadLettersMs}) * interval '1 ms' as letters
          from bundle)
        select r.id, r.end_time, (select count(*) from task t where t.run_id = r.id)::integer as tasks
        from keeping k cross join lateral (
          select id, end_time from run where bundle_digest = k.digest and end_time < k.runs
            and not exists (
              select from task t where t.run_id = run.id and t.state = 'DEAD_LETTERED' and t.end_time >= k.letters)
            and not exists (
              select from task t join task u on u.origin_task_id = t.origin_task_id and u.origin_task_id <> u.id
                join run o on o.id = u.run_id
              where t.run_id = run.id and u.run_id <> t.run_id
                and (o.end_time is null or u.state = 'DEAD_LETTERED' and u.end_time >= k.letters))
            and not exists (
              select from task t join task u on u.id = t.origin_task_id join run o on o.id = u.run_id
              where t.run_id = run.id and t.origin_task_id <> t.id and u.run_id <> t.run_id
                and (o.end_time is null or u.state = 'DEAD_LETTERED' and u.end_time >= k.letters))
          order by end_time limit ${limit} for update of run skip locked) r
        limit ${limit}`.execute(db);
      return rows;
    },

    /**
     * Deletes runs with nodes, tasks and journals (by cascade), their task logs, and their ledger rows but for declared keys that are kept
     * longer. Indexes: task_run_idx, tool_call_task_idx, the primary key of task_log.
     */
    async deleteRuns(ids: readonly string[]): Promise<RemovedRows> {
      const calls = await sql`
        delete from tool_call c using task t where t.run_id = any(${ids}::text[]) and c.task_id = t.id
          and (c.expire_time is null or c.expire_time < clock_timestamp())`.execute(db);
      const tasks = await sql`delete from task where run_id = any(${ids}::text[])`.execute(db);
      await sql`delete from task_log where run_id = any(${ids}::text[])`.execute(db);
      const runs = await sql`delete from run where id = any(${ids}::text[])`.execute(db);
      const count = ({ numAffectedRows = 0n }: { numAffectedRows?: bigint }) => Number(numAffectedRows);
      return { runs: count(runs), tasks: count(tasks), toolCalls: count(calls) };
    },

    /** Deletes ledger rows of declared keys that outlived their run and have expired. By tool_call_expire_idx; bound: limit. */
    async deleteExpiredKeys(limit: number): Promise<number> {
      const result = await sql`
        delete from tool_call where request_id = any(array(
          select c.request_id from tool_call c where c.expire_time < clock_timestamp()
            and not exists (select from run r where r.id = c.run_id)
          order by c.expire_time limit ${limit} for update of c skip locked))`.execute(db);
      return Number(result.numAffectedRows ?? 0n);
    },

    /** Deletes bundles that no run uses; the next run of their workflow stores them again. By run_retention_idx, task_bundle_idx; bound: limit. */
    async deleteUnusedBundles(olderThanMs: number, limit: number): Promise<number> {
      const result = await sql`
        delete from bundle where digest = any(array(
          select b.digest from bundle b where b.create_time < clock_timestamp() - ${olderThanMs} * interval '1 ms'
            and not exists (select from run r where r.bundle_digest = b.digest)
            and not exists (select from task t where t.bundle_digest = b.digest)
          limit ${limit} for update of b skip locked))`.execute(db);
      return Number(result.numAffectedRows ?? 0n);
    },

    /** Deletes tokens that were revoked long ago; a table of as many rows as tokens were made. Bound: limit. */
    async deleteRevokedTokens(olderThanMs: number, limit: number): Promise<number> {
      const result = await sql`
        delete from access_token where hash = any(array(
          select hash from access_token where revoke_time < clock_timestamp() - ${olderThanMs} * interval '1 ms'
          limit ${limit} for update skip locked))`.execute(db);
      return Number(result.numAffectedRows ?? 0n);
    },
  };
}
