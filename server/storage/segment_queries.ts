// The audit_segment and audit_removal tables: where the chain of the audit trail is, its next records, and its oldest ones going.
// Called by commands/seal_audit.ts and remove_expired.ts through the store. Never updates audit_event; triggers would refuse it.
// Orders name their table: a bare `id` would be the text of the output and sort as text.
// Segments follow ids: a record is sealed once its id is at or below a checkpoint whose transactions have all ended (read_audit.ts).

import { sql } from "kysely";
import type { ChainHead, ChainRecord, ChainSegment, HashedRecord } from "../audit/chain.ts";
import type { Queryable } from "./bulk.ts";

/** What one look at the trail found. */
export interface SealLook {
  /** Number and last id of the newest segment. */
  readonly number: string;
  readonly lastId: string;
  /** Every transaction below it has ended. */
  readonly xmin: string;
  /** Highest id that was visible; every transaction at or above bound takes higher ones. */
  readonly newestId: string;
  /** A transaction id of this look's own; null when nothing is left to seal. */
  readonly bound: string | null;
}

interface HeadRow {
  readonly number: string;
  readonly lastId: string;
  readonly lastSequence: string;
  readonly head: string;
}

/** The newest segment, or what is left of the last one that was removed. By primary key. */
export const HEAD = sql<HeadRow>`
  select number::text, last_id::text as "lastId", last_sequence::text as "lastSequence", head from (
    (select number, last_id, last_sequence, head from audit_segment order by number desc limit 1)
    union all select number, last_id, last_sequence, head from audit_removal) h order by h.number desc limit 1`;

/** Condition: records are not in a segment yet. By primary keys. */
export const UNSEALED = sql<boolean>`(select max(id) from audit_event) > (select "lastId"::bigint from (${HEAD}) sealed)`;

const timeText = (column: string) => sql.raw(`to_char(${column} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`);
// The canonical JSON that recordHash of audit/chain.ts makes: both escape the same characters in the same way.
const jsonText = (column: string) => sql`to_json(${sql.raw(column)})::text`;
const unlessEmpty = (name: string, column: string) =>
  sql`case when ${sql.raw(column)} = '' then '' else ${sql.lit(`,"${name}":`)} || ${jsonText(column)} end`;
const HASHED_TEXT = sql`'{"actor":' || ${jsonText("actor")} || ',"id":"' || id::text || '","kind":' || ${jsonText("kind")}
  || ',"namespace":' || ${jsonText("namespace")} || ${unlessEmpty("onBehalfOf", "on_behalf_of")} || ',"record":' || ${jsonText("record")}
  || ',"runId":' || ${jsonText("run_id")} || ',"taskId":' || ${jsonText("task_id")} || ',"time":"' || ${timeText("time")} || '"'
  || ${unlessEmpty("traceId", "trace_id")} || '}'`;

const runCondition = (runId: string) => (runId === "" ? sql`true` : sql`run_id = ${runId} and run_id <> ''`);

