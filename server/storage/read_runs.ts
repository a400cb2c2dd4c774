// Reading runs, nodes, tasks, turns and tool calls for people. Never locks, never writes.
// Called by commands/read_runs.ts and watch_run.ts. Listings go by keyset: ids sort by time.

import { sql } from "kysely";
import { firstIdAt } from "../../kit/ids.ts";
import { HOUR } from "../../kit/units.ts";
import type { Queryable } from "./bulk.ts";
import type { RouteRequirements } from "./schema.ts";

/** How far the clock of a server may be from that of the database for a listing by time to be whole. */
const CLOCKS_APART_MS = 1 * HOUR;

const RUN = [
  "id",
  "namespace",
  "workflow",
  "bundle_digest",
  "state",
  "conditions",
  "requester",
  "tags",
  "metadata",
  "parameters",
  "output",
  "failure_class",
  "failure_message",
  "create_time",
  "start_time",
  "end_time",
  "due_time",
  "trace_id",
] as const;

/** A task with what its lease adds: a READY task with a lease is LEASED. */
export interface TaskReadRow {
  readonly id: string;
  readonly run_id: string;
  readonly node: string;
  readonly iteration: number;
  readonly item: number;
  readonly state: string;
  readonly agent: string;
  readonly attempt: number;
  readonly deliveries: number;
  readonly worker: string | null;
  readonly failure_class: string | null;
  readonly failure_message: string | null;
  readonly create_time: Date;
  readonly end_time: Date | null;
  readonly due_time: Date | null;
  readonly leased: boolean;
}

const TASK = sql.raw(`t.id, t.run_id, t.node, t.iteration, t.item, t.state, t.agent, t.attempt, t.deliveries,
  coalesce(l.worker, t.worker) as worker, t.failure_class, t.failure_message, t.create_time, t.end_time, t.due_time,
  l.task_id is not null as leased`);

/** What runs are listed by; absent members do not filter. */
export interface RunFilter {
  readonly namespace?: string | undefined;
  readonly workflow?: string | undefined;
  readonly states?: readonly string[];
  readonly tags?: Readonly<Record<string, string>> | undefined;
  readonly createdFrom?: Date | undefined;
  readonly createdBefore?: Date | undefined;
}

