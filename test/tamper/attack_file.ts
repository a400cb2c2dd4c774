// Attacks on an exported file instead of the database: cut off, a line edited, deleted, doubled, exchanged, a byte changed.
// Drawn by campaign.ts; verified through the file, as `orloj audit verify` reads it.

import { type Attack, type Attacker, sequenceOf } from "./attack.ts";
import { below, pick, places } from "./dice.ts";
import type { World } from "./world.ts";

type Lines = readonly string[];
const text = (lines: Lines) => Buffer.from(lines.map((line) => `${line}\n`).join(""));
const isRecord = (line: string) => line.startsWith('{"type":"record"');
const isOf = (world: World, place: number) => (line: string) =>
  isRecord(line) && line.includes(`"id":"${world.records[place]?.id}"`);

// Anywhere, also inside of a line; what was read whole still counts.
const cutOff: Attacker = (world, random) => {
  const share = random.next();
  const kept = (lines: Lines) => {
    const whole = text(lines);
    return whole.subarray(0, Math.floor(share * (whole.length - 1)));
  };
  return {
    statements: [],
    file: kept,
    expected: { sequence: 1, through: sequenceOf(world, world.records.length), kinds: ["truncated"] },
  };
};

const cutAfterRecord: Attacker = (world, random) => {
  const place = below(random, world.records.length);
  const file = (lines: Lines) => text(lines.slice(0, lines.findIndex(isOf(world, place)) + 1));
  return { statements: [], file, expected: { sequence: sequenceOf(world, place + 1), kinds: ["truncated"] } };
};

const recordEdited: Attacker = (world, random) => {
  const place = below(random, world.records.length);
  const at = world.records[place];
  if (at === undefined || at.kind === "retention.removed") return undefined;
  return ofRecord(world, place, ["edited"], (line) => [line.replace(`"kind":"${at.kind}"`, '"kind":"decision"')]);
};

const recordDeleted: Attacker = (world, random) => {
  const place = below(random, world.records.length);
  if (world.records[place]?.kind === "retention.removed") return undefined;
  return ofRecord(world, place, ["missing"], () => []);
};

const recordDoubled: Attacker = (world, random) =>
  ofRecord(world, below(random, world.records.length), ["inserted"], (line) => [line, line]);

// In one segment; across two, each is missing from its own and a stranger in the other.
const recordsExchanged: Attacker = (world, random) => {
  const segment = pick(random, world.segments);
  const [low, high] = places(random, segment.ids.length, 2) as [number, number];
  if (high === undefined) return undefined;
  const first = segment.firstSequence - world.start.lastSequence - 1;
  const file = (lines: Lines) => {
    const [one, two] = [low, high].map((place) => lines.findIndex(isOf(world, first + place))) as [number, number];
    return text(lines.with(one, lines[two] as string).with(two, lines[one] as string));
  };
  return { statements: [], file, expected: { sequence: segment.firstSequence + low, kinds: ["reordered"] } };
};

function ofRecord(
  world: World,
  place: number,
  kinds: Attack["expected"]["kinds"],
  change: (line: string) => readonly string[],
): Attack {
  const file = (lines: Lines) => text(lines.flatMap((line) => (isOf(world, place)(line) ? change(line) : [line])));
  return { statements: [], file, expected: { sequence: sequenceOf(world, place), kinds } };
}

// Only the last line covers all others byte for byte: what no chain covers is found by it.
const byteChanged: Attacker = (world, random) => {
  const share = random.next();
  const add = 1 + below(random, 15);
  const file = (lines: Lines) => {
    const bytes = text(lines);
    const at = Math.floor(share * bytes.length);
    bytes[at] = (bytes[at] as number) ^ add;
    return bytes;
  };
  const through = sequenceOf(world, world.records.length);
  return {
    statements: [],
    file,
    expected: {
      sequence: 1,
      through,
      kinds: ["edited", "missing", "inserted", "reordered", "truncated", "forked", "unsigned"],
    },
  };
};

const tailLost: Attacker = (world, random) => {
  const lost = 1 + below(random, 2);
  const file = (lines: Lines) => {
    const unsealed = lines.filter((line) => line.startsWith('{"type":"unsealed"'));
    return text(lines.filter((line) => !unsealed.slice(-lost).includes(line)));
  };
  if (world.unsealed === 0) return undefined;
  return { statements: [], file, expected: { sequence: sequenceOf(world, world.records.length), kinds: ["edited"] } };
};

/** Each with its weight. */
export const FILE_ATTACKS: Readonly<Record<string, readonly [number, Attacker]>> = {
  file_cut_off: [3, cutOff],
  file_cut_after_record: [2, cutAfterRecord],
  file_record_edited: [2, recordEdited],
  file_record_deleted: [2, recordDeleted],
  file_record_doubled: [1, recordDoubled],
  file_records_exchanged: [2, recordsExchanged],
  file_byte_changed: [4, byteChanged],
  file_tail_lost: [1, tailLost],
};
