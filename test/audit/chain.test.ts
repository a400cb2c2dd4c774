// The hash chain: a trail that nobody touched verifies from any beginning, and every way to touch it shows.

import fc from "fast-check";
import { expect, test } from "vitest";
import {
  type ChainHead,
  type ChainRecord,
  type ChainSegment,
  GENESIS,
  sealSegment,
  verifyChain,
} from "../../server/audit/chain.ts";

function recordOf(id: number, text = `{"n":${id}}`): ChainRecord {
  const time = `2026-01-01T00:00:00.${String(id).padStart(6, "0")}Z`;
  return {
    id: String(id),
    time,
    kind: "decision",
    namespace: "a",
    runId: "r",
    taskId: "",
    actor: "server",
    record: text,
  };
}

// Segments of the sizes given; ids have gaps, as rolled back transactions leave them.
function trailOf(sizes: readonly number[]): { segments: ChainSegment[]; records: ChainRecord[] } {
  let head: ChainHead = GENESIS;
  let id = 0;
  const segments: ChainSegment[] = [];
  const records: ChainRecord[] = [];
  for (const size of sizes) {
    const rows = Array.from({ length: size }, () => {
      id += 1 + (id % 3);
      return recordOf(id);
    });
    const segment = sealSegment(head, rows, String(id + 1));
    id += 1;
    records.push(...rows);
    segments.push(segment);
    head = segment;
  }
  return { segments, records };
}

const sizes = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 2, maxLength: 6 });
const anywhere = fc.nat();
const problems = (trail: Parameters<typeof verifyChain>[0]) => verifyChain(trail).map(({ problem }) => problem);

test("a trail verifies from its beginning, and from every segment after which its beginning was removed", () => {
  fc.assert(
    fc.property(sizes, anywhere, (list, cut) => {
      const { segments, records } = trailOf(list);
      const tail = recordOf(1_000_000);
      const expected = segments.at(-1) as ChainSegment;
      expect(verifyChain({ start: GENESIS, segments, records: [...records, tail], expected })).toEqual([]);
      const start = segments[cut % segments.length] as ChainSegment;
      const left = segments.filter(({ number }) => number > start.number);
      const kept = records.filter(({ id }) => BigInt(id) > BigInt(start.lastId));
      expect(verifyChain({ start, segments: left, records: kept, expected })).toEqual([]);
    }),
  );
});

test("an edited, a missing and an inserted record are named", () => {
  fc.assert(
    fc.property(sizes, anywhere, fc.constantFrom("record", "time", "actor", "runId", "kind"), (list, at, member) => {
      const { segments, records } = trailOf(list);
      const victim = records[at % records.length] as ChainRecord;
      const edited = records.map((record) => (record === victim ? { ...record, [member]: "x" } : record));
      const named = { segment: segments.find(({ ids }) => ids.includes(victim.id))?.number, id: victim.id };
      expect(verifyChain({ start: GENESIS, segments, records: edited })).toEqual([{ problem: "edited", ...named }]);
      const missing = records.filter((record) => record !== victim);
      expect(verifyChain({ start: GENESIS, segments, records: missing })).toEqual([{ problem: "missing", ...named }]);
      const id = segments[0]?.lastId as string;
      const more = [...records, { ...recordOf(0), id }];
      expect(verifyChain({ start: GENESIS, segments, records: more })).toEqual([
        { problem: "inserted", segment: 1, id },
      ]);
    }),
  );
});

test("an edited record whose hash was edited too breaks the head of its segment", () => {
  fc.assert(
    fc.property(sizes, anywhere, (list, at) => {
      const { segments, records } = trailOf(list);
      const index = at % segments.length;
      const target = segments[index] as ChainSegment;
      const hashes = target.hashes.map((hash, place) => (place === 0 ? "0".repeat(64) : hash));
      const changed = segments.map((segment) => (segment === target ? { ...target, hashes } : segment));
      expect(problems({ start: GENESIS, segments: changed, records })).toContain("broken");
    }),
  );
});

test("records in another order, a segment that is missing, and segments in another order are found", () => {
  const { segments, records } = trailOf([3, 2, 4]);
  const [first, second, third] = segments as [ChainSegment, ChainSegment, ChainSegment];
  const swapped = [records[1], records[0], records[2]] as ChainRecord[];
  const resealed = sealSegment(GENESIS, swapped, first.lastId);
  expect(problems({ start: GENESIS, segments: [resealed], records: swapped })).toEqual(["reordered"]);
  expect(problems({ start: GENESIS, segments: [first, third], records })).toContain("missing");
  expect(problems({ start: GENESIS, segments: [first, third, second], records })).toContain("reordered");
});

test("a truncated end shows against a head that is known from elsewhere, a fork against any", () => {
  const { segments, records } = trailOf([3, 2, 4]);
  const expected = segments[2] as ChainSegment;
  const shorter = segments.slice(0, 2);
  expect(problems({ start: GENESIS, segments: shorter, records, expected })).toEqual(["truncated"]);
  expect(problems({ start: GENESIS, segments: shorter, records })).toEqual([]);

  const other = sealSegment(segments[0] as ChainSegment, [recordOf(100)], "100");
  expect(problems({ start: GENESIS, segments: [...shorter, other], records })).toContain("forked");
  const rewritten = sealSegment(GENESIS, [recordOf(1, "{}")], "2");
  const following = segments.slice(1);
  expect(problems({ start: GENESIS, segments: [rewritten, ...following], records })).toContain("forked");
  const forged = { ...expected, head: "f".repeat(64) };
  expect(problems({ start: GENESIS, segments, records, expected: forged })).toEqual(["forked"]);
});
