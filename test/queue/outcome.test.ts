// What an outcome does to its task, row by row.

import { expect, test } from "vitest";
import { seededRandom } from "../../kit/random.ts";
import { afterFailure, afterStop } from "../../server/queue/outcome.ts";

const policy = {
  on: ["Timeout"],
  maxAttempts: 2,
  backoff: { initialMs: 1_000, maxMs: 1_000, factor: 1, jitter: "none" as const },
};
const failed = {
  failureClass: "Timeout",
  attempt: 1,
  policy,
  onExhausted: "deadLetter" as const,
  random: seededRandom(1),
};

test("a failure that the policy lists is tried again after its delay, until the attempts are used up", () => {
  expect(afterFailure("RUNNING", failed)).toEqual({ type: "retried", delayMs: 1_000 });
  expect(afterFailure("RUNNING", { ...failed, attempt: 2 })).toEqual({ type: "parked" });
  expect(afterFailure("RUNNING", { ...failed, attempt: 2, onExhausted: "fail" })).toEqual({ type: "failed" });
});

test("a failure that the policy does not list is not tried again", () => {
  expect(afterFailure("RUNNING", { ...failed, failureClass: "Broken" })).toEqual({ type: "parked" });
});

test("in a run that stops a failure is neither tried again nor parked", () => {
  expect(afterFailure("CANCELLING", failed)).toEqual({ type: "failed" });
});

test("a task given back is READY again while its run goes on, and takes the cause of one that stops", () => {
  expect(afterStop({ state: "RUNNING" })).toEqual({ type: "requeued" });
  expect(afterStop({ state: "CANCELLING", cause: "cancelled" })).toEqual({ type: "cancelled" });
  expect(afterStop({ state: "CANCELLING", cause: "failed" })).toEqual({ type: "cancelled" });
  expect(afterStop({ state: "CANCELLING", cause: "timed_out" })).toEqual({ type: "timed_out" });
});
