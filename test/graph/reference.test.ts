// Random graphs with random outcomes in random orders: the product and an interpreter that was written separately agree after every event;
// where joins wait for all and nothing loops, every order of completion reaches the same end.

import fc from "fast-check";
import { expect, test } from "vitest";
import type { TaskEnd } from "../../server/graph/types.ts";
import { Driven, type GraphSketch, type NodeMore } from "./graph_fixture.ts";
import { type Flags, type RefEdge, type RefEnd, Reference, type RefNode } from "./reference.ts";

interface RandomGraph {
  readonly nodes: readonly RefNode[];
  readonly edges: readonly RefEdge[];
}

const flags: fc.Arbitrary<Flags> = fc.record({ x: fc.boolean(), y: fc.boolean() });
const ends: fc.Arbitrary<RefEnd> = fc.oneof(
  { weight: 10, arbitrary: flags.map((output): RefEnd => ({ how: "ok", output })) },
  {
    weight: 2,
    arbitrary: fc.constantFrom<RefEnd>({ how: "failed", class: "Broken" }, { how: "failed", class: "Timeout" }),
  },
  { weight: 1, arbitrary: fc.constant<RefEnd>({ how: "denied" }) },
);

const OUTCOMES = ["failed", "timedOut", "policyDenied"] as const;
type RawEdge = { a: number; b: number; kind: string; back: number };

// Nodes are in an order in which forward edges lead from lower to higher numbers.
function graphs(loops: boolean, quorums: boolean): fc.Arbitrary<RandomGraph> {
  return fc.integer({ min: 2, max: 8 }).chain((count) => {
    const node = fc.record({
      quorum: quorums ? fc.constantFrom(0, 0, 0, 1, 2) : fc.constant(0),
      first: fc.constantFrom(false, false, false, true),
      transform: fc.option(flags, { freq: 6, nil: undefined }),
    });
    const edge: fc.Arbitrary<RawEdge> = fc.record({
      a: fc.nat(count - 1),
      b: fc.nat(count - 1),
      kind: fc.constantFrom(
        "",
        "",
        "",
        "x",
        "y",
        "otherwise",
        "failed",
        "failed otherwise",
        "timedOut",
        "policyDenied",
      ),
      back: loops ? fc.constantFrom(0, 0, 0, 1, 2) : fc.constant(0),
    });
    return fc
      .tuple(fc.array(node, { minLength: count, maxLength: count }), fc.array(edge, { maxLength: 3 * count }))
      .map(([nodes, raw]) => graphOf(nodes, raw));
  });
}

type RawNode = Omit<RefNode, "name" | "transform"> & { readonly transform: Flags | undefined };

function graphOf(raw: readonly RawNode[], rawEdges: readonly RawEdge[]): RandomGraph {
  const edges: RefEdge[] = [];
  for (const { a, b, kind, back } of rawEdges) {
    const [from, to] = [Math.min(a, b), Math.max(a, b)];
    if (back === 0 && from === to) continue;
    const words = kind.split(" ");
    const outcome: RefEdge["outcome"] = OUTCOMES.find((word) => words.includes(word)) ?? "succeeded";
    const when = (["x", "y"] as const).find((word) => words.includes(word));
    const rest = { outcome, ...(when && { when }), ...(words.includes("otherwise") && { otherwise: true }) };
    if (back === 0) edges.push({ from: `n${from}`, to: `n${to}`, ...rest });
    else {
      const loop = { max: back, onExhausted: when === "y" ? ("fail" as const) : ("continue" as const) };
      edges.push({ from: `n${to}`, to: `n${from}`, ...rest, loop });
    }
  }
  const seen = new Set<string>();
  const single = edges.filter((edge) => {
    const group = `${edge.from} ${edge.outcome}`;
    const key = edge.otherwise === true ? `${group} otherwise` : `${group} ${edge.to} ${edge.when}`;
    return !seen.has(key) && seen.add(key);
  });
  const leadsTo = (from: string, to: string): boolean =>
    from === to || single.some((edge) => edge.loop === undefined && edge.from === from && leadsTo(edge.to, to));
  const sound = single.filter((edge) => edge.loop === undefined || leadsTo(edge.to, edge.from));
  const nodes = raw.map(({ quorum, transform, ...node }, index): RefNode => {
    const name = `n${index}`;
    const into = sound.filter((edge) => edge.to === name && edge.loop === undefined).length;
    // A transform in a loop would go round without waiting for anybody.
    const loops = sound.some((edge) => edge.loop !== undefined);
    return { ...node, name, quorum: Math.min(quorum, into), ...(transform && !loops && { transform }) };
  });
  return { nodes, edges: sound };
}

