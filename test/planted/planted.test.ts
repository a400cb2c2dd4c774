// The planted bugs still apply to this tree: `npm run sim -- --planted` shows that each is caught.

import { expect, test } from "vitest";
import { applyBug, ROOT, readBugs } from "./patches.ts";

const bugs = await readBugs();

test("there are fifteen, each with what it breaks", () => {
  expect(bugs).toHaveLength(15);
  expect(new Set(bugs.map((bug) => bug.breaks)).size).toBe(15);
});

test.each(bugs.map((bug) => [bug.name, bug] as const))("%s applies", async (_name, bug) => {
  expect(await applyBug(bug, ROOT, true)).toBeUndefined();
});
