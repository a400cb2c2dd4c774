// Whose word counts about a task: by token and session, never by number or time.

import { expect, test } from "vitest";
import { fence, isPresented, judgeStaleOutcome, settlingOrder } from "../../server/queue/fence.ts";

const a = { token: "t1", sessionId: "ses_a" };

test.each([
  ["the holder", { lease: a }, a, "held"],
  ["the holder's session with another token", { lease: a }, { ...a, token: "t0" }, "lost"],
  ["another session with the holder's token", { lease: a }, { ...a, sessionId: "ses_b" }, "lost"],
  ["the last holder of an expired lease", { late: a }, a, "revived"],
  ["another session with the last token", { late: a }, { ...a, sessionId: "ses_b" }, "lost"],
  ["an earlier holder once another one claimed", { lease: { token: "t2", sessionId: "ses_b" } }, a, "lost"],
  ["anybody of a task that was given back", {}, a, "lost"],
] as const)("%s", (_who, holders, presented, expected) => {
  expect(fence(holders, presented)).toBe(expected);
});

test("what the server found out by itself is about the lease whose token it names, whoever holds the task by now", () => {
  expect(isPresented(a, { token: "t1" })).toBe(true);
  expect(isPresented(a, { token: "t0" })).toBe(false);
  expect(isPresented(a, a)).toBe(true);
  expect(isPresented(a, { token: "t1", sessionId: "ses_b" })).toBe(false);
});

test("an outcome sent again is a duplicate, one that contradicts the accepted one is not, one of another token is stale", () => {
  const settled = { outcome_token: "t1", outcome_digest: "d1" };
  expect(judgeStaleOutcome(settled, { token: "t1", digest: "d1" })).toBe("duplicate");
  expect(judgeStaleOutcome(settled, { token: "t1", digest: "d2" })).toBe("contradiction");
  expect(judgeStaleOutcome(settled, { token: "t0", digest: "d1" })).toBe("lease_lost");
  expect(judgeStaleOutcome({ outcome_token: null, outcome_digest: null }, { token: "t1", digest: "d1" })).toBe(
    "lease_lost",
  );
});

test("losses are settled after everything else of their batch, in order", () => {
  expect(settlingOrder([{ type: "lost" }, { type: "outcome" }, { type: "lost" }, { type: "stop" }])).toEqual([
    1, 3, 0, 2,
  ]);
});
