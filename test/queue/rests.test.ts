// Rests of routes whose tasks come back: free at first, doubling, bounded, over when a task ends.

import { expect, test } from "vitest";
import { Rests, restMs } from "../../server/queue/rests.ts";

test("the first return costs nothing, then the rest doubles from 250 ms to 30 s", () => {
  expect([1, 2, 3, 4, 9, 10, 2_000].map(restMs)).toEqual([0, 250, 500, 1_000, 30_000, 30_000, 30_000]);
});

test("only the route that came back rests, until its time is over or one of its tasks ends", () => {
  const rests = new Rests();
  rests.returned("a", 1_000);
  expect(rests.isResting("a", 1_000)).toBe(false);
  rests.returned("a", 1_000);
  expect([1_000, 1_249, 1_250].map((now) => rests.isResting("a", now))).toEqual([true, true, false]);
  expect(rests.isResting("b", 1_000)).toBe(false);
  rests.ended("a");
  expect(rests.isResting("a", 1_000)).toBe(false);
  rests.returned("a", 1_000);
  expect(rests.isResting("a", 1_000)).toBe(false);
});
