// When a failed task is tried again, how long it waits, and in what order ready tasks are claimed.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seededRandom } from "../../kit/random.ts";
import { DAY, SECOND } from "../../kit/units.ts";
import type { RetryPolicy } from "../../server/manifests/specs.ts";
import { claimOrder } from "../../server/queue/claim_order.ts";
import { decideRetry, taskRandom } from "../../server/queue/retry.ts";

const POLICY: RetryPolicy = {
  on: ["Timeout", "RateLimited"],
  maxAttempts: 3,
  backoff: { initialMs: 500, maxMs: 20_000, factor: 2, jitter: "full" },
};

function decided(changes: Partial<Parameters<typeof decideRetry>[0]> = {}) {
  return decideRetry({ policy: POLICY, attempt: 1, failureClass: "Timeout", random: seededRandom(1), ...changes });
}

describe("decideRetry", () => {
  test("retries a listed class while attempts are left", () => {
    expect(decided().type).toBe("retry");
    expect(decided({ attempt: 2 }).type).toBe("retry");
    expect(decided({ attempt: 3 })).toEqual({ type: "exhausted" });
    expect(decided({ attempt: 9 })).toEqual({ type: "exhausted" });
  });

  test("refuses a class that is not listed, even with attempts left", () => {
    expect(decided({ failureClass: "OutputInvalid" })).toEqual({ type: "not_retryable" });
    expect(decided({ failureClass: "timeout" })).toEqual({ type: "not_retryable" });
    expect(decided({ policy: { ...POLICY, on: [] }, attempt: 9 })).toEqual({ type: "not_retryable" });
  });

  test("waits at least as long as the peer asked, at most a day", () => {
    expect(decided({ retryAfterMs: 90 * SECOND })).toEqual({ type: "retry", delayMs: 90 * SECOND });
    expect(decided({ retryAfterMs: 0.2, policy: { ...POLICY, backoff: { ...POLICY.backoff, initialMs: 0 } } })).toEqual(
      { type: "retry", delayMs: 1 },
    );
    expect(decided({ retryAfterMs: 1e15 })).toEqual({ type: "retry", delayMs: DAY });
    for (const retryAfterMs of [-5, Number.NaN]) expect(decided({ retryAfterMs })).toEqual(decided());
  });

  test("draws within the bound that grows by the factor up to the maximum", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.integer(), (attempt, seed) => {
        const decision = decided({ attempt, random: seededRandom(seed), policy: { ...POLICY, maxAttempts: 50 } });
        if (decision.type !== "retry") throw new Error("not retried");
        expect(decision.delayMs).toBeGreaterThanOrEqual(0);
        expect(decision.delayMs).toBeLessThanOrEqual(Math.min(20_000, 500 * 2 ** (attempt - 1)));
        expect(Number.isInteger(decision.delayMs)).toBe(true);
      }),
    );
  });

  test("spreads the tasks of one failure over the bound, and repeats for the same task and attempt", () => {
    const delays = Array.from({ length: 200 }, (_, index) => {
      const decision = decided({ attempt: 2, random: taskRandom(`task_${index}`, 2) });
      return decision.type === "retry" ? decision.delayMs : -1;
    });
    expect(new Set(delays).size).toBeGreaterThan(150);
    expect(delays.filter((delay) => delay < 500).length).toBeGreaterThan(60);
    expect(delays.filter((delay) => delay >= 500).length).toBeGreaterThan(60);
    expect(taskRandom("task_1", 2).next()).toBe(taskRandom("task_1", 2).next());
    expect(taskRandom("task_1", 2).next()).not.toBe(taskRandom("task_1", 3).next());
  });
});

describe("claimOrder", () => {
  test("puts high before normal before low of the same moment", () => {
    const at = 1_700_000_000_000;
    expect([claimOrder(at, "low"), claimOrder(at, "high"), claimOrder(at, "normal")].sort((a, b) => a - b)).toEqual([
      claimOrder(at, "high"),
      claimOrder(at, "normal"),
      claimOrder(at, "low"),
    ]);
  });

  test("never lets a low task wait for high ones that arrive more than a minute later", () => {
    expect(claimOrder(0, "low")).toBeLessThan(claimOrder(60 * SECOND + 1, "high"));
    expect(claimOrder(0, "low")).toBeGreaterThan(claimOrder(60 * SECOND - 1, "high"));
  });
});
