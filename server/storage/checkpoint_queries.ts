// The audit_checkpoint table: the signed heads of the chain, one row each, numbered without gaps.
// Called by commands/sign_audit.ts, export_audit.ts and remove_expired.ts through the store.
// Never updates a row; triggers would refuse it.

import { sql } from "kysely";
import type { Checkpoint } from "../audit/checkpoint.ts";
import type { Queryable } from "./bulk.ts";
import { HEAD } from "./segment_queries.ts";

// Numbers leave as text and come in as JavaScript numbers: they stay far below 2^53.
type Row = Omit<Checkpoint, "number" | "segment" | "lastSequence"> &
  Record<"number" | "segment" | "lastSequence", string>;

const COLUMNS = sql.raw(
  `number::text, segment::text, last_id::text as "lastId", last_sequence::text as "lastSequence", head, previous, time, key, signature`,
);

/** Queries of the audit_checkpoint table. */
export function checkpointQueries(db: Queryable) {
  return {
    /** The newest one. By primary key. */
    async last(): Promise<Checkpoint | undefined> {
      const { rows } = await sql<Row>`
        select ${COLUMNS} from audit_checkpoint order by audit_checkpoint.number desc limit 1`.execute(db);
      return rows[0] && checkpointOf(rows[0]);
    },

    /** The newest one if it signs the newest segment, and no other has its number. By primary keys. */
    async current(): Promise<Checkpoint | undefined> {
      const { rows } = await sql<Row>`
        select ${COLUMNS} from audit_checkpoint where number = (select max(number) from audit_checkpoint)
          and segment = (select number::bigint from (${HEAD}) head)`.execute(db);
      return rows.length === 1 ? checkpointOf(rows[0] as Row) : undefined;
    },

    /** Those after a number, in order, doubled ones together. By primary key; bound: limit. */
    async list(afterNumber: number, limit: number): Promise<Checkpoint[]> {
      const { rows } = await sql<Row>`
        select ${COLUMNS} from audit_checkpoint where number > ${afterNumber}
        order by audit_checkpoint.number fetch first (${limit}::bigint) rows with ties`.execute(db);
      return rows.map(checkpointOf);
    },

    /** The number of the last one that signs a segment up to this one; 0 if there is none. Walks the primary key backwards. */
    async lastThrough(segment: number): Promise<number> {
      const { rows } = await sql<{ number: string }>`
        select number::text from audit_checkpoint where segment <= ${segment}
        order by audit_checkpoint.number desc limit 1`.execute(db);
      return Number(rows[0]?.number ?? 0);
    },

    /** The segment of the first one that signs this segment or a later one. Walks the primary key. */
    async firstFrom(segment: number): Promise<number | undefined> {
      const { rows } = await sql<{ segment: string }>`
        select segment::text from audit_checkpoint where segment >= ${segment}
        order by audit_checkpoint.number limit 1`.execute(db);
      return rows[0] && Number(rows[0].segment);
    },

    /** Adds one. False when another replica took its number first: the primary key is the compare-and-set. */
    async insert(one: Checkpoint): Promise<boolean> {
      const result = await sql<{ number: bigint }>`
        insert into audit_checkpoint (number, segment, last_id, last_sequence, head, previous, time, key, signature)
        values (${one.number}, ${one.segment}, ${one.lastId}::bigint, ${one.lastSequence}, ${one.head}, ${one.previous},
          ${one.time}, ${one.key}, ${one.signature})
        on conflict (number) do nothing returning number`.execute(db);
      return result.rows.length > 0;
    },

    /** Deletes those whose segments the transaction marked as removed, but never the newest one. */
    async deleteThrough(segment: number): Promise<void> {
      await sql`
        delete from audit_checkpoint
        where segment <= ${segment} and number < (select max(number) from audit_checkpoint)`.execute(db);
    },
  };
}

function checkpointOf(row: Row): Checkpoint {
  const { number, segment, lastSequence } = row;
  return { ...row, number: Number(number), segment: Number(segment), lastSequence: Number(lastSequence) };
}
