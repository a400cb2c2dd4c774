// What the end of a lease without an outcome does to its task, row by row.

import { expect, test } from "vitest";
import { afterLoss, DELIVERIES_MAX, type LosingLease, leaseLoss, watchSweep } from "../../server/queue/loss.ts";

const expired: LosingLease = { reason: "expired", accepted: true, alive: false, runState: "RUNNING", deliveries: 0 };

test.each([
  ["an expired lease spends a delivery and keeps its token", {}, { type: "requeued", deliveries: 1, keepsToken: true }],
  ["one that renewed in time is kept", { alive: true }, { type: "kept" }],
  ["one that was accepted in time is kept", { reason: "unaccepted", accepted: true }, { type: "kept" }],
  [
    "one never accepted costs nothing, and its token is void",
    { reason: "unaccepted", accepted: false },
    { type: "requeued", deliveries: 0, keepsToken: false },
  ],
  [
    "one never sent costs nothing",
    { reason: "unsent", deliveries: 3 },
    { type: "requeued", deliveries: 3, keepsToken: false },
  ],
  ["one given back costs nothing", { reason: "yielded" }, { type: "requeued", deliveries: 0, keepsToken: false }],
  [
    "one taken away costs nothing, however alive its worker is",
    { reason: "revoked", alive: true, deliveries: 4 },
    { type: "requeued", deliveries: 4, keepsToken: false },
  ],
  ["in a run that stops the task ends", { runState: "CANCELLING" }, { type: "cancelled" }],
  [
    "the last delivery makes it a poison task",
    { deliveries: DELIVERIES_MAX - 1 },
    { type: "poisoned", deliveries: DELIVERIES_MAX },
  ],
  [
    "one before it does not",
    { deliveries: DELIVERIES_MAX - 2 },
    { type: "requeued", deliveries: DELIVERIES_MAX - 1, keepsToken: true },
  ],
] as const)("%s", (_what, more, step) => {
  expect(afterLoss({ ...expired, ...more })).toEqual(step);
});

test.each([
  ["accepted, its session alive", { accepted: true, claimMs: 0, sessionExpireMs: 101 }, undefined],
  ["accepted, its session expired", { accepted: true, claimMs: 0, sessionExpireMs: 99 }, "expired"],
  ["accepted, its session gone", { accepted: true, claimMs: 0 }, "expired"],
  ["not accepted in time", { accepted: false, claimMs: 0, sessionExpireMs: 101 }, "unaccepted"],
  ["claimed a moment ago, whatever its session", { accepted: false, claimMs: 95 }, undefined],
] as const)("a lease %s", (_what, lease, expected) => {
  expect(leaseLoss(lease, 100, 10)).toBe(expected);
});

const TIMES = { ttlMs: 30, gapMs: 15 };
test.each([
  ["nobody ever looked", { seenMs: -Infinity, sweepFromMs: -Infinity }, { seenMs: 100, sweepFromMs: 130 }, false],
  ["somebody looked a moment ago", { seenMs: 98, sweepFromMs: 0 }, { seenMs: 98, sweepFromMs: 0 }, true],
  ["somebody looked within the gap", { seenMs: 86, sweepFromMs: 0 }, { seenMs: 100, sweepFromMs: 0 }, true],
  ["nobody looked for longer than the gap", { seenMs: 84, sweepFromMs: 0 }, { seenMs: 100, sweepFromMs: 130 }, false],
  ["workers may still renew", { seenMs: 99, sweepFromMs: 101 }, { seenMs: 99, sweepFromMs: 101 }, false],
] as const)("the sweep when %s", (_when, before, after, sweeps) => {
  expect(watchSweep(before, 100, TIMES)).toEqual({ watch: after, sweeps });
});
