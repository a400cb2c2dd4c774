// Plans: what is compiled, what is refused as a broken invariant, and which outputs an event needs.

import { describe, expect, test } from "vitest";
import { outputsNeeded } from "../../server/graph/advance.ts";
import { compilePlan } from "../../server/graph/plan.ts";
import { bundleOf, type GraphSketch } from "./graph_fixture.ts";

const plan = (sketch: GraphSketch) => compilePlan(bundleOf(sketch));

describe("compilePlan", () => {
  test("entries, incoming counts and outgoing edges follow the file", () => {
    const compiled = plan({
      nodes: { a: null, b: null, c: null },
      edges: ["a -> c: output.x", "a -> c otherwise", "b -> c"],
    });
    expect(compiled.entries).toEqual(["a", "b"]);
    expect(compiled.nodes.get("c")?.incoming).toBe(3);
    expect(compiled.nodes.get("a")?.outgoing).toMatchObject([
      { to: "c", otherwise: false },
      { to: "c", otherwise: true },
    ]);
  });

  test.each<[string, GraphSketch, RegExp]>([
    ["a cycle", { nodes: { a: null, b: null }, edges: ["a -> b", "b -> a"] }, /no cycle but through loop edges/],
    ["an edge to nowhere", { nodes: { a: null }, edges: ["a -> b"] }, /declared nodes/],
    [
      "a condition that does not compile",
      { nodes: { a: null, b: null }, edges: ["a -> b: nodes.a"] },
      /unknown name "nodes"/,
    ],
    ["an input that does not compile", { nodes: { a: "${{ inputs.x }}" } }, /input of node a compiles/],
    [
      "an output that does not compile",
      { nodes: { a: null }, output: "${{ iteration.index }}" },
      /output of the system/,
    ],
    ["a schema that does not compile", { nodes: { a: null }, outputSchema: { typ: "x" } }, /schema compiles/],
  ])("%s is a broken invariant", (_name, sketch, message) => {
    expect(() => plan(sketch)).toThrow(message);
  });
});

describe("outputsNeeded", () => {
  const compiled = plan({
    nodes: {
      a: null,
      b: null,
      c: { x: "${{ nodes.a.output }}" },
      d: { x: "${{ nodes.b.output }}", y: "${{ has(nodes.c.output) }}" },
      e: { x: "${{ nodes.a.output }}", y: "${{ nodes.d.output }}" },
    },
    edges: ["a -> b", "a -> c: output.go", "a -> e otherwise", "c -> d", "b -> d", "d -> e"],
    output: "${{ nodes.e.output }}",
  });

  test("what direct successors and the output read is needed, the ending node itself is not", () => {
    expect(outputsNeeded(compiled, "d")).toEqual(["a", "e"]);
    expect(outputsNeeded(compiled, "b")).toEqual(["c", "e"]);
  });

  test("what may run because a successor is skipped is needed too", () => {
    expect(outputsNeeded(compiled, "a")).toEqual(["b", "c", "d", "e"]);
  });

  test("a template that computes names needs every output", () => {
    const all = plan({ nodes: { a: null, b: null, c: "${{ nodes[input.x] }}" }, edges: ["a -> c", "b -> c"] });
    expect(outputsNeeded(all, "a")).toEqual(["b", "c"]);
  });
});
