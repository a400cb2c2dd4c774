// Attacks on segments and on what retention left: edited, deleted, exchanged, doubled, and the mark of the beginning moved.
// Drawn by campaign.ts. Records are untouched by most of them: then the first record that the changed segment concerns is named.

import type { Random } from "../../kit/random.ts";
import type { ChainSegment } from "../../server/audit/chain.ts";
import type { FindingKind } from "../../server/audit/findings.ts";
import {
  type Attack,
  type Attacker,
  deletion,
  firstPlace,
  freeIds,
  segmentInsertion,
  segmentUpdate,
  unprovenBefore,
} from "./attack.ts";
import { below, chance, pick, places } from "./dice.ts";
import type { Statement } from "./ground.ts";
import type { World } from "./world.ts";

const hash = (random: Random) => Buffer.from(random.bytes(32)).toString("hex");

type Change = (
  segment: ChainSegment,
  world: World,
  random: Random,
) => [Partial<ChainSegment>, readonly FindingKind[], place?: number];

const CHANGES: readonly Change[] = [
  ({ head }, _, random) => [{ head: flipped(random, head) }, ["edited"]],
  (_, __, random) => [{ head: hash(random) }, ["edited"]],
  ({ previousHead }, _, random) => [{ previousHead: flipped(random, previousHead) }, ["edited"]],
  ({ firstSequence }, _, random) => [{ firstSequence: Math.max(0, firstSequence - 1 - below(random, 3)) }, ["edited"]],
  ({ firstSequence, lastSequence }, _, random) => {
    const other = Math.max(firstSequence, lastSequence - 3) + below(random, 9);
    return [{ lastSequence: other === lastSequence ? other + 1 : other }, ["edited"]];
  },
  ({ lastId }, _, random) => [{ lastId: String(BigInt(lastId) + 1n + BigInt(below(random, 4))) }, ["edited"]],
  ({ lastId }) => [{ lastId: String(BigInt(lastId) - 1n) }, ["edited"]],
  ({ hashes }, _, random) => {
    const place = below(random, hashes.length);
    return [{ hashes: hashes.with(place, flipped(random, hashes[place] as string)) }, ["edited"], place];
  },
  ({ ids, hashes }) => [{ ids: ids.slice(0, -1), hashes: hashes.slice(0, -1) }, ["edited"]],
];

function flipped(random: Random, text: string): string {
  const at = below(random, text.length);
  const other = pick(
    random,
    [..."0123456789abcdef"].filter((digit) => digit !== text[at]),
  );
  return `${text.slice(0, at)}${other}${text.slice(at + 1)}`;
}

const edited: Attacker = (world, random) => {
  const segment = pick(random, world.segments);
  const [change, kinds, place = 0] = pick(random, CHANGES)(segment, world, random);
  return {
    statements: [segmentUpdate({ ...segment, ...change })],
    expected: { sequence: segment.firstSequence + place, kinds },
  };
};

// Two of its hashes, of its ids, or of both change places.
const listReordered: Attacker = (world, random) => {
  const segment = pick(random, world.segments);
  const [low, high] = places(random, segment.ids.length, 2) as [number, number];
  if (high === undefined) return undefined;
  const exchange = (list: readonly string[]) => list.with(low, list[high] as string).with(high, list[low] as string);
  const [ids, hashes] = [exchange(segment.ids), exchange(segment.hashes)];
  const sequence = segment.firstSequence + low;
  switch (below(random, 3)) {
    case 0:
      return { statements: [segmentUpdate({ ...segment, hashes })], expected: { sequence, kinds: ["edited"] } };
    case 1:
      return reorderedIds({ ...segment, ids });
    default:
      return reorderedIds({ ...segment, ids, hashes });
  }
};

function reorderedIds(segment: ChainSegment): Attack {
  const { firstSequence, ids } = segment;
  return {
    statements: [segmentUpdate(segment)],
    expected: { sequence: firstSequence, through: firstSequence + ids.length - 1, kinds: ["reordered", "edited"] },
  };
}

// Its list names an id that no record has.
const idReplaced: Attacker = (world, random) => {
  const segment = pick(random, world.segments);
  const place = below(random, segment.ids.length);
  const [from, to] = [BigInt(segment.ids[place - 1] ?? 0), BigInt(segment.ids[place + 1] ?? segment.lastId)];
  const free = freeIds(world).filter((id) => BigInt(id) > from && BigInt(id) < to);
  if (free.length === 0) return undefined;
  const ids = segment.ids.with(place, pick(random, free));
  const isLast = place === ids.length - 1;
  const sequence = segment.firstSequence + (isLast ? 0 : place);
  return { statements: [segmentUpdate({ ...segment, ids })], expected: { sequence, kinds: ["edited"] } };
};

