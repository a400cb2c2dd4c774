// Ids: what they look like, that they sort by the order they were made, and that no two are the same.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Clock } from "../../kit/clock.ts";
import { createIds, type IdPrefix } from "../../kit/ids.ts";
import { type Random, seededRandom, systemRandom } from "../../kit/random.ts";
import { manualClock } from "../rpc/manual_clock.ts";

const PREFIXES: readonly IdPrefix[] = ["run", "task", "ses", "rep", "gra", "wrk"];

/** A clock whose now() the test sets. */
function settableClock(nowMs: number): { clock: Clock; set: (nowMs: number) => void } {
  let value = nowMs;
  return { clock: { ...manualClock(), now: () => value }, set: (next) => (value = next) };
}

const fixedRandom = (byte: number): Random => ({ next: () => 0, bytes: (count) => new Uint8Array(count).fill(byte) });

describe("an id", () => {
  test.each(PREFIXES)("begins with its prefix %s, then 26 characters of Crockford's alphabet", (prefix) => {
    const id = createIds(manualClock(), seededRandom(1)).next(prefix);
    expect(id).toMatch(new RegExp(`^${prefix}_[0-9a-hjkmnp-tv-z]{26}$`));
  });

  test("holds the milliseconds in its first ten characters, as the ULID specification's example", () => {
    const { clock } = settableClock(1_469_918_176_385);
    expect(createIds(clock, seededRandom(1)).next("run")).toMatch(/^run_01aryz6s41/);
    const last = settableClock(2 ** 48 - 1);
    expect(createIds(last.clock, seededRandom(1)).next("run")).toMatch(/^run_7zzzzzzzzz/);
  });
});

describe("order", () => {
  test("ids of later milliseconds sort later, whatever the randomness", () => {
    const { clock, set } = settableClock(1_000);
    const bytes = [0xff, 0x00, 0x80];
    const random: Random = { next: () => 0, bytes: (count) => new Uint8Array(count).fill(bytes.shift() ?? 0) };
    const ids = createIds(clock, random);
    const made = [1_000, 1_001, 5_000].map((nowMs) => {
      set(nowMs);
      return ids.next("task");
    });
    expect(made.toSorted()).toEqual(made);
    expect(new Set(made).size).toBe(3);
  });

  test("ids of one millisecond sort as they were made, also from the highest random start", () => {
    const ids = createIds(manualClock(), fixedRandom(0xff));
    const made = Array.from({ length: 5_000 }, () => ids.next("task"));
    expect(made.toSorted()).toEqual(made);
    expect(new Set(made).size).toBe(made.length);
    expect(new Set(made.map((id) => id.slice(0, 15))).size).toBe(1);
  });

  test("ids stay in order while the clock goes back, and follow it again once it caught up", () => {
    const { clock, set } = settableClock(10_000);
    const ids = createIds(clock, seededRandom(3));
    const made = [10_000, 4_000, 9_999, 10_000, 10_001].map((nowMs) => {
      set(nowMs);
      return ids.next("run");
    });
    expect(made.toSorted()).toEqual(made);
    expect(new Set(made).size).toBe(made.length);
    expect(new Set(made.slice(0, 4).map((id) => id.slice(0, 14))).size).toBe(1);
    expect(made[4]?.slice(0, 14)).not.toBe(made[0]?.slice(0, 14));
  });

  test("whatever the clock does, each id sorts after the one before", () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 20 }), { maxLength: 60 }), fc.integer(), (times, seed) => {
        const { clock, set } = settableClock(0);
        const ids = createIds(clock, seededRandom(seed));
        let before = "";
        for (const nowMs of times) {
          set(nowMs);
          const id = ids.next("gra");
          expect(id > before).toBe(true);
          before = id;
        }
      }),
    );
  });
});

describe("uniqueness", () => {
  test("two processes in the same millisecond make different ids, at the start of time too", () => {
    for (const nowMs of [0, 1_700_000_000_000]) {
      const { clock } = settableClock(nowMs);
      const made = [1, 2, 3, 4].flatMap((seed) => {
        const ids = createIds(clock, seededRandom(seed));
        return Array.from({ length: 100 }, () => ids.next("run"));
      });
      expect(new Set(made).size).toBe(made.length);
    }
  });

  test("a lease token is 32 hex digits, all of them random, and a new one each time", () => {
    expect(createIds(manualClock(), fixedRandom(0xab)).token()).toBe("ab".repeat(16));
    const ids = createIds(manualClock(), systemRandom());
    const tokens = Array.from({ length: 500 }, () => ids.token());
    expect(new Set(tokens).size).toBe(500);
    for (const token of tokens) expect(token).toMatch(/^[0-9a-f]{32}$/);
  });
});
