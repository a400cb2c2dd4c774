// The order of a worker's endpoints, and its way back to its own.

import { expect, test } from "vitest";
import { seededRandom } from "../../kit/random.ts";
import { Endpoints } from "../../worker/session/endpoints.ts";
import { inOrder } from "./played_server.ts";

const ENDPOINTS = ["a:1", "b:1", "c:1"];
const MINUTE = 60_000;

test("a fleet spreads over the endpoints, and what one loses comes to all others alike", () => {
  const random = seededRandom(1);
  const fleet = Array.from({ length: 3_000 }, () => new Endpoints(ENDPOINTS, random));
  const share = (of: (each: Endpoints) => string, fleetPart = fleet) =>
    Object.values(Object.groupBy(fleetPart, of)).map((part) => (part?.length ?? 0) / fleetPart.length);
  for (const part of share(({ current }) => current)) expect(part).toBeCloseTo(1 / 3, 1);
  const lost = fleet.filter(({ current }) => current === "a:1");
  const after = share((each) => each.next(), lost);
  expect(after).toHaveLength(2);
  for (const part of after) expect(part).toBeCloseTo(1 / 2, 1);
});

test("each is tried in turn, round and round; one that is named twice counts once", () => {
  const endpoints = new Endpoints([...ENDPOINTS, "b:1"], inOrder);
  expect(endpoints.size).toBe(3);
  expect([endpoints.current, ...Array.from({ length: 4 }, () => endpoints.next())]).toEqual([
    ...["a:1", "b:1", "c:1", "a:1", "b:1"],
  ]);
});

test("a worker that is elsewhere goes back within 30 to 90 s, and waits twice as long after each failure, up to a bound", () => {
  const endpoints = new Endpoints(ENDPOINTS, seededRandom(3));
  const { own } = endpoints;
  expect(endpoints.returnMs()).toBeUndefined();
  const other = endpoints.next();
  endpoints.reached(other);
  const waits = Array.from({ length: 1_000 }, () => endpoints.returnMs() ?? 0);
  expect(Math.min(...waits)).toBeGreaterThanOrEqual(MINUTE / 2);
  expect(Math.max(...waits)).toBeLessThanOrEqual((3 * MINUTE) / 2);
  // No two together: the spread is as wide as the bounds.
  expect(Math.max(...waits) - Math.min(...waits)).toBeGreaterThan(0.9 * MINUTE);
  endpoints.returnFailed();
  expect(endpoints.returnMs()).toBeGreaterThanOrEqual(MINUTE);
  for (let count = 0; count < 2_000; count += 1) endpoints.returnFailed();
  expect(endpoints.returnMs()).toBeGreaterThanOrEqual(7.5 * MINUTE);
  expect(endpoints.returnMs()).toBeLessThanOrEqual(22.5 * MINUTE);
  endpoints.reached(own);
  expect(endpoints.returnMs()).toBeUndefined();
  endpoints.reached(other);
  expect(endpoints.returnMs()).toBeLessThanOrEqual((3 * MINUTE) / 2);
});
