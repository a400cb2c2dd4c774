// Which worker may serve a task, and how tasks are given to sessions.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type MatchableSession, matchTasks } from "../../server/queue/match.ts";
import { canServe, requirementsOf, routeOf } from "../../server/queue/route.ts";

describe("a route", () => {
  test("is equal for equal requirements whatever the order of labels, and 16 hex digits", () => {
    const route = routeOf({ runtime: "model", labels: { region: "eu", tier: "gpu" } });
    expect(route).toMatch(/^[0-9a-f]{16}$/);
    expect(routeOf({ runtime: "model", labels: { tier: "gpu", region: "eu" } })).toBe(route);
    const requirements = { labels: { tier: "gpu", region: "eu" } };
    expect(routeOf(requirementsOf({ runtime: "model", requirements }))).toBe(route);
    expect(requirementsOf({ runtime: "handler", handler: { name: "billing" }, requirements })).toEqual({
      ...{ runtime: "handler", handler: "billing", labels: { tier: "gpu", region: "eu" } },
    });
  });

  test("differs with runtime, handler and labels", () => {
    const routes = [
      routeOf({ runtime: "model", labels: {} }),
      routeOf({ runtime: "command", labels: {} }),
      routeOf({ runtime: "handler", handler: "a", labels: {} }),
      routeOf({ runtime: "handler", handler: "b", labels: {} }),
      routeOf({ runtime: "model", labels: { region: "eu" } }),
    ];
    expect(new Set(routes).size).toBe(routes.length);
  });

  test.each([
    [{ runtime: "model", labels: {} }, true],
    [{ runtime: "command", labels: {} }, false],
    [{ runtime: "model", labels: { region: "eu" } }, true],
    [{ runtime: "model", labels: { region: "us" } }, false],
    [{ runtime: "model", labels: { constructor: "x" } }, false],
    [{ runtime: "handler", handler: "billing", labels: {} }, true],
    [{ runtime: "handler", handler: "other", labels: {} }, false],
  ])("with %o is served: %s", (requirements, served) => {
    const worker = { runtimes: ["model", "handler"], handlers: ["billing"], labels: { region: "eu", zone: "a" } };
    expect(canServe(worker, requirements)).toBe(served);
  });
});

describe("matchTasks", () => {
  const session = (sessionId: string, free: number, ...routes: string[]): MatchableSession => ({
    sessionId,
    free,
    routes: new Set(routes),
  });
  const tasks = (...routes: string[]) => routes.map((route, index) => ({ taskId: `t${index}`, route }));

  test("gives each task to the session with the most free credits, ties to the lower id", () => {
    const matches = matchTasks(tasks("r", "r", "r", "r"), [
      session("b", 2, "r"),
      session("a", 1, "r"),
      session("c", 1, "r"),
    ]);
    expect(matches.map((match) => match.sessionId)).toEqual(["b", "a", "b", "c"]);
  });

  test("leaves a task that nobody can serve and goes on with the next", () => {
    expect(matchTasks(tasks("x", "r"), [session("a", 1, "r")])).toEqual([{ taskId: "t1", sessionId: "a" }]);
  });

  test("never gives more than the credits, never a route not served, leaves nothing that fits, and repeats", () => {
    const route = fc.constantFrom<string>("r1", "r2", "r3");
    const sessions = fc.uniqueArray(
      fc.record({
        sessionId: fc.string({ minLength: 1, maxLength: 3 }),
        free: fc.integer({ min: -1, max: 4 }),
        routes: fc.array(route).map((routes) => new Set(routes)),
      }),
      { selector: (one) => one.sessionId, maxLength: 5 },
    );
    fc.assert(
      fc.property(fc.array(route, { maxLength: 15 }), sessions, (routes, open) => {
        const ready = tasks(...routes);
        const matches = matchTasks(ready, open);
        const matchedRoute = new Map(ready.map((task) => [task.taskId, task.route]));
        const left = new Map(open.map((one) => [one.sessionId, one.free]));
        for (const match of matches) {
          left.set(match.sessionId, (left.get(match.sessionId) ?? 0) - 1);
          expect(
            open.find((one) => one.sessionId === match.sessionId)?.routes.has(matchedRoute.get(match.taskId) ?? ""),
          ).toBe(true);
        }
        for (const [sessionId, free] of left) {
          const before = open.find((one) => one.sessionId === sessionId)?.free ?? 0;
          expect(free).toBeGreaterThanOrEqual(Math.min(before, 0));
        }
        expect(new Set(matches.map((match) => match.taskId)).size).toBe(matches.length);
        const unmatched = ready.filter((task) => !matches.some((match) => match.taskId === task.taskId));
        for (const task of unmatched)
          expect(open.some((one) => (left.get(one.sessionId) ?? 0) > 0 && one.routes.has(task.route))).toBe(false);
        expect(matchTasks(ready, [...open].reverse())).toEqual(matches);
      }),
    );
  });
});
