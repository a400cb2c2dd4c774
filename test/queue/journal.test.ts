// What a turn does to a journal, and what a new attempt keeps of it.

import { expect, test } from "vitest";
import { judgeOtherTurn, keptEntries, takesNextEntry } from "../../server/queue/journal.ts";

test("a turn takes the next entry and no other", () => {
  expect([1, 2, 3].map((sequence) => takesNextEntry(sequence, 1))).toEqual([false, true, false]);
});

test.each([
  ["sent again", { kind: "turn", payload: "a" }, "duplicate"],
  ["with other content", { kind: "turn", payload: "b" }, "contradiction"],
  ["where a result is", { kind: "result", payload: "a" }, "contradiction"],
  ["that leaves a gap", undefined, "gap"],
] as const)("a turn %s", (_what, recorded, judged) => {
  expect(judgeOtherTurn(recorded, "a")).toBe(judged);
});

const turn = { kind: "turn" };
const result = { kind: "result" };
test.each([
  ["nothing is recorded", [], [], 0],
  ["nothing of the last turn was granted", [turn, result, turn], [1], 2],
  ["its arguments were refused", [turn, { kind: "failure" }], [], 0],
  ["a call of the last turn was granted", [turn, result, turn], [1, 3], 3],
  ["a call was granted and answered", [turn, result], [1], 2],
] as const)("what a new attempt keeps when %s", (_when, journal, granted, kept) => {
  expect(keptEntries(journal, (sequence) => (granted as readonly number[]).includes(sequence))).toBe(kept);
});
