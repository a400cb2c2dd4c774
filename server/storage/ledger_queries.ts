// The journal and tool_call tables: what a task has recorded, and every tool call by request id.
// Called by commands through the store, after the lease of the task is locked.

import { sql } from "kysely";
import { bulkInsert, type Columns, type Queryable, recordSet } from "./bulk.ts";

/** One journal entry. */
export interface JournalRow {
  readonly task_id: string;
  readonly sequence: number;
  readonly kind: "turn" | "result" | "failure";
  readonly payload: string | null;
  readonly turn_sequence: number | null;
  readonly call_index: number | null;
  readonly tool: string | null;
  readonly failure_class: string | null;
  readonly failure_message: string | null;
}

const JOURNAL_COLUMNS: Columns = {
  task_id: "text",
  sequence: "integer",
  kind: "text",
  payload: "text",
  turn_sequence: "integer",
  call_index: "integer",
  tool: "text",
  failure_class: "text",
  failure_message: "text",
};

const JOURNAL_SHAPE = sql.raw(
  Object.entries(JOURNAL_COLUMNS)
    .map(([name, type]) => `${name} ${type}`)
    .join(", "),
);

/** One ledger row. */
export interface ToolCallRow {
  readonly request_id: string;
  readonly namespace: string;
  readonly run_id: string;
  readonly task_id: string;
  readonly tool: string;
  readonly tool_generation: number;
  readonly effect: string;
  readonly arguments_digest: string;
  readonly state: "granted" | "done" | "failed" | "denied" | "unknown";
  readonly attempt: number;
  readonly grant_id: string;
  readonly grant_token: string;
  readonly grant_expire_time: Date;
  readonly result: string | null;
  readonly failure_class: string | null;
  readonly failure_message: string | null;
  /** Where in its task's journal the call was asked for that has the grant. */
  readonly turn_sequence: number;
  readonly call_index: number;
  /** Root of the lineage that has it; declared keys only: other request ids name it. */
  readonly origin_task_id: string | null;
  /** Until when other lineages may reuse its result; declared keys only. */
  readonly expire_time: Date | null;
  /** "namespace/name" of its tool if the grant counts against the tool's concurrency. */
  readonly limited_tool: string | null;
}

const TOOL_CALL_COLUMNS: Columns = {
  request_id: "text",
  namespace: "text",
  run_id: "text",
  task_id: "text",
  tool: "text",
  tool_generation: "integer",
  effect: "text",
  arguments_digest: "text",
  state: "text",
  attempt: "integer",
  grant_id: "text",
  grant_token: "text",
  grant_expire_time: "timestamptz",
  result: "text",
  failure_class: "text",
  failure_message: "text",
  turn_sequence: "integer",
  call_index: "integer",
  origin_task_id: "text",
  expire_time: "timestamptz",
  limited_tool: "text",
};

/** One call of a lineage. */
export interface LineageRow {
  readonly request_id: string;
  readonly tool: string;
  readonly state: ToolCallRow["state"];
  readonly effect: string;
  readonly origin_task_id: string;
}

/** The answer to one granted attempt. */
export interface GrantAnswer {
  readonly grant_id: string;
  readonly task_id: string;
  /** Lease token that it was granted to, and the session that presents it. */
  readonly grant_token: string;
  readonly session_id: string;
  readonly state: "done" | "failed";
  readonly result: string | null;
  readonly failure_class: string | null;
  readonly failure_message: string | null;
  /** False for a failure after which the request may have had its effect. */
  readonly known: boolean;
}

