// What the answer to a granted call does to its row, and when nobody but a person can judge it.

import { expect, test } from "vitest";
import { isSameAnswer, needsPerson, takesAnswer } from "../../server/queue/tool_answer.ts";

test.each([
  ["granted", true, true],
  ["granted", false, true],
  ["unknown", true, true],
  ["unknown", false, false],
  ["done", true, false],
  ["failed", true, false],
] as const)("a row that is %s and an answer that knows: %s", (state, known, takes) => {
  expect(takesAnswer({ state }, { known })).toBe(takes);
});

const done = { state: "done", result: "1", failure_class: null };
const failed = { state: "failed", result: null, failure_class: "Http503" };
test.each([
  ["the result that is recorded", done, { result: "1", known: true }, true],
  ["another result", done, { result: "2", known: true }, false],
  ["a failure after a result", done, { failureClass: "Http503", known: true }, false],
  ["the failure that is recorded", failed, { failureClass: "Http503", known: true }, true],
  ["another failure", failed, { failureClass: "Timeout", known: false }, false],
  ["a result after a failure", failed, { result: "1", known: true }, false],
] as const)("%s", (_what, row, answer, same) => {
  expect(isSameAnswer(row, answer)).toBe(same);
});

test.each([
  ["write", "deadLetter", false, true],
  ["write", "deadLetter", true, false],
  ["write", "retry", false, false],
  ["destructive", "deadLetter", false, true],
  ["read", "deadLetter", false, false],
] as const)("a %s with %s that knows: %s", (effect, onUnknownOutcome, known, needs) => {
  const idempotency = { mode: "cached", header: "Idempotency-Key", onUnknownOutcome } as const;
  expect(needsPerson({ known }, { effect, idempotency })).toBe(needs);
});
