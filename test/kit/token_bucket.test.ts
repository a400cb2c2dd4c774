// Budgets that fill up with time.

import { expect, test } from "vitest";
import { KeyedBuckets, TokenBucket } from "../../kit/token_bucket.ts";

const RATE = { atOnce: 3, perSecond: 2 } as const;

test("a bucket gives what it holds at once, and then what flows in, and never holds more", () => {
  const bucket = new TokenBucket(RATE, 0);
  const taken = (nowMs: number) => Array.from({ length: 5 }, () => bucket.take(nowMs)).filter(Boolean).length;
  expect([taken(0), taken(499), taken(500), taken(1_000), taken(100_000)]).toEqual([3, 0, 1, 1, 3]);
});

test("it says how long to wait, and lends against it", () => {
  const bucket = new TokenBucket(RATE, 0);
  expect([bucket.owe(0), bucket.owe(0), bucket.waitMs(0), bucket.owe(0)]).toEqual([0, 0, 0, 0]);
  expect(bucket.waitMs(0)).toBe(500);
  expect([bucket.owe(0), bucket.owe(0)]).toEqual([500, 1_000]);
  expect(bucket.waitMs(1_000)).toBe(500);
  expect(bucket.waitMs(1_500)).toBe(0);
});

test("each key has its own; of too many the one that was not used for longest begins anew", () => {
  const buckets = new KeyedBuckets(2);
  const take = (key: string) => buckets.of(key, { atOnce: 1, perSecond: 1 }, 0).take(0);
  expect([take("a"), take("a"), take("b"), take("a"), take("c"), take("a"), take("b")]).toEqual([
    ...[true, false, true, false, true, false, true],
  ]);
});