/** Read queries of runs and tasks. */
export function runReads(db: Queryable) {
  return {
    /** One run. */
    run: (runId: string) => db.selectFrom("run").select(RUN).where("id", "=", runId).executeTakeFirst(),

    /** Namespace of a run, by its primary key. */
    async namespaceOfRun(runId: string): Promise<string | undefined> {
      return (await db.selectFrom("run").select("namespace").where("id", "=", runId).executeTakeFirst())?.namespace;
    },

    /** Namespace of a task, by its primary key. */
    async namespaceOfTask(taskId: string): Promise<string | undefined> {
      return (await db.selectFrom("task").select("namespace").where("id", "=", taskId).executeTakeFirst())?.namespace;
    },

    /**
     * A page of runs, newest first, before an id; by run_namespace_idx when a namespace is given. Ids sort by the time of the server that
     * made them, so that a time bounds them too: what is older is never read.
     */
    async runs(filter: RunFilter, before: string | undefined, limit: number) {
      let query = db.selectFrom("run").select(RUN);
      if (filter.namespace !== undefined) query = query.where("namespace", "=", filter.namespace);
      if (filter.workflow !== undefined) query = query.where("workflow", "=", filter.workflow);
      if (filter.states !== undefined && filter.states.length > 0)
        query = query.where("state", "in", [...filter.states]);
      const { tags, createdFrom, createdBefore } = filter;
      if (tags !== undefined) query = query.where(sql<boolean>`tags @> ${JSON.stringify(tags)}::jsonb`);
      if (createdFrom !== undefined) {
        const first = firstIdAt("run", Math.max(0, createdFrom.getTime() - CLOCKS_APART_MS));
        query = query.where("create_time", ">=", createdFrom).where("id", ">=", first);
      }
      if (createdBefore !== undefined) query = query.where("create_time", "<", createdBefore);
      if (before !== undefined) query = query.where("id", "<", before);
      return await query.orderBy("id", "desc").limit(limit).execute();
    },

    /**
     * What workers are missing: of the runs, those with a task that has been queued for a while and that no worker which is connected may take: none has its
     * runtime, handler, and labels. Through ready_run_idx; a drained worker takes nothing, so that it does not count.
     */
    async unschedulable(runIds: readonly string[], afterMs: number): Promise<Map<string, RouteRequirements[]>> {
      if (runIds.length === 0) return new Map();
      const result = await sql<{ run_id: string; requirements: RouteRequirements }>`
        select distinct q.run_id, r.requirements from ready q join task t on t.id = q.task_id join route r on r.route = q.route
        where q.run_id = any(${runIds}::text[]) and t.create_time < clock_timestamp() - ${afterMs} * interval '1 ms'
          and not exists (select from worker_session s
            where s.state = 'active' and s.expire_time >= clock_timestamp()
              and r.requirements ->> 'runtime' = any(s.runtimes)
              and (r.requirements ->> 'handler' is null or r.requirements ->> 'handler' = any(s.handlers)) and s.labels @> (r.requirements -> 'labels'))`.execute(
        db,
      );
      const missing = new Map<string, RouteRequirements[]>();
      for (const { run_id, requirements } of result.rows)
        missing.set(run_id, [...(missing.get(run_id) ?? []), requirements]);
      return missing;
    },

    /** The nodes of a run, each in its newest iteration. */
    async nodes(runId: string) {
      return await db
        .selectFrom("node_state")
        .select([
          ...(["node", "iteration", "state", "output", "failure_class", "failure_message"] as const),
          ...(["routes", "loop_taken", "items_total", "open_tasks"] as const),
        ])
        .where("run_id", "=", runId)
        .orderBy("node")
        .execute();
    },

    /** A page of a run's tasks in creation order, after an id, through task_run_idx. */
    async tasks(runId: string, after: string, limit: number): Promise<TaskReadRow[]> {
      const result = await sql<TaskReadRow>`
        select ${TASK} from task t left join lease l on l.task_id = t.id
        where t.run_id = ${runId} and t.id > ${after} order by t.id limit ${limit}`.execute(db);
      return result.rows;
    },

    /** The newest tasks of a run, oldest first. */
    async newestTasks(runId: string, limit: number): Promise<TaskReadRow[]> {
      const result = await sql<TaskReadRow>`
        select ${TASK} from task t left join lease l on l.task_id = t.id
        where t.run_id = ${runId} order by t.id desc limit ${limit}`.execute(db);
      return result.rows.reverse();
    },

    /** One task with input and output. */
    async task(taskId: string): Promise<(TaskReadRow & { input: string; output: string | null }) | undefined> {
      const result = await sql<TaskReadRow & { input: string; output: string | null }>`
        select ${TASK}, t.input, t.output from task t left join lease l on l.task_id = t.id where t.id = ${taskId}`.execute(
        db,
      );
      return result.rows[0];
    },

    /** Recorded turns of a task, in order. */
    async turns(taskId: string) {
      return await db
        .selectFrom("journal")
        .select(["sequence", "payload", "create_time"])
        .where("task_id", "=", taskId)
        .where("kind", "=", "turn")
        .orderBy("sequence")
        .execute();
    },

    /** Ledger rows of a task, oldest first, through tool_call_task_idx. */
    async toolCalls(taskId: string) {
      return await db
        .selectFrom("tool_call")
        .select([
          ...(["request_id", "tool", "state", "attempt", "arguments_digest"] as const),
          ...(["failure_class", "failure_message", "create_time", "end_time"] as const),
        ])
        .where("task_id", "=", taskId)
        .orderBy("create_time")
        .orderBy("request_id")
        .execute();
    },
  };
}
