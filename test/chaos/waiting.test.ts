// Waiting of the chaos harness: what is repeated until it counted.

import { expect, test } from "vitest";
import { reach } from "./waiting.ts";

test("what does not count is done again until the target is reached, and not for ever", async () => {
  let [acts, counted] = [0, 7];
  const everySecond = async () => {
    acts += 1;
    if (acts % 2 === 0) counted += 1;
  };
  await reach(10, () => counted, everySecond, 100);
  expect({ acts, counted }).toEqual({ acts: 6, counted: 10 });
  await reach(10, () => counted, everySecond, 100);
  expect(acts).toBe(6);
  await reach(1_000, () => counted, everySecond, 4);
  expect(acts).toBe(10);
});
