// Open grants of tools that are limited, and the tool_waiter table: calls that were told to wait, in the order in which they came.
// Called by commands/tool_turns.ts through the store. Lock order: a lock for each tool, ids ascending, after the ledger and before limits.
// What has not asked for a while is passed over, for its task may be gone; it keeps its place until it is forgotten.

import { sql } from "kysely";
import { type Queryable, recordSet } from "./bulk.ts";

/** A tool that is limited. */
export interface LimitedTool {
  /** "namespace/name". */
  readonly tool: string;
  readonly max: number;
}

/** A tool under its lock. */
export interface ToolTurnRow {
  readonly tool: string;
  /** Grants that neither ended nor expired. */
  readonly open: number;
  /** Request ids of calls that wait and still ask, the first ones first; as many as could be granted at most. */
  readonly waiters: string[];
}

/** Queries of open grants and of the tool_waiter table. */
export function toolTurnQueries(db: Queryable) {
  return {
    /** Locks tools until the end of the transaction: of a tool, one grant after the other is decided, on all replicas. */
    async lock(tools: readonly string[]): Promise<void> {
      await sql`select pg_advisory_xact_lock(hashtextextended('tool:' || id, 0))
        from (select id from unnest(${tools}::text[]) as x(id) order by id) o`.execute(db);
    },

    /** Open grants and waiting calls, read after the lock. Through tool_call_limited_idx and tool_waiter_turn_idx; bound: max a tool. */
    async read(tools: readonly LimitedTool[], freshMs: number): Promise<ToolTurnRow[]> {
      const result = await sql<ToolTurnRow>`
        select x.tool,
          (select count(*) from tool_call c where c.limited_tool = x.tool and c.state = 'granted'
            and c.grant_expire_time > clock_timestamp())::integer as open,
          (select coalesce(json_agg(w.request_id order by w.since, w.request_id), '[]') from (
            select request_id, since from tool_waiter where tool = x.tool
              and seen_time > clock_timestamp() - ${freshMs} * interval '1 ms'
            order by since, request_id limit x.max) w) as waiters
        from json_to_recordset(${recordSet(tools)}::json) as x(tool text, max integer)`.execute(db);
      return result.rows;
    },

    /** These calls wait, and have asked just now, in this order; who waits already keeps its place. */
    async wait(rows: readonly { readonly tool: string; readonly request_id: string }[]): Promise<void> {
      if (rows.length === 0) return;
      await sql`
        insert into tool_waiter (tool, request_id)
        select tool, request_id from json_to_recordset(${recordSet(rows)}::json)
          as x(tool text, request_id text)
        on conflict (tool, request_id) do update set seen_time = clock_timestamp()`.execute(db);
    },

    /** These calls wait no more. */
    async leave(rows: readonly { readonly tool: string; readonly request_id: string }[]): Promise<void> {
      if (rows.length === 0) return;
      await sql`
        delete from tool_waiter w using json_to_recordset(${recordSet(rows)}::json) as x(tool text, request_id text)
        where w.tool = x.tool and w.request_id = x.request_id`.execute(db);
    },

    /** Forgets calls that have not asked for so long. There are as many as were waiting at a time. */
    async forget(unseenMs: number): Promise<void> {
      await sql`delete from tool_waiter where seen_time < clock_timestamp() - ${unseenMs} * interval '1 ms'`.execute(
        db,
      );
    },
  };
}
