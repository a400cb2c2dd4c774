// The hash chain and its verifier: a trail that nobody touched verifies from any beginning, and every way to touch it is named.

import fc from "fast-check";
import { expect, test } from "vitest";
import { type ChainHead, type ChainRecord, type ChainSegment, GENESIS, recordHash } from "../../server/audit/chain.ts";
import type { Checkpoint } from "../../server/audit/checkpoint.ts";
import { headOf, keysOf, linesOf, newKey, sealRecords, type Trail, verifyLines } from "./trail_lines.ts";

const key = newKey();
const stranger = newKey();

function recordOf(id: number, text = `{"n":${id}}`): ChainRecord {
  const time = `2026-01-01T00:00:00.${String(id).padStart(6, "0")}Z`;
  const subject = { namespace: "a", runId: "r", taskId: "", actor: "server", onBehalfOf: "ana", traceId: "" };
  return { id: String(id), time, kind: "decision", ...subject, record: text };
}

// Segments of the sizes given, each with a signed head but every third; ids have gaps, as rolled back transactions leave them.
function trailOf(sizes: readonly number[]) {
  let head: ChainHead = GENESIS;
  let id = 0;
  const segments: ChainSegment[] = [];
  const records: ChainRecord[] = [];
  const heads: Checkpoint[] = [];
  for (const [index, size] of sizes.entries()) {
    const rows = Array.from({ length: size }, () => {
      id += 1 + (id % 3);
      return recordOf(id);
    });
    const segment = sealRecords(head, rows);
    records.push(...rows);
    segments.push(segment);
    if (index % 3 !== 1 || index === sizes.length - 1) heads.push(headOf(segment, heads.at(-1), key));
    head = segment;
  }
  return { start: GENESIS, segments, records, heads };
}

const sizes = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 2, maxLength: 6 });
const anywhere = fc.nat();
const check = (trail: Trail, heads: readonly Checkpoint[] = []) =>
  verifyLines(linesOf(trail, key), { keys: keysOf(key), heads });
const first = (trail: Trail, heads: readonly Checkpoint[] = []) => check(trail, heads).first;
const sequenceOf = ({ records }: Trail, victim: ChainRecord) => records.indexOf(victim) + 1;

test("a trail verifies from its beginning, and from every segment before it; its tail is counted and not judged", () => {
  fc.assert(
    fc.property(sizes, anywhere, (list, cut) => {
      const trail = trailOf(list);
      const tail = recordOf(1_000_000);
      const whole = check({ ...trail, records: [...trail.records, tail] }, trail.heads);
      expect(whole).toMatchObject({ findings: [], records: trail.records.length, unsealed: 1, unsigned: 0 });
      const start = trail.segments[cut % (trail.segments.length - 1)] as ChainSegment;
      const rest: Trail = {
        start,
        segments: trail.segments.filter(({ number }) => number > start.number),
        records: trail.records.filter(({ id }) => BigInt(id) > BigInt(start.lastId)),
        heads: trail.heads.filter(({ segment }) => segment > start.number),
        filter: { runId: "", startTime: "2026-01-01T00:00:00Z", endTime: "" },
      };
      expect(first(rest, trail.heads)).toBeUndefined();
    }),
  );
});

test("an edited, a missing and an inserted record are named", () => {
  const members = fc.constantFrom("record", "time", "actor", "runId", "kind", "onBehalfOf", "traceId");
  fc.assert(
    fc.property(sizes, anywhere, members, (list, at, member) => {
      const trail = trailOf(list);
      const victim = trail.records[at % trail.records.length] as ChainRecord;
      const named = { id: victim.id, sequence: sequenceOf(trail, victim) };
      const edited = trail.records.map((record) => (record === victim ? { ...record, [member]: "x" } : record));
      expect(first({ ...trail, records: edited })).toMatchObject({ kind: "edited", ...named });
      const without = trail.records.filter((record) => record !== victim);
      expect(first({ ...trail, records: without })).toMatchObject({ kind: "missing", ...named });
      const free = trail.records.findIndex(({ id }, index) => trail.records[index + 1]?.id !== String(Number(id) + 1));
      const id = String(Number(trail.records[free]?.id) + 1);
      if (BigInt(id) > BigInt(trail.segments.at(-1)?.lastId ?? "0")) return;
      const more = [...trail.records, { ...recordOf(0), id }];
      expect(first({ ...trail, records: more })).toMatchObject({ kind: "inserted", id, sequence: free + 2 });
    }),
  );
});

