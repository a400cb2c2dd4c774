// Attacks on signed heads: edited, deleted, exchanged, doubled, signed with a key of somebody else.
// Drawn by campaign.ts. The first record that the last good head before does not cover is named.

import type { Random } from "../../kit/random.ts";
import { type Checkpoint, signCheckpoint } from "../../server/audit/checkpoint.ts";
import { type Attacker, headUpdate } from "./attack.ts";
import { below, pick, places } from "./dice.ts";
import { newKey, type Statement } from "./ground.ts";
import type { World } from "./world.ts";

const foreign = newKey();

/** Heads that are in the export: those after what retention removed. */
const present = (world: World) => world.heads.filter(({ segment }) => segment > world.start.number);

const afterHeadBefore = (world: World, head: Checkpoint) =>
  (present(world).findLast(({ number }) => number < head.number)?.lastSequence ?? world.start.lastSequence) + 1;

type Change = (head: Checkpoint, random: Random) => Partial<Checkpoint>;

const CHANGES: readonly Change[] = [
  ({ segment }, random) => ({ segment: segment + 1 + below(random, 3) }),
  ({ lastId }) => ({ lastId: String(BigInt(lastId) + 1n) }),
  ({ lastSequence }) => ({ lastSequence: lastSequence - 1 }),
  ({ head }) => ({ head: head.startsWith("0") ? head.replace("0", "1") : head.replace(/./, "0") }),
  ({ previous }) => ({ previous: previous.startsWith("0") ? previous.replace("0", "1") : previous.replace(/./, "0") }),
  ({ time }) => ({ time: time.replace(/\d(?=Z)/, (digit) => String((Number(digit) + 1) % 10)) }),
  () => ({ key: foreign.name }),
  ({ signature }) => ({ signature: signature.startsWith("A") ? `B${signature.slice(1)}` : `A${signature.slice(1)}` }),
  () => ({ signature: "" }),
];

const edited: Attacker = (world, random) => {
  const head = pick(random, present(world));
  const statements = [headUpdate({ ...head, ...pick(random, CHANGES)(head, random) })];
  return { statements, expected: { sequence: afterHeadBefore(world, head), kinds: ["unsigned"] } };
};

const signedByOther: Attacker = (world, random) => {
  const head = pick(random, present(world));
  const { signature: _, key: __, ...content } = head;
  const statements = [headUpdate(signCheckpoint(content, foreign))];
  return { statements, expected: { sequence: afterHeadBefore(world, head), kinds: ["unsigned"] } };
};

const deletedOne: Attacker = (world, random) => {
  const head = pick(random, present(world));
  const statements: Statement[] = [["delete from audit_checkpoint where number = $1", head.number]];
  const kinds = present(world).length === 1 ? (["missing", "unsigned"] as const) : (["missing"] as const);
  return { statements, needsHeads: true, expected: { sequence: afterHeadBefore(world, head), kinds } };
};

const deletedAll: Attacker = (world) => {
  const sequence = world.start.lastSequence + 1;
  return { statements: [["delete from audit_checkpoint"]], expected: { sequence, kinds: ["missing", "unsigned"] } };
};

// Their numbers change places.
const exchanged: Attacker = (world, random) => {
  const heads = present(world);
  const [low, high] = places(random, heads.length, 2) as [number, number];
  const [one, two] = [heads[low], heads[high ?? -1]];
  if (one === undefined || two === undefined) return undefined;
  const statements = [headUpdate({ ...two, number: one.number }), headUpdate({ ...one, number: two.number })];
  return { statements, expected: { sequence: afterHeadBefore(world, one), kinds: ["unsigned"] } };
};

const copied: Attacker = (world, random) => {
  const head = pick(random, present(world));
  const number = (world.heads.at(-1)?.number ?? 0) + 1 + below(random, 3);
  const text = `insert into audit_checkpoint select $2::bigint, segment, last_id, last_sequence, head, previous, time, key, signature
    from audit_checkpoint where number = $1`;
  const sequence = (world.segments.at(-1)?.lastSequence ?? 0) + 1;
  return { statements: [[text, head.number, number]], expected: { sequence, kinds: ["unsigned"] } };
};

/** Each with its weight. */
export const HEAD_ATTACKS: Readonly<Record<string, readonly [number, Attacker]>> = {
  head_edited: [9, edited],
  head_signed_by_other: [4, signedByOther],
  head_deleted: [4, deletedOne],
  heads_deleted: [2, deletedAll],
  heads_exchanged: [3, exchanged],
  head_copied: [2, copied],
};