/** Queries of the audit_segment and audit_removal tables. */
export function segmentQueries(db: Queryable) {
  return {
    /** One statement, so one snapshot. Takes a transaction id only when there are unsealed records. By primary keys. */
    async look(): Promise<SealLook> {
      const result = await sql<SealLook>`
        with head as materialized (${HEAD}), newest as materialized (select coalesce(max(id), 0) as id from audit_event)
        select head.number, head."lastId", pg_snapshot_xmin(pg_current_snapshot())::text as xmin, newest.id::text as "newestId",
          case when newest.id > head."lastId"::bigint then pg_current_xact_id()::text end as bound
        from head cross join newest`.execute(db);
      return result.rows[0] as SealLook;
    },

    /** Where the chain is. */
    async head(): Promise<ChainHead> {
      const { rows } = await HEAD.execute(db);
      const { number, lastId, lastSequence, head } = rows[0] as HeadRow;
      return { number: Number(number), lastId, lastSequence: Number(lastSequence), head };
    },

    /** What retention left of the removed beginning: the chain verifies from there. */
    async beginning(): Promise<ChainHead> {
      const { rows } = await sql<HeadRow>`
        select number::text, last_id::text as "lastId", last_sequence::text as "lastSequence", head from audit_removal`.execute(
        db,
      );
      const { number, lastId, lastSequence, head } = rows[0] as HeadRow;
      return { number: Number(number), lastId, lastSequence: Number(lastSequence), head };
    },

    /** Database time in UTC with microseconds, as records and signed heads have it. */
    async time(): Promise<string> {
      const { rows } = await sql<{ time: string }>`select ${timeText("clock_timestamp()")} as time`.execute(db);
      return (rows[0] as { time: string }).time;
    },

    /** First and last id of the records of a run, or of a time. By audit_event_run_idx or audit_event_time_idx. */
    async idBounds(of: {
      readonly runId: string;
      readonly startTime: Date | undefined;
      readonly endTime: Date | undefined;
    }): Promise<{ firstId: string; lastId: string } | undefined> {
      const { rows } = await sql<{ firstId: string | null; lastId: string }>`
        with chosen as materialized (
          select id from audit_event where time >= ${of.startTime ?? "-infinity"}::timestamptz
            and time < ${of.endTime ?? "infinity"}::timestamptz and ${runCondition(of.runId)})
        select min(id)::text as "firstId", max(id)::text as "lastId" from chosen`.execute(db);
      const { firstId = null, lastId = "" } = rows[0] ?? {};
      return firstId === null ? undefined : { firstId, lastId };
    },

    /** The head before the segment that an id is in, or would be in; undefined when no segment is before it. Walks the primary key. */
    async before(id: string): Promise<ChainHead | undefined> {
      const { rows } = await sql<HeadRow>`
        select number::text, last_id::text as "lastId", last_sequence::text as "lastSequence", head from audit_segment
        where last_id < ${id}::bigint order by audit_segment.number desc limit 1`.execute(db);
      const row = rows[0];
      return row && { ...row, number: Number(row.number), lastSequence: Number(row.lastSequence) };
    },

    /** Number of the segment that an id is in; undefined while it is not sealed. Walks the primary key. */
    async numberAt(id: string): Promise<number | undefined> {
      const { rows } = await sql<{ number: string }>`
        select number::text from audit_segment where last_id >= ${id}::bigint
        order by audit_segment.number limit 1`.execute(db);
      return rows[0] && Number(rows[0].number);
    },

    /**
     * Records between two ids, as they are hashed; of one run if it is given. By primary key or audit_event_run_idx; bound: limit, and
     * an id that is there twice, because somebody dropped the key, is not torn apart.
     */
    async records(afterId: string, throughId: string, limit: number, runId = ""): Promise<ChainRecord[]> {
      const { rows } = await sql<ChainRecord>`
        select id::text, ${timeText("time")} as time, kind, namespace,
          run_id as "runId", task_id as "taskId", actor, on_behalf_of as "onBehalfOf", trace_id as "traceId", record
        from audit_event where id > ${afterId}::bigint and id <= ${throughId}::bigint and ${runCondition(runId)} order by audit_event.id
        fetch first (${limit}::bigint) rows with ties`.execute(db);
      return rows;
    },

    /**
     * The same of all runs, hashed here: reading a record to hash it elsewhere costs more than hashing it. latestTime: of the youngest, as
     * records have it; empty without records.
     */
    async hashed(
      afterId: string,
      throughId: string,
      limit: number,
    ): Promise<{ readonly records: HashedRecord[]; readonly latestTime: string }> {
      const { rows } = await sql<{ ids: string[] | null; hashes: Buffer; latestTime: string }>`
        select array_agg(id::text order by id, hash) as ids, string_agg(hash, ''::bytea order by id, hash) as hashes,
          ${timeText("max(time)")} as "latestTime"
        from (select id, time, sha256(convert_to(${HASHED_TEXT}, 'UTF8')) as hash from audit_event
          where id > ${afterId}::bigint and id <= ${throughId}::bigint
          order by audit_event.id fetch first (${limit}::bigint) rows with ties) r`.execute(db);
      const { ids, hashes, latestTime } = rows[0] as (typeof rows)[number];
      if (ids === null) return { records: [], latestTime: "" };
      const texts = hashesOf(hashes);
      return { records: ids.map((id, index) => ({ id, hash: texts[index] as string })), latestTime };
    },

    /** Adds a segment. False when another replica sealed that number first: the primary key is the compare-and-set on the head. */
    async insert(segment: ChainSegment, latestTime: string): Promise<boolean> {
      const hashes = Buffer.from(segment.hashes.join(""), "hex");
      const result = await sql<{ number: bigint }>`
        insert into audit_segment
          (number, last_id, first_sequence, last_sequence, ids, hashes, previous_head, head, latest_time)
        values (${segment.number}, ${segment.lastId}::bigint, ${segment.firstSequence}, ${segment.lastSequence},
          ${segment.ids}::bigint[], ${hashes}, ${segment.previousHead}, ${segment.head}, ${latestTime}::timestamptz)
        on conflict (number) do nothing returning number`.execute(db);
      return result.rows.length > 0;
    },

    /** Segments after a number, in order, doubled ones together. By primary key. */
    async list(afterNumber: number, limit: number): Promise<ChainSegment[]> {
      const { rows } = await sql<Omit<ChainSegment, "hashes" | "number"> & { number: string; hashes: Buffer }>`
        select number::text, last_id::text as "lastId", first_sequence::float8 as "firstSequence",
          last_sequence::float8 as "lastSequence", ids::text[] as ids, hashes, previous_head as "previousHead", head
        from audit_segment where number > ${afterNumber} order by audit_segment.number
        fetch first (${limit}::bigint) rows with ties`.execute(db);
      return rows.map((row) => ({
        ...row,
        number: Number(row.number),
        hashes: hashesOf(row.hashes),
      }));
    },

    /**
     * Marks the oldest segments as removed whose records are all older than the retention; undefined when there are none, or
     * when another replica is removing. Locks audit_removal's row; bound: limit segments from the beginning, by primary key.
     */
    async markRemoved(retentionMs: number, limit: number): Promise<ChainHead | undefined> {
      const { rows } = await sql<HeadRow>`
        with locked as materialized (select number from audit_removal for update skip locked),
        oldest as materialized (
          select s.number, s.latest_time from audit_segment s, locked order by s.number limit ${limit}),
        young as (
          select min(number) as number from oldest where latest_time >= clock_timestamp() - ${retentionMs} * interval '1 ms'),
        last as (
          select max(o.number) as number from oldest o, young y where y.number is null or o.number < y.number)
        update audit_removal r set number = last.number, retention_ms = ${retentionMs} from last
        where last.number > r.number
        returning r.number::text, r.last_id::text as "lastId", r.last_sequence::text as "lastSequence", r.head`.execute(
        db,
      );
      const row = rows[0];
      return row && { ...row, number: Number(row.number), lastSequence: Number(row.lastSequence) };
    },

    /** Deletes what the transaction marked as removed. By primary keys. */
    async deleteThrough({ number, lastId }: ChainHead): Promise<{ segments: number; records: number }> {
      const records = await sql`delete from audit_event where id <= ${lastId}::bigint`.execute(db);
      const segments = await sql`delete from audit_segment where number <= ${number}`.execute(db);
      return { segments: Number(segments.numAffectedRows ?? 0n), records: Number(records.numAffectedRows ?? 0n) };
    },
  };
}

function hashesOf(bytes: Buffer): string[] {
  return bytes.toString("hex").match(/.{64}/g) ?? [];
}