function sketchOf({ nodes, edges }: RandomGraph): GraphSketch {
  const text = (edge: RefEdge) => {
    const loop = edge.loop && `loop ${edge.loop.max} ${edge.loop.onExhausted}`;
    const marks = [edge.outcome === "succeeded" ? undefined : edge.outcome, loop].filter((mark) => mark !== undefined);
    const how = edge.otherwise ? " otherwise" : edge.when ? `: output.${edge.when}` : "";
    return `${edge.from} -> ${edge.to}${marks.length === 0 ? "" : ` [${marks.join(", ")}]`}${how}`;
  };
  const more = ({ quorum, first, transform }: RefNode): NodeMore => ({
    ...(quorum > 0 && { join: { quorum } }),
    ...(first && { route: "first" as const }),
    ...(transform && { transform: { ...transform } }),
  });
  return {
    nodes: Object.fromEntries(nodes.map(({ name }) => [name, null])),
    more: Object.fromEntries(nodes.map((node) => [node.name, more(node)])),
    edges: edges.map(text),
  };
}

function taskEnd(end: RefEnd): TaskEnd {
  if (end.how === "ok") return { type: "succeeded", output: { ...end.output } };
  if (end.how === "denied") return { type: "denied", failure: { class: "PolicyDenied", message: "" } };
  return { type: "failed", failure: { class: end.class, message: "" } };
}

/** What can be compared of both. */
function seen(run: Driven) {
  const rows = [...run.state.nodes.values()];
  const { cause } = run.state;
  const stopped = cause === "failed" ? "FAILED" : "POLICY_DENIED";
  return {
    run: cause === undefined ? run.state.run : stopped,
    nodes: Object.fromEntries(rows.map((row) => [row.node, `${row.state}/${row.iteration}`])),
    open: [...run.open].sort(),
  };
}

function told(reference: Reference) {
  return {
    run: reference.run,
    nodes: Object.fromEntries(
      [...reference.state].map(([name, state]) => [name, `${state}/${reference.iteration.get(name)}`]),
    ),
    open: reference.active().sort(),
  };
}

test("the product and the reference agree after every event", () => {
  const ended = new Map<string, number>();
  fc.assert(
    fc.property(graphs(true, true), fc.infiniteStream(ends), fc.infiniteStream(fc.nat()), (graph, outcomes, picks) => {
      const run = new Driven(sketchOf(graph)).start();
      const reference = new Reference(graph.nodes, graph.edges);
      expect(seen(run)).toEqual(told(reference));
      for (let count = 0; run.state.run === "RUNNING"; count += 1) {
        const open = [...run.open].sort();
        const node = open[(picks.next().value as number) % open.length] as string;
        const end = outcomes.next().value as RefEnd;
        run.end(node, taskEnd(end));
        reference.end(node, end);
        expect(seen(run), `after ${node} ${JSON.stringify(end)}`).toEqual(told(reference));
        expect(count, "a run ends").toBeLessThan(5_000);
      }
      ended.set(reference.run, (ended.get(reference.run) ?? 0) + 1);
    }),
    { numRuns: 3_000 },
  );
  expect([...ended.keys()].sort(), "runs of every end were tried").toEqual(["FAILED", "POLICY_DENIED", "SUCCEEDED"]);
});

test("where joins wait for all and nothing loops, every order of completion reaches the same end", () => {
  let succeeded = 0;
  fc.assert(
    fc.property(
      graphs(false, false),
      fc.array(ends, { minLength: 8, maxLength: 8 }),
      fc.infiniteStream(fc.nat()),
      (graph, fixed, picks) => {
        const endOf = (node: string) => fixed[Number(node.slice(1))] as RefEnd;
        const drive = (pick: (count: number) => number) => {
          const run = new Driven(sketchOf(graph)).start();
          while (run.state.run === "RUNNING") {
            const open = [...run.open].sort();
            const node = open[pick(open.length)] as string;
            run.end(node, taskEnd(endOf(node)));
          }
          return seen(run);
        };
        const first = drive(() => 0);
        const reference = new Reference(graph.nodes, graph.edges);
        while (reference.run === "RUNNING") {
          const node = reference.active().at(-1) as string;
          reference.end(node, endOf(node));
        }
        if (first.run !== "SUCCEEDED") {
          // Which of several failures ends the run is a matter of order; that one does is not.
          expect(reference.run).not.toBe("SUCCEEDED");
          return;
        }
        succeeded += 1;
        expect(told(reference)).toEqual(first);
        expect(drive((count) => count - 1)).toEqual(first);
        expect(drive((count) => (picks.next().value as number) % count)).toEqual(first);
      },
    ),
    { numRuns: 500 },
  );
  expect(succeeded, "enough of them succeed").toBeGreaterThan(50);
});
