// Reading dead letters for people: pages by filter, and one with everything that was kept of it. Never locks, never writes.
// Called by commands/read_dead_letters.ts and, for what is to be replayed, by commands/replay_dead_letters.ts.

import { sql } from "kysely";
import type { Queryable } from "./bulk.ts";

/** What to list; absent members do not filter. */
export interface DeadLetterFilter {
  readonly namespace?: string | undefined;
  readonly workflow?: string | undefined;
  readonly agent?: string | undefined;
  readonly cause?: string | undefined;
  readonly failureClass?: string | undefined;
  readonly runId?: string | undefined;
  /** Inclusive and exclusive bounds of the time of parking. */
  readonly parkedFrom?: Date | undefined;
  readonly parkedBefore?: Date | undefined;
  /** Only those that nobody decided about. */
  readonly open: boolean;
}

/** A dead letter. */
export interface DeadLetterReadRow {
  readonly task_id: string;
  readonly run_id: string;
  readonly namespace: string;
  readonly workflow: string;
  readonly node: string;
  readonly agent: string;
  readonly cause: string;
  readonly failure_class: string;
  readonly failure_message: string;
  readonly attempt: number;
  readonly deliveries: number;
  readonly state: "open" | "replayed" | "discarded";
  readonly park_time: Date;
  readonly resolve_time: Date | null;
  readonly resolved_by: string | null;
  readonly replay_task_id: string | null;
  readonly replay_run_id: string | null;
}

/** A dead letter with its task and run, as a replay needs them. */
export interface ReplayableRow extends DeadLetterReadRow {
  readonly iteration: number;
  readonly input: string;
  readonly origin_task_id: string;
  readonly replay_of: string | null;
  readonly run_state: string;
  /** Specs that the task used. */
  readonly bundle_digest: string;
}

/** The newest task of a node. */
interface NewestTaskRow {
  readonly id: string;
  readonly node: string;
  readonly iteration: number;
  readonly origin_task_id: string;
  readonly end_time: Date | null;
}

/** How a node, or an item of it, ended in an iteration. */
export interface RoundRow {
  readonly id: string;
  readonly node: string;
  readonly iteration: number;
  readonly item: number;
  readonly agent: string;
  readonly state: string;
  readonly output: string | null;
  readonly failure_class: string | null;
  readonly failure_message: string | null;
  readonly end_time: Date | null;
}

const LETTER = sql.raw(`d.task_id, d.run_id, d.namespace, d.workflow, d.node, d.agent, d.cause, d.failure_class,
  d.failure_message, d.attempt, d.deliveries, d.state, d.park_time, d.resolve_time, d.resolved_by, d.replay_task_id, d.replay_run_id`);

/** Read queries of dead letters. */
export function deadLetterReads(db: Queryable) {
  return {
    /** A page by task id; open ones of a namespace through dead_letter_open_idx. */
    async list(filter: DeadLetterFilter, after: string, limit: number): Promise<DeadLetterReadRow[]> {
      const { namespace, workflow, agent, cause, failureClass, runId, parkedFrom, parkedBefore, open } = filter;
      const equals = (column: string, value: string | undefined) =>
        value === undefined ? sql`true` : sql`${sql.ref(column)} = ${value}`;
      const { rows } = await sql<DeadLetterReadRow>`
        select ${LETTER} from dead_letter d where d.task_id > ${after} and ${open ? sql`d.state = 'open'` : sql`true`}
          and ${equals("d.namespace", namespace)} and ${equals("d.workflow", workflow)} and ${equals("d.agent", agent)}
          and ${equals("d.cause", cause)} and ${equals("d.failure_class", failureClass)} and ${equals("d.run_id", runId)}
          and ${parkedFrom === undefined ? sql`true` : sql`d.park_time >= ${parkedFrom}`}
          and ${parkedBefore === undefined ? sql`true` : sql`d.park_time < ${parkedBefore}`}
        order by d.task_id limit ${limit}`.execute(db);
      return rows;
    },

    /** One with its task and run. */
    async one(taskId: string): Promise<ReplayableRow | undefined> {
      const { rows } = await sql<ReplayableRow>`
        select ${LETTER}, t.iteration, t.input, t.origin_task_id, t.replay_of, r.state as run_state,
          coalesce(t.bundle_digest, r.bundle_digest) as bundle_digest
        from dead_letter d join task t on t.id = d.task_id join run r on r.id = d.run_id
        where d.task_id = ${taskId}`.execute(db);
      return rows[0];
    },

    /** Every call of a lineage, oldest first; tool_call_pkey by prefix, tool_call_origin_idx. */
    async lineageCalls(originTaskId: string) {
      return await db
        .selectFrom("tool_call")
        .select([
          ...(["request_id", "tool", "state", "attempt", "arguments_digest"] as const),
          ...(["failure_class", "failure_message", "create_time", "end_time"] as const),
        ])
        .where((eb) =>
          eb.or([
            eb.and([eb("request_id", ">=", `auto:${originTaskId}/`), eb("request_id", "<", `auto:${originTaskId}0`)]),
            eb("origin_task_id", "=", originTaskId),
          ]),
        )
        .orderBy("create_time")
        .orderBy("request_id")
        .execute();
    },

    /** Everything of a finished run that a new one begins with. */
    async finishedRun(runId: string) {
      const run = await db.selectFrom("run").selectAll().where("id", "=", runId).executeTakeFirstOrThrow();
      const done = await db
        .selectFrom("node_state")
        .select(["node", "iteration", "output"])
        .where("run_id", "=", runId)
        .where("state", "=", "SUCCEEDED")
        .where("output", "is not", null)
        .execute();
      const { rows: tasks } = await sql<NewestTaskRow>`
        select distinct on (node) id, node, iteration, origin_task_id, end_time from task
        where run_id = ${runId} order by node, id desc`.execute(db);
      return { run, done, tasks };
    },

    /** The tasks of a run's nodes in iterations before their newest one, of each item the last; through task_run_idx. */
    async earlierRounds(runId: string, limit: number): Promise<RoundRow[]> {
      const { rows } = await sql<RoundRow>`
        select distinct on (t.node, t.iteration, t.item) t.id, t.node, t.iteration, t.item, t.agent, t.state, t.output,
          t.failure_class, t.failure_message, t.end_time
        from task t join node_state n on n.run_id = t.run_id and n.node = t.node
        where t.run_id = ${runId} and t.iteration < n.iteration
        order by t.node, t.iteration, t.item, t.id desc limit ${limit}`.execute(db);
      return rows;
    },
  };
}
