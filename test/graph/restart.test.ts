// A graph that begins again where an earlier run stopped: what succeeded is not executed again, what it led to is.

import fc from "fast-check";
import { expect, test } from "vitest";
import { compilePlan } from "../../server/graph/plan.ts";
import { restart } from "../../server/graph/restart.ts";
import { bundleOf, type GraphSketch } from "./graph_fixture.ts";

const DIAMOND: GraphSketch = {
  nodes: { a: null, b: null, c: null, d: null, e: null },
  edges: ["a -> b", "a -> c: output.go", "a -> e otherwise", "b -> d", "c -> d"],
};

function restarted(sketch: GraphSketch, done: Record<string, object>) {
  const effects = restart(compilePlan(bundleOf(sketch)), {}, new Map(Object.entries(done)) as never);
  const states = Object.fromEntries([...effects.state.nodes.values()].map(({ node, state }) => [node, state]));
  return { states, tasks: effects.tasks.map(({ node }) => node), run: effects.state.run };
}

test("nothing known: an ordinary start", () => {
  expect(restarted(DIAMOND, {})).toMatchObject({ tasks: ["a"], states: { a: "ACTIVE", b: "PENDING" } });
});

test("known outputs are taken as they are: their edges are routed, skipped branches are skipped, the rest is queued", () => {
  expect(restarted(DIAMOND, { a: { go: true }, b: {} })).toEqual({
    run: "RUNNING",
    tasks: ["c"],
    states: { a: "SUCCEEDED", b: "SUCCEEDED", c: "ACTIVE", d: "PENDING", e: "SKIPPED" },
  });
  expect(restarted(DIAMOND, { a: { go: false } })).toMatchObject({ tasks: ["b", "e"], states: { c: "SKIPPED" } });
});

test("an output behind a node that is executed again waits for it", () => {
  expect(restarted(DIAMOND, { b: {}, c: {}, d: {} })).toMatchObject({ tasks: ["a"], states: { d: "PENDING" } });
});

test("every output known: the run has nothing left to do", () => {
  expect(restarted(DIAMOND, { a: { go: true }, b: {}, c: {}, d: {} })).toMatchObject({ tasks: [], run: "SUCCEEDED" });
});

test("whatever is known, no known node that is reached has a task, and every ACTIVE node has one", () => {
  fc.assert(
    fc.property(fc.subarray(["a", "b", "c", "d", "e"]), fc.boolean(), (known, go) => {
      const { states, tasks } = restarted(DIAMOND, Object.fromEntries(known.map((node) => [node, { go }])));
      expect(tasks.filter((node) => known.includes(node))).toEqual([]);
      expect(
        Object.keys(states)
          .filter((node) => states[node] === "ACTIVE")
          .sort(),
      ).toEqual([...tasks].sort());
    }),
  );
});
