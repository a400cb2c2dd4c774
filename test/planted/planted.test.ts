// The planted bugs still apply to this tree: `npm run sim -- --planted` shows that each is caught.

import { expect, test } from "vitest";
import { applyBug, ROOT, readBugs } from "./patches.ts";

const bugs = await readBugs();

test("there are sixteen, each with what it breaks", () => {
  expect(bugs).toHaveLength(16);
  expect(new Set(bugs.map((bug) => bug.breaks)).size).toBe(16);
});

test.each(bugs.map((bug) => [bug.name, bug] as const))("%s applies", async (_name, bug) => {
  expect(await applyBug(bug, ROOT, true)).toBeUndefined();
});
