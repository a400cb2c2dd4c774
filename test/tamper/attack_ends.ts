// Attacks on the trail as a whole: its end or its beginning cut off, a stretch written anew with all its hashes, a fork that is gone on from.
// Drawn by campaign.ts. What only the heads that left the database can show is verified with them.

import type { Random } from "../../kit/random.ts";
import type { ChainHead, ChainRecord, ChainSegment } from "../../server/audit/chain.ts";
import { type Checkpoint, checkpointHash, signCheckpoint } from "../../server/audit/checkpoint.ts";
import { sealRecords } from "../audit/trail_lines.ts";
import {
  type Attack,
  type Attacker,
  deletion,
  firstPlace,
  headUpdate,
  overwrite,
  segmentUpdate,
  unprovenBefore,
} from "./attack.ts";
import { below, chance, pick } from "./dice.ts";
import { newKey, type Statement } from "./ground.ts";
import type { World } from "./world.ts";

const foreign = newKey();

// After segment `at`: its number, and how much of what follows is deleted.
function cut(world: World, random: Random) {
  const kept = world.segments[below(random, world.segments.length - 1)] as ChainSegment;
  const lost = world.records.slice(firstPlace(world, kept) + kept.ids.length);
  const explained = !lost.some(({ kind }) => kind === "retention.removed" && world.start.number > 0);
  const sequence = explained ? kept.lastSequence + 1 : 1;
  const segments: Statement = ["delete from audit_segment where number > $1", kept.number];
  const records: Statement = ["delete from audit_event where id > $1", kept.lastId];
  const heads: Statement = ["delete from audit_checkpoint where segment > $1", kept.number];
  return { kept, sequence, explained, segments, records, heads };
}

const truncated: Attacker = (world, random) => {
  const { sequence, explained, segments, records, heads } = cut(world, random);
  const kinds = explained ? (["truncated"] as const) : (["missing"] as const);
  return { statements: [segments, records, heads], needsHeads: true, expected: { sequence, kinds } };
};

// The heads stay: then the export itself shows it.
const truncatedUnderHeads: Attacker = (world, random) => {
  const { sequence, explained, segments, records } = cut(world, random);
  return { statements: [segments, records], expected: { sequence, kinds: [explained ? "truncated" : "missing"] } };
};

// The records stay, and look as if they were not sealed yet.
const unsealed: Attacker = (world, random) => {
  const { kept, segments, heads } = cut(world, random);
  const statements = chance(random, 0.5) ? [segments, heads] : [segments];
  return { statements, needsHeads: true, expected: { sequence: kept.lastSequence + 1, kinds: ["truncated"] } };
};

// The server seals and signs on from where it was cut.
const truncatedAndGoneOn: Attacker = (world, random) => {
  const { kept, explained, segments, records, heads } = cut(world, random);
  if (!explained) return undefined;
  const expected = { sequence: unprovenBefore(world, kept.number + 1), through: kept.lastSequence + 1 };
  const kinds = ["forked", "truncated", "missing"] as const;
  return { statements: [segments, records, heads], goesOn: true, needsHeads: true, expected: { ...expected, kinds } };
};

// Without a record that retention did it.
const beginningCut: Attacker = (world, random) => {
  const last = world.segments[below(random, world.segments.length - 1)] as ChainSegment;
  const statements: Statement[] = [
    deletion(world.records.slice(0, firstPlace(world, last) + last.ids.length)),
    ["delete from audit_segment where number <= $1", last.number],
    [
      "update audit_removal set number = $1, last_id = $2, last_sequence = $3, head = $4",
      last.number,
      last.lastId,
      last.lastSequence,
      last.head,
    ],
  ];
  if (chance(random, 0.5)) statements.push(["delete from audit_checkpoint where segment <= $1", last.number]);
  return { statements, expected: { sequence: 1, kinds: ["missing"] } };
};

/** A stretch of segments sealed anew over changed records. */
interface Rewriting {
  readonly first: ChainSegment;
  readonly statements: readonly Statement[];
  readonly segments: readonly ChainSegment[];
}