/** Queries of the journal and tool_call tables. */
export function ledgerQueries(db: Queryable) {
  return {
    /** Inserts entries; one that is there already is left as it is. */
    append: (rows: readonly JournalRow[]) =>
      bulkInsert(db, "journal", JOURNAL_COLUMNS, rows, "on conflict (task_id, sequence) do nothing"),

    /** Inserts entries that are the next ones. @throws unique violation on journal_pkey if they are not */
    appendNext: (rows: readonly JournalRow[]) => bulkInsert(db, "journal", JOURNAL_COLUMNS, rows),

    /** Appends the result of at most one call a task, and only as the next entry: a worker leaves no gap and takes no other place. */
    async appendResults(rows: readonly JournalRow[]): Promise<void> {
      if (rows.length === 0) return;
      const names = sql.raw(Object.keys(JOURNAL_COLUMNS).join(", "));
      await sql`
        insert into journal (${names}) select ${names} from json_to_recordset(${recordSet(rows)}::json) as x(${JOURNAL_SHAPE})
        where x.sequence = 1 + (select coalesce(max(j.sequence), 0) from journal j where j.task_id = x.task_id)
        on conflict (task_id, sequence) do nothing`.execute(db);
    },

    /** Entries of tasks after a sequence, in order; through the primary key. */
    async journal(taskIds: readonly string[], afterSequence = 0): Promise<JournalRow[]> {
      if (taskIds.length === 0) return [];
      const rows = await db
        .selectFrom("journal")
        .select([
          "task_id",
          "sequence",
          "kind",
          "payload",
          "turn_sequence",
          "call_index",
          "tool",
          "failure_class",
          "failure_message",
        ])
        .where("task_id", "in", [...taskIds])
        .where("sequence", ">", afterSequence)
        .orderBy("task_id")
        .orderBy("sequence")
        .execute();
      return rows as JournalRow[];
    },

    /** Length of each task's journal, and the sequence of the entry of one tool call if it is there. */
    async positions(calls: readonly { task_id: string; turn_sequence: number; call_index: number }[]) {
      if (calls.length === 0) return [];
      const result = await sql<{ task_id: string; length: number; recorded: number | null }>`
        select x.task_id, (select coalesce(max(sequence), 0) from journal j where j.task_id = x.task_id) as length,
          (select sequence from journal j where j.task_id = x.task_id and j.turn_sequence = x.turn_sequence
            and j.call_index = x.call_index) as recorded
        from json_to_recordset(${recordSet(calls)}::json) as x(task_id text, turn_sequence integer, call_index integer)`.execute(
        db,
      );
      return result.rows;
    },

    /**
     * A new attempt asks again what failed: drops the last turn of a task unless one of its tool calls was granted.
     * Nothing after that turn can be recorded without a grant but refused arguments, which go with it.
     */
    async dropUnansweredTurn(taskIds: readonly string[]): Promise<void> {
      if (taskIds.length === 0) return;
      // Calls of the lineage and not of the task alone: those that a replay inherited are still its predecessor's. By task and by
      // origin for declared keys, by request id for the others.
      await sql`
        with last as (
          select distinct on (j.task_id) j.task_id, j.sequence, t.origin_task_id, j.payload::json -> 'toolCalls' as calls
          from journal j join task t on t.id = j.task_id
          where j.task_id = any(${taskIds}::text[]) and j.kind = 'turn' order by j.task_id, j.sequence desc)
        delete from journal j using last
        where j.task_id = last.task_id and j.sequence >= last.sequence
          and not exists (select from tool_call c where c.task_id = last.task_id and c.turn_sequence = last.sequence)
          and not exists (
            select from tool_call c where c.origin_task_id = last.origin_task_id and c.turn_sequence = last.sequence)
          and not exists (
            select from generate_series(0, case json_typeof(last.calls) when 'array' then json_array_length(last.calls) else 0 end - 1) as i
            join tool_call c on c.request_id = 'auto:' || last.origin_task_id || '/' || last.sequence || '/' || i)`.execute(
        db,
      );
    },

    /**
     * Gives a task the journal of the one that it replays, without what made that one end: a last turn of which no call was
     * granted, and the answer of a call whose outcome is not on record. Primary keys, and tool_call_pkey by prefix.
     */
    async inherit(from: string, to: string, originTaskId: string): Promise<void> {
      await sql`
        with calls as (
          select turn_sequence, call_index, state from tool_call
          where (request_id >= ${`auto:${originTaskId}/`} and request_id < ${`auto:${originTaskId}0`})
            or origin_task_id = ${originTaskId}),
        cut as (
          select min(sequence) as sequence from journal j where task_id = ${from} and (
            (kind = 'turn' and sequence = (select max(sequence) from journal where task_id = ${from} and kind = 'turn')
              and not exists (select from calls c where c.turn_sequence = j.sequence))
            or (kind = 'failure' and exists (select from calls c where c.state <> 'done'
              and c.turn_sequence = j.turn_sequence and c.call_index = j.call_index
              and j.failure_class <> 'InvalidArguments')
              and sequence = (select max(sequence) from journal where task_id = ${from}))))
        insert into journal (task_id, sequence, kind, payload, turn_sequence, call_index, tool, failure_class, failure_message)
        select ${to}, sequence, kind, payload, turn_sequence, call_index, tool, failure_class, failure_message from journal
        where task_id = ${from} and sequence < coalesce((select sequence from cut), 2147483647)`.execute(db);
    },

    /** Locks the calls of lineages, ids ascending; tool_call_pkey by prefix, tool_call_origin_idx. */
    async lockLineages(originTaskIds: readonly string[]): Promise<LineageRow[]> {
      if (originTaskIds.length === 0) return [];
      const { rows } = await sql<LineageRow>`
        select c.request_id, c.tool, c.state, c.effect, o.id as origin_task_id from unnest(${originTaskIds}::text[]) as o(id)
        join tool_call c on (c.request_id >= 'auto:' || o.id || '/' and c.request_id < 'auto:' || o.id || '0')
          or c.origin_task_id = o.id
        order by c.request_id for update of c`.execute(db);
      return rows;
    },

    /** What a person found out: these calls had their effect, with these results. */
    async tellResults(rows: readonly { request_id: string; result: string }[]): Promise<void> {
      if (rows.length === 0) return;
      await sql`update tool_call c set state = 'done', result = x.result, failure_class = null, failure_message = null,
          end_time = clock_timestamp()
        from json_to_recordset(${recordSet(rows)}::json) as x(request_id text, result text)
        where c.request_id = x.request_id`.execute(db);
    },

    /** Calls that are to be tried again from the first attempt: those that failed, and those that somebody lets be repeated. */
    async renewAttempts(requestIds: readonly string[]): Promise<void> {
      if (requestIds.length === 0) return;
      await sql`update tool_call set state = 'failed', attempt = 0 where request_id = any(${requestIds}::text[])`.execute(
        db,
      );
    },

    /**
     * Locks declared keys, ascending, until the end of the transaction: two that ask for a call which has no row yet wait for each
     * other here. Rows that exist are locked by lockCalls.
     */
    async lockKeys(requestIds: readonly string[]): Promise<void> {
      if (requestIds.length === 0) return;
      await sql`select pg_advisory_xact_lock(hashtextextended(id, 0))
        from (select id from unnest(${requestIds}::text[]) as x(id) order by id) o`.execute(db);
    },

    /** Of lease tokens, those that still hold their task: a live lease, or one that expired and that nobody superseded. */
    async livingTokens(tokens: readonly { task_id: string; token: string }[]): Promise<Set<string>> {
      if (tokens.length === 0) return new Set();
      const { rows } = await sql<{ token: string }>`
        select x.token from json_to_recordset(${recordSet(tokens)}::json) as x(task_id text, token text)
        where exists (select from lease l where l.task_id = x.task_id and l.token = x.token)
          or exists (select from ready q where q.task_id = x.task_id and q.last_token = x.token)`.execute(db);
      return new Set(rows.map((row) => row.token));
    },

    /** Locks ledger rows by request id, ascending. */
    async lockCalls(requestIds: readonly string[]): Promise<ToolCallRow[]> {
      if (requestIds.length === 0) return [];
      const rows = await db
        .selectFrom("tool_call")
        .selectAll()
        .where("request_id", "in", [...requestIds])
        .orderBy("request_id")
        .forUpdate()
        .execute();
      return rows as ToolCallRow[];
    },

    /**
     * Inserts calls or overwrites the rows of the same request ids, which the caller has locked. Of several rows of one request
     * id, as when a call and its repetition meet in a batch, the last one counts.
     */
    putCalls: (rows: readonly ToolCallRow[]) =>
      bulkInsert(
        db,
        "tool_call",
        TOOL_CALL_COLUMNS,
        [...new Map(rows.map((row) => [row.request_id, row])).values()],
        `on conflict (request_id) do update set state = excluded.state, attempt = excluded.attempt, grant_id = excluded.grant_id,
          grant_token = excluded.grant_token, grant_expire_time = excluded.grant_expire_time, task_id = excluded.task_id,
          run_id = excluded.run_id, arguments_digest = excluded.arguments_digest, effect = excluded.effect,
          turn_sequence = excluded.turn_sequence, call_index = excluded.call_index,
          origin_task_id = excluded.origin_task_id, expire_time = excluded.expire_time, limited_tool = excluded.limited_tool,
          tool_generation = excluded.tool_generation, result = excluded.result, failure_class = excluded.failure_class,
          failure_message = excluded.failure_message, end_time = null`,
      ),

    /**
     * Records answers, fenced by grant id and by the token that it was granted to, void or not: only a row of that task still open with
     * that grant takes one, and not from a session while another one holds the task with that token. A row whose outcome is unknown takes only an answer that knows it. Returns the rows written.
     */
    async answer(answers: readonly GrantAnswer[]) {
      if (answers.length === 0) return [];
      const result = await sql<{
        grant_id: string;
        request_id: string;
        task_id: string;
        grant_token: string;
        session_id: string;
        run_id: string;
        namespace: string;
        tool: string;
        attempt: number;
        arguments_digest: string;
        turn_sequence: number;
        call_index: number;
      }>`
        update tool_call c set state = x.state, result = x.result, failure_class = x.failure_class,
          failure_message = x.failure_message, end_time = clock_timestamp()
        from json_to_recordset(${recordSet(answers)}::json)
          as x(grant_id text, task_id text, grant_token text, session_id text, state text, result text, failure_class text, failure_message text, known boolean)
        where c.grant_id = x.grant_id and c.task_id = x.task_id and c.grant_token = x.grant_token
          and not exists (select from lease l
            where l.task_id = c.task_id and l.token = c.grant_token and l.session_id <> x.session_id)
          and not exists (select from ready q
            where q.task_id = c.task_id and q.last_token = c.grant_token and q.last_session_id <> x.session_id)
          and (c.state = 'granted' or (c.state = 'unknown' and x.known))
        returning c.grant_id, c.request_id, c.task_id, c.grant_token, x.session_id, c.run_id, c.namespace, c.tool, c.attempt, c.arguments_digest,
          c.turn_sequence, c.call_index`.execute(db);
      return result.rows;
    },

    /** Of the tasks, those of which a call ended with a time-out; through tool_call_task_idx. */
    async timedOut(taskIds: readonly string[]): Promise<string[]> {
      if (taskIds.length === 0) return [];
      const rows = await db
        .selectFrom("tool_call")
        .select("task_id")
        .where("task_id", "in", [...taskIds])
        .where("state", "in", ["failed", "unknown"])
        .where("failure_class", "=", "Timeout")
        .execute();
      return rows.map((row) => row.task_id);
    },

    /** Marks the outcome of a call unknown: nothing repeats it until a person decides. */
    async markUnknown(grantId: string): Promise<void> {
      await db.updateTable("tool_call").set({ state: "unknown" }).where("grant_id", "=", grantId).execute();
    },

    /** Rows by grant id, to tell a resent answer from a foreign one. */
    async byGrants(grantIds: readonly string[]) {
      if (grantIds.length === 0) return [];
      return await db
        .selectFrom("tool_call")
        .select(["grant_id", "task_id", "grant_token", "state", "result", "failure_class"])
        .where("grant_id", "in", [...grantIds])
        .execute();
    },
  };
}