test("two records that changed places are named, in one segment and across two", () => {
  fc.assert(
    fc.property(sizes, anywhere, anywhere, (list, one, other) => {
      const trail = trailOf(list);
      const places = [one % trail.records.length, other % trail.records.length].sort((a, b) => a - b);
      const [low, high] = places.map((place) => trail.records[place]) as [ChainRecord, ChainRecord];
      if (low === high) return;
      const swapped = trail.records.map((record) => {
        if (record === low) return { ...low, id: high.id };
        return record === high ? { ...high, id: low.id } : record;
      });
      const named = { kind: "reordered", id: low.id, sequence: sequenceOf(trail, low) };
      expect(first({ ...trail, records: swapped })).toMatchObject(named);
    }),
  );
});

test("a stretch that was written anew, hashes and all, contradicts the next signed head or the segment after it", () => {
  fc.assert(
    fc.property(sizes, anywhere, anywhere, (list, at, length) => {
      const trail = trailOf(list);
      const from = at % trail.segments.length;
      const through = from + (length % (trail.segments.length - from));
      let head: ChainHead = trail.segments[from - 1] ?? GENESIS;
      const records = trail.records.map((record) =>
        trail.segments[from]?.ids.includes(record.id) ? { ...record, record: "{}" } : record,
      );
      const segments = trail.segments.map((segment, index) => {
        if (index < from || index > through) return segment;
        const mine = records.filter(({ id }) => segment.ids.includes(id));
        const anew = sealRecords(head, mine);
        head = anew;
        return anew;
      });
      const proven = Math.max(0, ...trail.heads.map(({ segment }) => segment).filter((number) => number <= from));
      const sequence = (trail.segments[proven - 1]?.lastSequence ?? 0) + 1;
      expect(first({ ...trail, segments, records })).toMatchObject({ kind: "forked", sequence });
    }),
  );
});

test("what was changed in a segment itself is named: a hash, its head, the head before, its counts, its ids", () => {
  const trail = trailOf([3, 2, 4]);
  const change = (number: number, part: Partial<ChainSegment>): Trail => ({
    ...trail,
    segments: trail.segments.map((segment) => (segment.number === number ? { ...segment, ...part } : segment)),
  });
  const second = trail.segments[1] as ChainSegment;
  const [firstId, secondId] = second.ids as [string, string];
  const zeros = "0".repeat(64);
  const hashes = [second.hashes[0] as string, zeros];
  expect(first(change(2, { hashes }))).toMatchObject({ kind: "edited", id: secondId, sequence: 5 });
  expect(first(change(2, { head: zeros }))).toMatchObject({ kind: "edited", id: firstId, sequence: 4 });
  expect(first(change(2, { previousHead: zeros }))).toMatchObject({ kind: "edited", id: firstId, sequence: 4 });
  expect(first(change(2, { lastSequence: 6 }))).toMatchObject({ kind: "edited", id: firstId, sequence: 4 });
  expect(first(change(2, { ids: [firstId, "999"] }))).toMatchObject({ kind: "edited", sequence: 4 });
  expect(first(change(2, { ids: [secondId, firstId] }))).toMatchObject({ kind: "reordered", sequence: 4 });
  expect(first(change(2, { lastId: firstId }))).toMatchObject({ kind: "edited", sequence: 4 });
  const third = trail.segments[2] as ChainSegment;
  const reaching = { kind: "edited", id: firstId, sequence: 4 };
  expect(first(change(2, { lastId: third.ids[0] as string }))).toMatchObject(reaching);
  expect(first(change(2, { lastId: String(Number(secondId) + 1) }))).toMatchObject(reaching);
});

test("segments that are missing or stand elsewhere are named with their first record", () => {
  const trail = trailOf([3, 2, 4, 1]);
  const [one, two, three, four] = trail.segments as [ChainSegment, ChainSegment, ChainSegment, ChainSegment];
  const gap = { ...trail, segments: [one, three, four] };
  expect(first(gap)).toMatchObject({ kind: "missing", sequence: 4, segment: 2, id: two.ids[0] });
  const without = { ...gap, records: trail.records.filter(({ id }) => !two.ids.includes(id)) };
  expect(first(without)).toMatchObject({ kind: "missing", sequence: 4, segment: 2 });
  const moved = { ...trail, segments: [one, { ...three, number: 2 }, { ...two, number: 3 }, four] };
  expect(first(moved)).toMatchObject({ kind: "reordered", sequence: 4, id: two.ids[0] });
});

