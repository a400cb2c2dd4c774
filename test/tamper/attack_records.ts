// Attacks on records: edited, moved to another id, swapped, deleted, inserted, doubled, and several of these at once.
// Drawn by campaign.ts. Each knows the first record that it makes bad.

import type { Random } from "../../kit/random.ts";
import { type ChainRecord, recordHash } from "../../server/audit/chain.ts";
import {
  type Attack,
  type Attacker,
  COLUMNS,
  deletion,
  freeIds,
  insertedSequence,
  insertion,
  MEMBERS,
  type Member,
  overwrite,
  sequenceOf,
} from "./attack.ts";
import { below, chance, pick, places } from "./dice.ts";
import type { Statement } from "./ground.ts";
import type { World } from "./world.ts";

const RUN_MAX = 12;

const edit: Attacker = (world, random) => {
  const place = below(random, world.records.length);
  const victim = world.records[place] as ChainRecord;
  const changed = edited(world, random, victim);
  if (changed === undefined || explains(world, [place])) return undefined;
  return {
    statements: [overwrite(victim.id, changed)],
    expected: { sequence: sequenceOf(world, place), kinds: ["edited"] },
  };
};

// One character is enough; so is what another record has there.
function edited(world: World, random: Random, victim: ChainRecord): ChainRecord | undefined {
  const member = pick(random, MEMBERS);
  const value = chance(random, 0.4) ? pick(random, world.records)[member] : otherValue(random, member, victim[member]);
  if (value === victim[member]) return undefined;
  const changed = { ...victim, [member]: value };
  const alike = world.records.some((other) => recordHash({ ...changed, id: other.id }) === recordHash(other));
  return alike ? undefined : changed;
}

function otherValue(random: Random, member: Member, value: string): string {
  if (member === "time")
    return new Date(Date.parse(value) + 1 + below(random, 10_000_000)).toISOString().replace("Z", "000Z");
  if (value === "") return "x";
  const at = below(random, value.length);
  const other = pick(random, [...'abcxyz0189"{} ']);
  const [head, tail] = [value.slice(0, at), value.slice(at + 1)];
  return pick(random, [
    `${head}${other}${tail}`,
    `${head}${tail}`,
    `${head}${other}${value.slice(at)}`,
    "",
    value.toUpperCase(),
  ]);
}

// Where it comes to stand decides what is seen first: that it is gone from its place, or that it is in another one.
const moved: Attacker = (world, random) => {
  const place = below(random, world.records.length);
  const victim = world.records[place] as ChainRecord;
  const free = freeIds(world);
  if (free.length === 0) return undefined;
  const id = pick(random, free);
  const statements: Statement[] = [["update audit_event set id = $2 where id = $1", victim.id, id]];
  const inOne = (one: string) => world.segments.find(({ lastId }) => BigInt(one) <= BigInt(lastId))?.number;
  const own = sequenceOf(world, place);
  if (inOne(id) === inOne(victim.id)) return { statements, expected: { sequence: own, kinds: ["edited"] } };
  const there = insertedSequence(world, id);
  if (there < own) return { statements, expected: { sequence: there, kinds: ["inserted"] } };
  return { statements, expected: { sequence: own, kinds: ["missing"] } };
};

const swapped: Attacker = (world, random) => {
  const [low, high] = places(random, world.records.length, 2) as [number, number];
  if (high === undefined || explains(world, [low, high])) return undefined;
  return exchanged(world, [low, high], [high, low]);
};

const rotated: Attacker = (world, random) => {
  const drawn = places(random, world.records.length, 3);
  if (drawn.length < 3 || explains(world, drawn)) return undefined;
  const [one, two, three] = drawn as [number, number, number];
  return exchanged(world, [one, two, three], chance(random, 0.5) ? [two, three, one] : [three, one, two]);
};

function exchanged(world: World, at: readonly number[], from: readonly number[]): Attack {
  const record = (place: number) => world.records[place] as ChainRecord;
  const statements = at.map((place, index) => overwrite(record(place).id, record(from[index] as number)));
  return { statements, expected: { sequence: sequenceOf(world, Math.min(...at)), kinds: ["reordered"] } };
}

const exchangedIds: Attacker = (world, random) => {
  const [low, high] = places(random, world.records.length, 2) as [number, number];
  if (high === undefined) return undefined;
  const ids = [low, high].map((place) => world.records[place]?.id);
  const statements: Statement[] = [
    ["update audit_event set id = -1 where id = $1", ids[0]],
    ["update audit_event set id = $2 where id = $1", ids[1], ids[0]],
    ["update audit_event set id = $1 where id = -1", ids[1]],
  ];
  return { statements, expected: { sequence: sequenceOf(world, low), kinds: ["reordered"] } };
};

