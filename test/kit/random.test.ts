// Randomness: bounds and spread of both sources, and that a seed repeats.

import { describe, expect, test } from "vitest";
import { type Random, seededRandom, systemRandom } from "../../kit/random.ts";

const DRAWS = 20_000;
const BUCKETS = 10;

/** How many of the draws fell into each tenth of [0, 1). */
function spread(random: Random): number[] {
  const counts = new Array<number>(BUCKETS).fill(0);
  for (let draw = 0; draw < DRAWS; draw += 1) {
    const value = random.next();
    if (!(value >= 0 && value < 1)) throw new Error(`${value} is not in [0, 1)`);
    const bucket = Math.floor(value * BUCKETS);
    counts[bucket] = (counts[bucket] as number) + 1;
  }
  return counts;
}

describe.each<[string, () => Random]>([
  ["system", systemRandom],
  ["seeded", () => seededRandom(42)],
])("%s randomness", (_name, make) => {
  test("is in [0, 1) and spread evenly", () => {
    // 300 from the mean is seven standard deviations.
    for (const count of spread(make())) expect(Math.abs(count - DRAWS / BUCKETS)).toBeLessThan(300);
  });

  test("gives as many bytes as asked for, of every value", () => {
    const random = make();
    expect(random.bytes(0)).toHaveLength(0);
    expect(random.bytes(3)).toHaveLength(3);
    expect(new Set(random.bytes(10_000)).size).toBe(256);
  });
});

describe("a seed", () => {
  const draw = (random: Random) => [random.next(), ...random.bytes(4), random.next()];

  test("gives the same numbers and bytes each time", () => {
    for (const seed of [0, 1, -1, 2 ** 32 - 1]) expect(draw(seededRandom(seed))).toEqual(draw(seededRandom(seed)));
    expect(draw(seededRandom(-1))).toEqual(draw(seededRandom(2 ** 32 - 1)));
  });

  test("gives other numbers than its neighbours", () => {
    const firsts = Array.from({ length: 1_000 }, (_, seed) => seededRandom(seed).next());
    expect(new Set(firsts).size).toBe(1_000);
  });
});

test("system randomness differs from one source to the next", () => {
  expect(Buffer.from(systemRandom().bytes(16)).equals(systemRandom().bytes(16))).toBe(false);
});

test("bytes of the system are never given out twice, however many are asked for at a time", () => {
  const random = systemRandom();
  const seen = new Set<string>();
  for (const count of [16, 4_096, 10, 5_000, ...Array.from({ length: 1_000 }, () => 16)]) {
    const bytes = random.bytes(count);
    expect(bytes).toHaveLength(count);
    expect(bytes.some((byte) => byte !== 0)).toBe(true);
    seen.add(Buffer.from(bytes).toString("hex"));
    bytes.fill(0);
  }
  expect(seen.size).toBe(1_004);
});
