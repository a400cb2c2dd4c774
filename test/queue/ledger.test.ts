// What a call gets from its ledger row: every state, for the holder, its lineage and others, with the same and with other arguments.

import { expect, test } from "vitest";
import {
  type AskingCall,
  IN_FLIGHT_MS_MAX,
  isFirstGrant,
  type LedgerRow,
  nextLedgerStep,
} from "../../server/queue/ledger.ts";
import { declaredRequestId, placedRequestId } from "../../server/queue/request_id.ts";

const NOW = 1_000_000;
const at = (ms: number) => new Date(NOW + ms);
const row = (state: LedgerRow["state"], more: Partial<LedgerRow> = {}): LedgerRow => ({
  ...{
    state,
    attempt: 1,
    tool: "pay",
    arguments_digest: "d",
    grant_id: "gra_1",
    grant_token: "t1",
    grant_expire_time: at(60_000),
  },
  ...{ result: state === "done" ? '"r"' : null, origin_task_id: "task_1", expire_time: at(3_600_000) },
  ...more,
});
const retry = {
  on: ["Http5xx"],
  maxAttempts: 2,
  backoff: { initialMs: 0, maxMs: 0, factor: 1, jitter: "none" as const },
};
const tool = (more: Partial<AskingCall["tool"]> = {}): AskingCall["tool"] => ({
  effect: "write",
  retry,
  idempotency: { mode: "cached", header: "Idempotency-Key", onUnknownOutcome: "deadLetter" },
  ...more,
});
const RETRIES = { idempotency: { mode: "cached", header: "Idempotency-Key", onUnknownOutcome: "retry" } } as const;
const holder: AskingCall = {
  ...{ token: "t1", toolName: "pay", argumentsDigest: "d", originTaskId: "task_1", begun: 1, tool: tool() },
  ...{ holderLives: true, nowMs: NOW },
};
const successor: AskingCall = { ...holder, token: "t2", holderLives: false };
const stranger: AskingCall = { ...holder, token: "t9", originTaskId: "task_9" };

test.each<[string, LedgerRow | undefined, AskingCall, object]>([
  ["no row", undefined, holder, { type: "grant", attempt: 1 }],
  ["done, asked by its lineage", row("done"), successor, { type: "cached", result: '"r"' }],
  ["done, asked by another task in time", row("done"), stranger, { type: "cached", result: '"r"' }],
  [
    "done, asked by another task after the ttl",
    row("done", { expire_time: at(0) }),
    stranger,
    { type: "grant", attempt: 1 },
  ],
  [
    "done, asked by its lineage after the ttl",
    row("done", { expire_time: at(0) }),
    successor,
    { type: "cached", result: '"r"' },
  ],
  ["done without a result", row("done", { result: null }), successor, { type: "cached", result: "null" }],
  ["failed, attempts left", row("failed"), successor, { type: "grant", attempt: 2 }],
  ["failed, none left", row("failed", { attempt: 2 }), successor, { type: "exhausted" }],
  [
    "failed, a task begun twice",
    row("failed", { attempt: 2 }),
    { ...successor, begun: 2 },
    { type: "grant", attempt: 3 },
  ],
  ["failed, asked by another task", row("failed", { attempt: 2 }), stranger, { type: "grant", attempt: 1 }],
  ["denied before", row("denied"), stranger, { type: "grant", attempt: 1 }],
  ["unknown", row("unknown"), successor, { type: "unknown" }],
  ["unknown, asked by another task", row("unknown"), stranger, { type: "unknown" }],
  ["unknown, after the ttl still", row("unknown", { expire_time: at(0) }), stranger, { type: "unknown" }],
  [
    "granted to who asks: the same grant, which ends when it would have",
    row("granted"),
    holder,
    { type: "grant", attempt: 1, grantId: "gra_1", expireTime: at(60_000) },
  ],
  [
    "granted to who asks, and expired: decided anew",
    row("granted", { grant_expire_time: at(0) }),
    holder,
    { type: "grant", attempt: 1, grantId: "gra_1" },
  ],
  ["granted to another task that lives", row("granted"), stranger, { type: "in_flight", delayMs: IN_FLIGHT_MS_MAX }],
  [
    "the same, its grant almost over",
    row("granted", { grant_expire_time: at(300) }),
    stranger,
    { type: "in_flight", delayMs: 300 },
  ],
  ["granted to another task that is gone", row("granted"), { ...stranger, holderLives: false }, { type: "unknown" }],
  [
    "granted to one that lives, beyond the grant",
    row("granted", { grant_expire_time: at(0) }),
    stranger,
    { type: "unknown" },
  ],
  ["granted to a holder that is gone", row("granted"), successor, { type: "unknown" }],
  ["the same, a read", row("granted"), { ...successor, tool: tool({ effect: "read" }) }, { type: "grant", attempt: 1 }],
  [
    "the same, an endpoint that honours keys",
    row("granted"),
    { ...successor, tool: tool(RETRIES) },
    { type: "grant", attempt: 1 },
  ],
])("%s", (_what, found, call, step) => {
  expect(nextLedgerStep(found, call)).toEqual(step);
});

test.each(["granted", "done", "failed", "denied", "unknown"] as const)(
  "%s, with another tool or other arguments: never the result of these",
  (state) => {
    for (const call of [holder, successor, stranger]) {
      expect(nextLedgerStep(row(state), { ...call, argumentsDigest: "other" })).toEqual({ type: "conflict" });
      expect(nextLedgerStep(row(state), { ...call, toolName: "other" })).toEqual({ type: "conflict" });
    }
  },
);

test("request ids: by place, or by a declared key that reaches into no other tool or namespace", () => {
  expect(placedRequestId("task_1", 3, 0)).toBe("auto:task_1/3/0");
  const id = (key: unknown, namespace = "a", name = "b") => declaredRequestId(namespace, name, key);
  expect(id("x/y z")).toEqual({ ok: true, value: "key:a/b/x%2Fy%20z" });
  expect([id(7), id(true)]).toEqual([
    { ok: true, value: "key:a/b/7" },
    { ok: true, value: "key:a/b/true" },
  ]);
  expect(id("b/c", "a", "x")).not.toEqual(id("c", "a", "x/b"));
  for (const key of ["", null, [1], { a: 1 }, undefined, "x".repeat(257)]) expect(id(key).ok, String(key)).toBe(false);
});

test("a grant is the first one, which limits count, for a new request id and for each lineage that shares a declared key", () => {
  expect(isFirstGrant(undefined, "task_1")).toBe(true);
  expect(isFirstGrant({ origin_task_id: null }, "task_1")).toBe(false);
  expect(isFirstGrant({ origin_task_id: "task_1" }, "task_1")).toBe(false);
  expect(isFirstGrant({ origin_task_id: "task_9" }, "task_1")).toBe(true);
});