test("signed heads that are missing, of another key or edited are named, and a trail without any is unsigned", () => {
  const trail = trailOf([3, 2, 4, 1]);
  const [one, two, three] = trail.heads as [Checkpoint, Checkpoint, Checkpoint];
  expect(trail.heads.map(({ segment }) => segment)).toEqual([1, 3, 4]);
  expect(first({ ...trail, heads: [two, three] })).toMatchObject({ kind: "missing", sequence: 1 });
  expect(first({ ...trail, heads: [one, three] })).toMatchObject({ kind: "missing", sequence: 4 });
  expect(first({ ...trail, heads: [one, two] }, trail.heads)).toMatchObject({ kind: "missing", sequence: 10 });
  const other = headOf(trail.segments[2] as ChainSegment, one, stranger);
  expect(first({ ...trail, heads: [one, other, three] })).toMatchObject({ kind: "unsigned", sequence: 4 });
  const changed = { ...two, time: "2025-01-01T00:00:00.000000Z" };
  expect(first({ ...trail, heads: [one, changed, three] })).toMatchObject({ kind: "unsigned", sequence: 4 });
  expect(first({ ...trail, heads: [] })).toMatchObject({ kind: "unsigned", sequence: 1 });
  expect(check({ ...trail, heads: [one, two] })).toMatchObject({ findings: [], unsigned: 1 });
});

test("an end that was cut off with its heads shows against the heads that left the database, up to the time of the export", () => {
  const trail = trailOf([3, 2, 4, 1]);
  const shorter: Trail = {
    ...trail,
    segments: trail.segments.slice(0, 2),
    records: trail.records.slice(0, 5),
    heads: trail.heads.slice(0, 1),
  };
  expect(first(shorter)).toBeUndefined();
  expect(first(shorter, trail.heads)).toMatchObject({ kind: "truncated", sequence: 6 });
  const later = headOf({ ...(trail.segments[3] as ChainSegment), number: 9 }, trail.heads[2], key);
  expect(first(trail, [...trail.heads, later])).toMatchObject({ kind: "truncated" });
  const future = linesOf(trail, key).map((line) => line.replace("2026-01-02T", "2025-12-31T"));
  const kinds = verifyLines(future, { keys: keysOf(key), heads: [...trail.heads, later] }).findings.map(
    ({ kind }) => kind,
  );
  expect(kinds).toEqual(["edited"]);
});

test("a beginning that is gone needs the record that retention left of it", () => {
  const trail = trailOf([3, 2, 4]);
  const start = trail.segments[0] as ChainSegment;
  const bounds = { segment: "1", lastId: start.lastId, head: start.head };
  const removalWith = (more: object): ChainRecord => {
    const detail = { of: "audit", bounds: { ...bounds, ...more } };
    return { ...recordOf(500, JSON.stringify({ detail })), kind: "retention.removed" };
  };
  const rest: Trail = {
    start,
    segments: trail.segments.slice(1),
    records: trail.records.slice(3),
    heads: trail.heads.slice(1),
  };
  expect(first(rest)).toMatchObject({ kind: "missing", sequence: 1 });
  const withRemoval = (more = {}): Trail => ({ ...rest, records: [...rest.records, removalWith(more)] });
  expect(check(withRemoval())).toMatchObject({ findings: [], removal: { id: "500" } });
  expect(check(withRemoval({ lastSequence: "3" }))).toMatchObject({ findings: [] });
  const others = [{ segment: "2" }, { lastId: "1" }, { lastSequence: "4" }, { head: "0".repeat(64) }];
  for (const other of others) expect(first(withRemoval(other))).toMatchObject({ kind: "missing", sequence: 1 });
  const cut = verifyLines(linesOf(withRemoval(), key).slice(0, 4), { keys: keysOf(key) });
  expect(cut.first).toMatchObject({ kind: "truncated", sequence: 6 });
});

test("a file that was cut off, changed or put together anew is found at whatever line", () => {
  const trail = trailOf([3, 2, 4]);
  const lines = linesOf(trail, key);
  const options = { keys: keysOf(key), heads: trail.heads };
  for (let count = 0; count < lines.length; count += 1) {
    expect(verifyLines(lines.slice(0, count), options).first?.kind, `${count} lines`).toBe("truncated");
    const partly = [...lines.slice(0, count), (lines[count] as string).slice(0, -2)];
    expect(verifyLines(partly, options).first?.kind, `half of line ${count}`).toBe("truncated");
    const without = lines.filter((_, index) => index !== count);
    expect(verifyLines(without, options).first, `without line ${count}`).toBeDefined();
    const twice = lines.flatMap((line, index) => (index === count ? [line, line] : [line]));
    expect(verifyLines(twice, options).first, `line ${count} twice`).toBeDefined();
  }
  for (const line of ["", "[]", "{}", '{"type":"toString"}', '{"type":"record","id":"1"}', "\u0000"]) {
    expect(verifyLines([lines[0] as string, line, ...lines.slice(1)], options).first?.kind, line).toBe("edited");
  }
});

test("hashes of records from before a run named its requester are what they were", () => {
  const bare = { ...recordOf(1), onBehalfOf: "", traceId: "" };
  expect(recordHash(bare)).toBe("1024bca2b0aff9544b22ba979564c1e574bb4529c7b0713738e37e07c77ef927");
});
