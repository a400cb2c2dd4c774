// Unified diffs: each hunk says what it says of lines, and applying a diff to one text gives the other.
import fc from "fast-check";
import { expect, test } from "vitest";
import { unifiedDiff } from "../../cli/unified_diff.ts";

test("lines around a change, and its place in both texts", () => {
  const before = ["a", "b", "c", "d", "e", "f", "g", "h"];
  const after = before.map((line) => (line === "e" ? "E" : line));
  expect(unifiedDiff(`${before.join("\n")}\n`, `${after.join("\n")}\n`)).toEqual([
    "@@ -2,7 +2,7 @@",
    " b",
    " c",
    " d",
    "-e",
    "+E",
    " f",
    " g",
    " h",
  ]);
});

test("a text that comes or goes whole; equal texts have no diff", () => {
  expect(unifiedDiff("", "a\nb\n")).toEqual(["@@ -0,0 +1,2 @@", "+a", "+b"]);
  expect(unifiedDiff("a\n", "")).toEqual(["@@ -1 +0,0 @@", "-a"]);
  expect(unifiedDiff("a\nb\n", "a\nb\n")).toEqual([]);
});

test("changes far from each other are hunks of their own", () => {
  const before = Array.from({ length: 40 }, (_, index) => `line ${index}`);
  const after = before.map((line, index) => (index === 2 || index === 30 ? `${line} changed` : line));
  const heads = unifiedDiff(before.join("\n"), after.join("\n")).filter((line) => line.startsWith("@@"));
  expect(heads).toEqual(["@@ -1,6 +1,6 @@", "@@ -28,7 +28,7 @@"]);
});

test("texts with more differences than are worth aligning are one block that goes and one that comes", () => {
  const before = Array.from({ length: 3_000 }, (_, index) => `a${index}`);
  const after = Array.from({ length: 3_000 }, (_, index) => `b${index}`);
  const lines = unifiedDiff(before.join("\n"), after.join("\n"));
  expect(lines.filter((line) => line.startsWith("-")).length).toBe(3_000);
  expect(lines.filter((line) => line.startsWith("+")).length).toBe(3_000);
});

test("whatever the texts are, a diff turns one into the other", () => {
  const lines = fc.array(fc.constantFrom("a", "b", "c", "d"), { maxLength: 30 });
  fc.assert(
    fc.property(lines, lines, (before, after) => {
      const diff = unifiedDiff(before.join("\n"), after.join("\n"));
      expect(patched(before, diff)).toEqual(after);
    }),
    { numRuns: 500 },
  );
});

/** What `patch` does: lines between hunks are kept, and every line of a hunk must be where it says. */
function patched(before: readonly string[], diff: readonly string[]): string[] {
  const result: string[] = [];
  let at = 0;
  for (const line of diff) {
    const head = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,\d+)? @@$/.exec(line);
    if (head !== null) {
      const start = Number(head[1]) - (head[2] === "0" ? 0 : 1);
      result.push(...before.slice(at, start));
      at = start;
      continue;
    }
    const [sign, text] = [line[0], line.slice(1)];
    if (sign !== "+") expect(before[at]).toBe(text);
    if (sign !== "-") result.push(text);
    if (sign !== "+") at += 1;
  }
  return [...result, ...before.slice(at)];
}