const oneColumnSwapped: Attacker = (world, random) => {
  const [low, high] = places(random, world.records.length, 2) as [number, number];
  const member = pick(random, MEMBERS);
  const [one, two] = [world.records[low], world.records[high ?? -1]];
  if (one === undefined || two === undefined || one[member] === two[member]) return undefined;
  if (explains(world, [low, high])) return undefined;
  const column = COLUMNS[member];
  const set = `update audit_event set ${column} = $2 where id = $1`;
  const statements: Statement[] = [
    [set, one.id, two[member]],
    [set, two.id, one[member]],
  ];
  const alike = MEMBERS.every((other) => other === member || one[other] === two[other]);
  return { statements, expected: { sequence: sequenceOf(world, low), kinds: [alike ? "reordered" : "edited"] } };
};

const deletedOne: Attacker = (world, random) => {
  const place = below(random, world.records.length);
  return gone(world, [place]);
};

const deletedRun: Attacker = (world, random) => {
  const from = below(random, world.records.length);
  const count = Math.min(2 + below(random, RUN_MAX), world.records.length - from);
  return gone(
    world,
    Array.from({ length: count }, (_, index) => from + index),
  );
};

const deletedSome: Attacker = (world, random) =>
  gone(world, places(random, world.records.length, 2 + below(random, 5)));

function gone(world: World, at: readonly number[]): Attack {
  const records = at.map((place) => world.records[place] as ChainRecord);
  return { statements: [deletion(records)], expected: removed(world, at) };
}

// One of them is the record of retention: without it nothing says why the trail does not begin with its first record.
function explains(world: World, at: readonly number[]): boolean {
  return world.start.number > 0 && at.some((place) => world.records[place]?.kind === "retention.removed");
}

function removed(world: World, at: readonly number[]): Attack["expected"] {
  return { sequence: explains(world, at) ? 1 : sequenceOf(world, Math.min(...at)), kinds: ["missing"] };
}

const inserted: Attacker = (world, random) => {
  const free = freeIds(world);
  if (free.length === 0) return undefined;
  const ids = places(random, free.length, chance(random, 0.7) ? 1 : 1 + below(random, 6)).map(
    (at) => free[at] as string,
  );
  const statements = ids.map((id) => insertion({ ...pick(random, world.records), id }));
  return { statements, expected: { sequence: insertedSequence(world, ids[0] as string), kinds: ["inserted"] } };
};

// An id twice, which only an owner who drops the key can do.
const doubled: Attacker = (world, random) => {
  const place = below(random, world.records.length);
  const victim = world.records[place] as ChainRecord;
  const copy = chance(random, 0.5) ? victim : edited(world, random, victim);
  if (copy === undefined) return undefined;
  const statements: Statement[] = [["alter table audit_event drop constraint audit_event_pkey"], insertion(copy)];
  const kinds = copy === victim ? (["inserted"] as const) : (["inserted", "edited"] as const);
  return { statements, expected: { sequence: sequenceOf(world, place), kinds } };
};

const several: Attacker = (world, random) => {
  const at = places(random, world.records.length, 2 + below(random, 4));
  if (explains(world, at)) return undefined;
  const done = at.map((place) => {
    const victim = world.records[place] as ChainRecord;
    const changed = edited(world, random, victim);
    return changed === undefined || chance(random, 0.3)
      ? { kind: "missing" as const, statement: deletion([victim]) }
      : { kind: "edited" as const, statement: overwrite(victim.id, changed) };
  });
  const kind = done[0]?.kind ?? "missing";
  const expected = { sequence: sequenceOf(world, at[0] as number), kinds: [kind] };
  return { statements: done.map(({ statement }) => statement), expected };
};

/** Each with its weight. */
export const RECORD_ATTACKS: Readonly<Record<string, readonly [number, Attacker]>> = {
  record_edited: [30, edit],
  record_moved: [8, moved],
  records_swapped: [12, swapped],
  records_rotated: [4, rotated],
  ids_swapped: [4, exchangedIds],
  column_swapped: [6, oneColumnSwapped],
  record_deleted: [10, deletedOne],
  records_deleted_in_a_row: [6, deletedRun],
  records_deleted_here_and_there: [5, deletedSome],
  record_inserted: [12, inserted],
  record_doubled: [3, doubled],
  records_changed_and_deleted: [6, several],
};
