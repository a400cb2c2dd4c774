// The rules of concurrency as pure functions: groups and slots of runs, turns of limited tools, and that nothing starves.

import fc from "fast-check";
import { expect, test } from "vitest";
import { CLASS_HEAD_START_MS, claimOrder } from "../../server/queue/claim_order.ts";
import { freeSlots, groupKey, slotAfter, startsAtOnce } from "../../server/queue/concurrency.ts";
import { type ToolTurn, takeTurn } from "../../server/queue/tool_turns.ts";

test("a group's key is a text, number or boolean of bounded length that the database can store", () => {
  expect([groupKey("acme"), groupKey(7), groupKey(true), groupKey("")]).toEqual([
    ...["acme", "7", "true", ""].map((value) => ({ ok: true, value })),
  ]);
  expect(groupKey("a\u0000b\ud800")).toEqual({ ok: true, value: "a\\u0000b\ufffd" });
  for (const [value, found] of [
    [null, "null"],
    [[1], "a list"],
    [{}, "a map"],
  ] as const) {
    expect(groupKey(value)).toEqual({ ok: false, error: `concurrency.key is ${found}, not a text, number or boolean` });
  }
  expect(groupKey("x".repeat(257))).toMatchObject({ ok: false });
});

test("a run goes on at once only if a slot is free and nobody waits", () => {
  expect(startsAtOnce({ max: 2, running: 1, waiting: 0 })).toBe(true);
  expect(startsAtOnce({ max: 2, running: 1, waiting: 1 })).toBe(false);
  expect(startsAtOnce({ max: 2, running: 3, waiting: 0 })).toBe(false);
  expect(startsAtOnce({ max: null, running: 3, waiting: 0 })).toBe(true);
  expect(freeSlots({ max: 1, running: 3 })).toBe(0);
});

test("a slot is kept until the run ends or is parked, and is waited for after that", () => {
  const going = { finished: false, parked: false };
  expect([slotAfter("held", going), slotAfter("waiting", going), slotAfter(null, going)]).toEqual([
    ...["held", "waiting", "waiting"],
  ]);
  for (const before of ["held", "waiting", null] as const) {
    expect(slotAfter(before, { finished: true, parked: false })).toBe(null);
    expect(slotAfter(before, { finished: false, parked: true })).toBe(null);
  }
});

test("a limited tool serves calls in the order in which they came, and none beyond its limit", () => {
  const property = fc.property(fc.integer({ min: 1, max: 4 }), fc.array(fc.nat(9), { maxLength: 60 }), (max, moves) => {
    const turn: ToolTurn = { max, open: 0, waiters: [] };
    const holding = new Set<string>();
    for (const move of moves) {
      const id = `call-${move}`;
      if (holding.delete(id)) {
        turn.open -= 1;
        continue;
      }
      const before = turn.waiters.includes(id) ? turn.waiters.slice(0, turn.waiters.indexOf(id)) : [...turn.waiters];
      const wait = takeTurn(turn, id);
      if (wait === undefined) {
        holding.add(id);
        // Whoever waits before it has a free grant as well.
        expect(turn.open + before.length).toBeLessThanOrEqual(max);
      } else {
        expect(wait.delayMs).toBeGreaterThanOrEqual(100);
        expect(wait.delayMs).toBeLessThanOrEqual(2_000);
        expect(turn.waiters).toContain(id);
      }
      expect(turn.open).toBe(holding.size);
      expect(turn.open).toBeLessThanOrEqual(max);
    }
  });
  fc.assert(property);
});

test("however much of a higher priority comes, what has waited for the head start is next", () => {
  const low = claimOrder(0, "low");
  const overtaking = 2 * CLASS_HEAD_START_MS;
  expect(claimOrder(overtaking - 1, "high")).toBeLessThan(low);
  expect(claimOrder(overtaking + 1, "high")).toBeGreaterThan(low);
  // Fed with one task of high priority a second, and serving one a second: the low one is served within its head start.
  const queue = [{ order: low, name: "low" }];
  for (let second = 0; ; second += 1) {
    expect(second).toBeLessThanOrEqual(overtaking / 1_000 + 1);
    queue.push({ order: claimOrder(second * 1_000, "high"), name: "high" });
    queue.sort((a, b) => a.order - b.order);
    if (queue.shift()?.name === "low") break;
  }
});
