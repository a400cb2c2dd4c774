// Looks at what is open: together, for as long as it is open, and none holds up another.

import { expect, test } from "vitest";
import { Rechecks } from "../../server/rpc/rechecks.ts";
import { manualClock } from "./manual_clock.ts";

const EVERY_MS = 1_000;

function stage() {
  const clock = manualClock();
  const rechecks = new Rechecks(clock, EVERY_MS);
  const looks: string[] = [];
  const add = (name: string, takes: Promise<void> = Promise.resolve()) =>
    rechecks.add(() => {
      looks.push(name);
      return takes;
    });
  const pass = async (ms: number) => {
    clock.advance(ms);
    await new Promise((resolve) => setImmediate(resolve));
    return looks.splice(0).sort();
  };
  return { add, pass };
}

test("what is open is looked at together, no later than it would be alone, until it is not open any more", async () => {
  const { add, pass } = stage();
  add("a");
  expect(await pass(600)).toEqual([]);
  const stop = add("b");
  expect(await pass(400)).toEqual(["a", "b"]);
  expect(await pass(999)).toEqual([]);
  expect(await pass(1)).toEqual(["a", "b"]);
  stop();
  expect(await pass(EVERY_MS)).toEqual(["a"]);
});

test("after a time in which nothing was open it goes on", async () => {
  const { add, pass } = stage();
  add("a")();
  expect(await pass(2 * EVERY_MS)).toEqual([]);
  add("b");
  expect(await pass(EVERY_MS)).toEqual(["b"]);
});

test("looks that do not end are not begun again, and hold up no other", async () => {
  const { add, pass } = stage();
  const { promise, resolve } = Promise.withResolvers<void>();
  add("quick");
  for (const name of ["slow 1", "slow 2", "slow 3"]) add(name, promise);
  expect(await pass(EVERY_MS)).toEqual(["quick", "slow 1", "slow 2", "slow 3"]);
  expect(await pass(EVERY_MS)).toEqual(["quick"]);
  resolve();
  await pass(0);
  expect(await pass(EVERY_MS)).toHaveLength(4);
});

test("more than go side by side are looked at all the same", async () => {
  const { add, pass } = stage();
  for (let number = 0; number < 2_500; number += 1) add(`${number}`);
  expect(await pass(EVERY_MS)).toHaveLength(2_500);
  expect(await pass(EVERY_MS)).toHaveLength(2_500);
});
