// Delays before the next try: how their bound grows, what jitter does, and who may ask for more.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Backoff, backoffDelay } from "../../kit/backoff.ts";
import { type Random, seededRandom } from "../../kit/random.ts";

const GROWING: Backoff = { initialMs: 100, maxMs: 1_000, factor: 2, jitter: "none" };
const always = (value: number): Random => ({ next: () => value, bytes: (count) => new Uint8Array(count) });

const backoffs: fc.Arbitrary<Backoff> = fc.record({
  initialMs: fc.nat({ max: 3_600_000 }),
  maxMs: fc.nat({ max: 86_400_000 }),
  factor: fc.double({ min: 1, max: 10, noNaN: true }),
  jitter: fc.constantFrom("full", "none"),
});
const failuresSoFar = fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 100_000 }));

describe("without jitter", () => {
  test("the delay is the bound itself: it grows by the factor until the maximum", () => {
    const delays = [1, 2, 3, 4, 5, 6].map((failures) => backoffDelay(GROWING, failures, always(0.5)));
    expect(delays).toEqual([100, 200, 400, 800, 1_000, 1_000]);
  });

  test("a factor of 1 keeps the delay", () => {
    expect([1, 2, 50].map((failures) => backoffDelay({ ...GROWING, factor: 1 }, failures, always(0)))).toEqual([
      100, 100, 100,
    ]);
  });

  test("the delay is a finite number after any number of failures, also from an initial 0", () => {
    expect(backoffDelay(GROWING, 1_000_000, always(0))).toBe(1_000);
    expect(backoffDelay({ ...GROWING, initialMs: 0 }, 1_000_000, always(0))).toBe(0);
  });
});

describe("with full jitter", () => {
  const jittered: Backoff = { ...GROWING, jitter: "full" };

  test("the delay is the random share of the bound", () => {
    expect([0, 0.25, 0.5].map((share) => backoffDelay(jittered, 3, always(share)))).toEqual([0, 100, 200]);
    expect(backoffDelay(jittered, 9, always(0.5))).toBe(500);
  });

  test("delays spread over the whole of [0, bound]", () => {
    const random = seededRandom(7);
    const delays = Array.from({ length: 2_000 }, () => backoffDelay(jittered, 4, random));
    expect(Math.min(...delays)).toBeLessThan(10);
    expect(Math.max(...delays)).toBeGreaterThan(790);
    expect(delays.reduce((sum, delay) => sum + delay, 0) / delays.length).toBeCloseTo(400, -2);
  });
});

test("the delay is a whole number of ms within [0, bound], for every backoff", () => {
  fc.assert(
    fc.property(backoffs, failuresSoFar, fc.integer(), (backoff, failures, seed) => {
      const delay = backoffDelay(backoff, failures, seededRandom(seed));
      expect(Number.isInteger(delay)).toBe(true);
      expect(delay).toBeGreaterThanOrEqual(0);
      expect(delay).toBeLessThanOrEqual(backoff.maxMs);
      const grown = backoff.initialMs === 0 ? 0 : backoff.initialMs * backoff.factor ** (failures - 1);
      expect(delay).toBeLessThanOrEqual(Math.round(Math.min(backoff.maxMs, grown)));
    }),
  );
});

describe("a wait that the peer asked for", () => {
  test("wins when it is longer, also beyond the maximum", () => {
    expect(backoffDelay(GROWING, 1, always(0), 150)).toBe(150);
    expect(backoffDelay(GROWING, 9, always(0), 60_000)).toBe(60_000);
    expect(backoffDelay({ ...GROWING, jitter: "full" }, 9, always(0), 5)).toBe(5);
  });

  test("does not shorten the delay", () => {
    expect(backoffDelay(GROWING, 3, always(0), 150)).toBe(400);
  });
});
