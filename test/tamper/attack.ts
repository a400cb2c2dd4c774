// What an attack is, what it must be found as, and the statements that attacks are made of.
// Used by the attack_*.ts files, which draw attacks, and by campaign.ts, which carries them out and judges.

import type { Random } from "../../kit/random.ts";
import type { ChainRecord, ChainSegment } from "../../server/audit/chain.ts";
import type { Checkpoint } from "../../server/audit/checkpoint.ts";
import type { FindingKind } from "../../server/audit/findings.ts";
import type { Statement } from "./ground.ts";
import type { World } from "./world.ts";

/** The first finding that is expected. */
export interface Expected {
  /** Sequence of the first bad record: exactly this one, or one up to `through` where no record is bad by itself. */
  readonly sequence: number;
  readonly through?: number;
  /** One of these. */
  readonly kinds: readonly FindingKind[];
}

/** One way to tamper with a trail. */
export interface Attack {
  readonly expected: Expected;
  /** What the owner of the database runs. */
  readonly statements: readonly Statement[];
  /** The server goes on afterwards: it writes, seals, and signs. */
  readonly goesOn?: boolean;
  /** Only heads that left the database show it; else they are given in two of three. */
  readonly needsHeads?: boolean;
  /** What is done to the exported file instead. */
  readonly file?: (lines: readonly string[]) => Buffer;
}

/** Draws an attack of its kind; undefined when the trail has nothing that it could be done to. */
export type Attacker = (world: World, random: Random) => Attack | undefined;

/** Columns of audit_event that a hash covers, by the member of a record; without the id. */
export const COLUMNS = {
  ...{ time: "time", kind: "kind", namespace: "namespace", runId: "run_id", taskId: "task_id", actor: "actor" },
  ...{ onBehalfOf: "on_behalf_of", traceId: "trace_id", record: "record" },
} as const satisfies Partial<Record<keyof ChainRecord, string>>;

/** Member of a record that an edit may change. */
export type Member = keyof typeof COLUMNS;

/** Every member but the id. */
export const MEMBERS = Object.keys(COLUMNS) as readonly Member[];

/** Sequence of the record at a place. */
export const sequenceOf = (world: World, place: number): number => world.start.lastSequence + 1 + place;

/** Place of the first record of a segment. */
export const firstPlace = (world: World, segment: ChainSegment): number =>
  segment.firstSequence - world.start.lastSequence - 1;

/** Sequence after the last head, before a segment, that vouches for the trail: a stretch that was written anew is named by it. */
export function unprovenBefore(world: World, segment: number): number {
  const heads = world.heads.filter((head) => head.segment < segment && head.segment >= world.start.number);
  return (heads.at(-1)?.lastSequence ?? world.start.lastSequence) + 1;
}

/** Sequence that a record with an id would be named by if it were inserted. */
export function insertedSequence(world: World, id: string): number {
  return sequenceOf(world, world.records.filter((record) => BigInt(record.id) < BigInt(id)).length);
}

/** Ids between the first and the last sealed one that no record has. */
export function freeIds(world: World): string[] {
  const free: string[] = [];
  for (const [place, { id }] of world.records.entries()) {
    const next = world.records[place + 1]?.id;
    for (let between = BigInt(id) + 1n; next !== undefined && between < BigInt(next); between += 1n)
      free.push(`${between}`);
  }
  return free;
}

/** Gives the record with an id the content of another one. */
export function overwrite(id: string, content: ChainRecord): Statement {
  const sets = MEMBERS.map((member, index) => `${COLUMNS[member]} = $${index + 2}`);
  return [`update audit_event set ${sets.join(", ")} where id = $1`, id, ...MEMBERS.map((member) => content[member])];
}

/** Inserts a record. */
export function insertion(record: ChainRecord): Statement {
  const values = MEMBERS.map((_, index) => `$${index + 2}`);
  const names = MEMBERS.map((member) => COLUMNS[member]);
  const text = `insert into audit_event (id, ${names.join(", ")}) overriding system value values ($1, ${values.join(", ")})`;
  return [text, record.id, ...MEMBERS.map((member) => record[member])];
}

/** Deletes records. */
export const deletion = (records: readonly ChainRecord[]): Statement => [
  "delete from audit_event where id = any($1::bigint[])",
  records.map(({ id }) => id),
];

/** Replaces a segment by one of the same number. */
export function segmentUpdate(segment: ChainSegment): Statement {
  const text = `update audit_segment set last_id = $2, first_sequence = $3, last_sequence = $4, ids = $5::bigint[], hashes = $6,
    previous_head = $7, head = $8 where number = $1`;
  return [text, ...segmentValues(segment)];
}

/** Inserts a segment. */
export function segmentInsertion(segment: ChainSegment): Statement {
  const text = `insert into audit_segment (number, last_id, first_sequence, last_sequence, ids, hashes, previous_head, head, latest_time)
    values ($1, $2, $3, $4, $5::bigint[], $6, $7, $8, now())`;
  return [text, ...segmentValues(segment)];
}

function segmentValues({ number, lastId, firstSequence, lastSequence, ids, hashes, previousHead, head }: ChainSegment) {
  return [number, lastId, firstSequence, lastSequence, ids, Buffer.from(hashes.join(""), "hex"), previousHead, head];
}

/** Replaces a signed head by one of the same number. */
export function headUpdate(head: Checkpoint): Statement {
  const text = `update audit_checkpoint set segment = $2, last_id = $3, last_sequence = $4, head = $5, previous = $6, time = $7,
    key = $8, signature = $9 where number = $1`;
  return [text, ...headValues(head)];
}

function headValues({ number, segment, lastId, lastSequence, head, previous, time, key, signature }: Checkpoint) {
  return [number, segment, lastId, lastSequence, head, previous, time, key, signature];
}
