// A graph that begins again where an earlier run stopped: what succeeded is not executed again, what it led to is.

import fc from "fast-check";
import { expect, test } from "vitest";
import type { Json } from "../../kit/json.ts";
import { compilePlan } from "../../server/graph/plan.ts";
import { type KnownEnd, restart } from "../../server/graph/restart.ts";
import { graphCases } from "./case_files.ts";
import { CaseRun, casePlan } from "./case_run.ts";
import { bundleOf, type GraphSketch } from "./graph_fixture.ts";

const DIAMOND: GraphSketch = {
  nodes: { a: null, b: null, c: null, d: null, e: null },
  edges: ["a -> b", "a -> c: output.go", "a -> e otherwise", "b -> d", "c -> d"],
};

function restarted(sketch: GraphSketch, done: Record<string, object>) {
  const known = Object.entries(done).map(([node, output]) => ({ node, iteration: 0, end: { output: output as Json } }));
  const effects = restart(compilePlan(bundleOf(sketch)), {}, known);
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

const CASES = graphCases()
  .flatMap(({ file, cases }) => cases.map((one) => [`${file}: ${one.name}`, one] as const))
  .filter(([, { nodes, systems }]) => !JSON.stringify({ nodes, systems }).includes('"map"'));

test.each(CASES)("wherever it stops, what had happened happens again: %s", (_name, graph) => {
  const plan = casePlan(graph);
  const run = new CaseRun(plan, graph.input ?? {});
  const known: KnownEnd[] = [];
  for (const step of [undefined, ...graph.steps]) {
    if (step !== undefined) {
      const { node, iteration, end } = run.step(step);
      known.push({ node, iteration, end: end.type === "succeeded" ? { output: end.output } : end });
    }
    const again = restart(plan, graph.input ?? {}, known);
    expect(again.state).toEqual(run.state);
    expect(again.tasks).toEqual([...run.open.values()]);
  }
});

const REVIEW: GraphSketch = {
  nodes: { draft: null, check: null, done: null },
  edges: ["draft -> check", "check -> draft [loop 3]: output.again", "check -> done otherwise"],
};
const ends = (...list: readonly (readonly [string, number, Json])[]) =>
  list.map(([node, iteration, output]) => ({ node, iteration, end: { output } }));
const ROUND = [
  ["draft", 0, {}],
  ["check", 0, { again: true }],
] as const;

test("a loop goes round as it did, and is behind itself where what is known ends", () => {
  const plan = compilePlan(bundleOf(REVIEW));
  const at = (known: readonly KnownEnd[]) =>
    restart(plan, {}, known).tasks.map(({ node, iteration }) => `${node}/${iteration}`);
  expect(at(ends(...ROUND))).toEqual(["draft/1"]);
  expect(at(ends(...ROUND, ["draft", 1, {}]))).toEqual(["check/1"]);
  expect(at(ends(...ROUND, ["draft", 1, {}], ["check", 1, { again: false }]))).toEqual(["done/0"]);
  // The check of the second round is of no use before its draft.
  expect(at(ends(...ROUND, ["check", 1, { again: false }]))).toEqual(["draft/1"]);
  expect(restart(plan, {}, ends(...ROUND)).state.nodes.get("draft")?.loop).toEqual({
    taken: { 1: 1 },
    last: { again: true },
  });
});