const deleted: Attacker = (world, random) => {
  const segment = pick(random, world.segments.slice(0, -1));
  const records = world.records.slice(firstPlace(world, segment), firstPlace(world, segment) + segment.ids.length);
  const alone = chance(random, 0.5);
  if (!alone && world.start.number > 0 && records.some(({ kind }) => kind === "retention.removed")) return undefined;
  const statements: Statement[] = [["delete from audit_segment where number = $1", segment.number]];
  if (!alone) statements.push(deletion(records));
  return { statements, expected: { sequence: segment.firstSequence, kinds: ["missing"] } };
};

const exchanged: Attacker = (world, random) => {
  const [low, high] = places(random, world.segments.length, 2) as [number, number];
  const [one, two] = [world.segments[low], world.segments[high ?? -1]];
  if (one === undefined || two === undefined) return undefined;
  const statements = [segmentUpdate({ ...two, number: one.number }), segmentUpdate({ ...one, number: two.number })];
  return { statements, expected: { sequence: one.firstSequence, kinds: ["reordered"] } };
};

const renumbered: Attacker = (world, random) => {
  const segment = pick(random, world.segments.slice(0, -1));
  const number = world.segments.length + world.start.number + 1 + below(random, 9);
  const statements: Statement[] = [["update audit_segment set number = $2 where number = $1", segment.number, number]];
  return { statements, expected: { sequence: segment.firstSequence, kinds: ["missing"] } };
};

// A number twice, which only an owner who drops the key can do.
const doubled: Attacker = (world, random) => {
  const segment = pick(random, world.segments);
  const other = chance(random, 0.5) ? segment : { ...segment, head: hash(random) };
  const statements: Statement[] = [
    ["alter table audit_segment drop constraint audit_segment_pkey"],
    segmentInsertion(other),
  ];
  const expected = { sequence: segment.firstSequence, through: segment.lastSequence + 1 };
  return { statements, expected: { ...expected, kinds: ["forked", "edited", "inserted", "missing"] } };
};

// Two segments become one with the same records and the same head, and all later ones are numbered anew.
const merged: Attacker = (world, random) => {
  const at = below(random, world.segments.length - 1);
  const [one, two] = [world.segments[at], world.segments[at + 1]] as [ChainSegment, ChainSegment];
  const whole = { ...two, number: one.number, firstSequence: one.firstSequence, previousHead: one.previousHead };
  const ids = [...one.ids, ...two.ids];
  const later = world.segments.slice(at + 2).map(({ number }) => number);
  const statements: Statement[] = [
    ["delete from audit_segment where number = $1", two.number],
    segmentUpdate({ ...whole, ids, hashes: [...one.hashes, ...two.hashes] }),
    ...later.map((number): Statement => ["update audit_segment set number = $1 - 1 where number = $1", number]),
  ];
  const sequence = unprovenBefore(world, one.number);
  return {
    statements,
    expected: { sequence, through: (world.segments.at(-1)?.lastSequence ?? 0) + 1, kinds: ["forked", "truncated"] },
  };
};

// Somebody claims that retention removed more, or less, than it did.
const beginningMoved: Attacker = (world, random) => {
  const { number, lastId, lastSequence, head } = world.start;
  const segment = pick(random, world.segments);
  const other = pick(random, [
    { number: segment.number, lastId: segment.lastId, lastSequence: segment.lastSequence, head: segment.head },
    { number: number + 1, lastId, lastSequence, head },
    { number, lastId, lastSequence, head: flipped(random, head) },
    { number, lastId: String(BigInt(lastId) + 1n), lastSequence, head },
    { number, lastId, lastSequence: lastSequence + 1 + below(random, 5), head },
  ]);
  const text = "update audit_removal set number = $1, last_id = $2, last_sequence = $3, head = $4";
  const expected = { sequence: 1, through: Math.max(other.lastSequence, world.start.lastSequence) + 1 };
  const kinds: FindingKind[] = ["missing", "edited", "forked", "reordered"];
  return {
    statements: [[text, other.number, other.lastId, other.lastSequence, other.head]],
    expected: { ...expected, kinds },
  };
};

/** Each with its weight. */
export const SEGMENT_ATTACKS: Readonly<Record<string, readonly [number, Attacker]>> = {
  segment_edited: [16, edited],
  segment_list_reordered: [5, listReordered],
  segment_id_replaced: [3, idReplaced],
  segment_deleted: [6, deleted],
  segments_exchanged: [4, exchanged],
  segment_renumbered: [3, renumbered],
  segment_doubled: [3, doubled],
  segments_merged: [3, merged],
  beginning_moved: [4, beginningMoved],
};