function rewriting(world: World, random: Random, toTheEnd: boolean): Rewriting | undefined {
  const from = below(random, world.segments.length);
  const through = toTheEnd ? world.segments.length - 1 : from + below(random, world.segments.length - from);
  const first = world.segments[from] as ChainSegment;
  const victim = world.records[firstPlace(world, first) + below(random, first.ids.length)] as ChainRecord;
  if (victim.kind === "retention.removed") return undefined;
  const changed = { ...victim, actor: `${victim.actor}!` };
  let head: ChainHead = world.segments[from - 1] ?? world.start;
  const segments = world.segments.slice(from, through + 1).map((segment) => {
    const mine = world.records.slice(firstPlace(world, segment), firstPlace(world, segment) + segment.ids.length);
    const anew = sealRecords(
      head,
      mine.map((record) => (record === victim ? changed : record)),
    );
    head = anew;
    return anew;
  });
  return { first, segments, statements: [overwrite(victim.id, changed), ...segments.map(segmentUpdate)] };
}

const forkedFrom = (world: World, { first }: Rewriting, kinds: Attack["expected"]["kinds"]): Attack["expected"] => ({
  sequence: unprovenBefore(world, first.number),
  kinds,
});

const rewritten: Attacker = (world, random) => {
  const made = rewriting(world, random, chance(random, 0.5));
  return made && { statements: made.statements, expected: forkedFrom(world, made, ["forked"]) };
};

const rewrittenAndGoneOn: Attacker = (world, random) => {
  const made = rewriting(world, random, true);
  return made && { statements: made.statements, goesOn: true, expected: forkedFrom(world, made, ["forked"]) };
};

// With heads of its own, chained and signed, by a key that nobody gave.
const rewrittenAndSignedByOther: Attacker = (world, random) => {
  const made = rewriting(world, random, true);
  if (made === undefined) return undefined;
  const anew = new Map(made.segments.map((segment) => [segment.number, segment]));
  let last: Checkpoint | undefined;
  const heads = world.heads.flatMap((old) => {
    const segment = anew.get(old.segment);
    if (segment === undefined) {
      last = old;
      return [];
    }
    const { number, time } = old;
    const place = {
      segment: segment.number,
      lastId: segment.lastId,
      lastSequence: segment.lastSequence,
      head: segment.head,
    };
    last = signCheckpoint({ number, ...place, previous: last ? checkpointHash(last) : old.previous, time }, foreign);
    return [headUpdate(last)];
  });
  return { statements: [...made.statements, ...heads], expected: forkedFrom(world, made, ["unsigned", "forked"]) };
};

// The trail and its heads were written anew by somebody who has the key: heads that left before contradict it.
const rewrittenAndSigned: Attacker = (world, random) => {
  const made = rewriting(world, random, true);
  if (made === undefined) return undefined;
  const statements = [
    ...made.statements,
    ["delete from audit_checkpoint where segment >= $1", made.first.number] as Statement,
  ];
  return { statements, goesOn: true, needsHeads: true, expected: forkedFrom(world, made, ["forked"]) };
};

const swappedTrails: Attacker = (world, random) => {
  const { kept, segments, records, heads } = cut(world, random);
  const text = "update audit_event set record = $2 where id = $1";
  const victim = pick(
    random,
    world.records.filter(({ id }) => kept.ids.includes(id)),
  );
  if (victim.kind === "retention.removed") return undefined;
  const sequence = world.records.indexOf(victim) + world.start.lastSequence + 1;
  const statements: Statement[] = [segments, records, heads, [text, victim.id, `${victim.record} `]];
  const explained =
    world.start.number === 0 ||
    world.records.some((record) => record.kind === "retention.removed" && BigInt(record.id) <= BigInt(kept.lastId));
  return {
    statements,
    needsHeads: true,
    expected: { sequence: explained ? sequence : 1, kinds: [explained ? "edited" : "missing"] },
  };
};

/** Each with its weight. */
export const END_ATTACKS: Readonly<Record<string, readonly [number, Attacker]>> = {
  end_cut_off: [8, truncated],
  end_cut_off_under_heads: [3, truncatedUnderHeads],
  end_unsealed: [4, unsealed],
  end_cut_off_and_gone_on: [4, truncatedAndGoneOn],
  end_cut_off_and_edited: [3, swappedTrails],
  beginning_cut_off: [4, beginningCut],
  stretch_written_anew: [8, rewritten],
  stretch_written_anew_and_gone_on: [3, rewrittenAndGoneOn],
  rest_written_anew_and_signed_by_other: [4, rewrittenAndSignedByOther],
  rest_written_anew_and_signed: [4, rewrittenAndSigned],
};
