// Properties of runs over random graphs, outcomes and orders.

import fc from "fast-check";
import { expect, test } from "vitest";
import { canonicalJson, type Json } from "../../kit/json.ts";
import { advance, outputsNeeded } from "../../server/graph/advance.ts";
import type { GraphState, NodeRow, TaskEnd } from "../../server/graph/types.ts";
import {
  isTerminal,
  NODE_TRANSITIONS,
  type NodeState,
  RUN_TRANSITIONS,
  type RunState,
} from "../../server/queue/states.ts";
import { Driven, type GraphSketch } from "./graph_fixture.ts";

const NODES_MAX = 9;
const FAILURE = { class: "Internal", message: "broken" };

// Edges go from lower to higher numbers, so every graph is acyclic; conditions read the output's bits.
const sketches: fc.Arbitrary<GraphSketch> = fc.integer({ min: 1, max: NODES_MAX }).chain((count) => {
  const edge = fc
    .tuple(fc.nat(count - 1), fc.nat(count - 1), fc.constantFrom("", ": output.x", ": output.y", " otherwise"))
    .filter(([from, to]) => from < to)
    .map(([from, to, how]) => `n${from} -> n${to}${how}`);
  return fc
    .tuple(
      count > 1 ? fc.uniqueArray(edge, { maxLength: 3 * count }) : fc.constant([]),
      fc.array(fc.nat(count - 1), { maxLength: 4 }),
    )
    .map(([edges, read]) => {
      const look = read.map((node) => `\${{ has(nodes.n${node}.output) ? nodes.n${node}.output : {} }}`);
      const nodes = Object.fromEntries(
        Array.from({ length: count }, (_, node) => [`n${node}`, node % 2 === 0 ? look : null]),
      );
      return { nodes, edges, output: look };
    });
});

const ends: fc.Arbitrary<TaskEnd> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      type: fc.constant("succeeded" as const),
      output: fc.record({ x: fc.boolean(), y: fc.boolean() }),
    }),
  },
  { weight: 1, arbitrary: fc.constant<TaskEnd>({ type: "succeeded", output: {} }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom<TaskEnd>({ type: "failed", failure: FAILURE }, { type: "denied", failure: FAILURE }),
  },
  { weight: 1, arbitrary: fc.constantFrom<TaskEnd>({ type: "parked", failure: FAILURE }, { type: "cancelled" }) },
);

const canAct = (row: NodeRow) => !isTerminal<NodeState>(NODE_TRANSITIONS, row.state);
const ended = (run: RunState) => isTerminal<RunState>(RUN_TRANSITIONS, run);

function checkInvariants(run: Driven, before: GraphState): void {
  const rows = [...run.state.nodes.values()];
  const open = rows.filter((row) => row.openTasks > 0).map((row) => row.node);
  expect(open.sort(), "open tasks are those that were made and have not ended").toEqual([...run.open].sort());
  if (run.state.run === "RUNNING") expect(rows.some(canAct), "a run that nobody can advance has ended").toBe(true);
  if (run.state.run === "CANCELLING") expect(open.length, "a run stops only while tasks are held").toBeGreaterThan(0);
  if (ended(run.state.run)) expect(rows.filter(canAct), "nobody can act in an ended run").toEqual([]);
  for (const [name, row] of before.nodes) {
    if (!canAct(row)) expect(run.state.nodes.get(name), "terminal nodes never change").toEqual(row);
  }
  const changed = rows.filter((row) => row !== before.nodes.get(row.node)).map((row) => row.node);
  expect(
    run.last?.changed.map((row) => row.node),
    "changed rows are told",
  ).toEqual(changed);
}

test("a run finishes exactly when no node can act, whatever its tasks do and in whatever order", () => {
  fc.assert(
    fc.property(
      sketches,
      fc.infiniteStream(ends),
      fc.infiniteStream(fc.nat()),
      fc.option(fc.nat(6), { freq: 4 }),
      (sketch, outcomes, picks, stopAfter) => {
        const run = new Driven(sketch);
        let before = run.state;
        checkInvariants(run.start(), before);
        for (let count = 0; run.open.size > 0; count += 1) {
          before = run.state;
          if (count === stopAfter) run.apply({ type: "stopped", cause: "cancelled", failure: FAILURE });
          else {
            const open = [...run.open];
            run.end(open[(picks.next().value as number) % open.length] as string, outcomes.next().value as TaskEnd);
          }
          checkInvariants(run, before);
          expect(count, "a run ends").toBeLessThan(2 * NODES_MAX + 2);
        }
        const parked = [...run.state.nodes.values()].some((row) => row.state === "PARKED");
        expect(run.state.run === "RUNNING").toBe(parked);
        expect(new Set(run.made.map((task) => task.node)).size, "one task a node").toBe(run.made.length);
      },
    ),
    { numRuns: 1_000 },
  );
});

test("the order of task ends does not matter where nothing fails", () => {
  const outputs = fc.array(fc.record({ x: fc.boolean(), y: fc.boolean() }), {
    minLength: NODES_MAX,
    maxLength: NODES_MAX,
  });
  fc.assert(
    fc.property(sketches, outputs, fc.infiniteStream(fc.nat()), (sketch, values, picks) => {
      // An unconditional edge from every node with conditions keeps NoRoute away.
      const names = Object.keys(sketch.nodes);
      const edges = [...(sketch.edges ?? []), ...names.map((name) => `${name} -> end`)];
      const total = { ...sketch, nodes: { ...sketch.nodes, end: null }, edges };
      const drive = (pick: (count: number) => number) => {
        // Inputs that look at unrelated nodes may differ by order; node states and the output may not.
        const run = new Driven(total).start();
        while (run.open.size > 0) {
          const open = [...run.open].sort();
          const node = open[pick(open.length)] as string;
          run.succeed(node, (values[Number(node.slice(1))] ?? {}) as Json);
        }
        return canonicalJson([run.state.run, run.nodeStates(), run.output ?? null]);
      };
      const first = drive(() => 0);
      expect(drive((count) => count - 1)).toBe(first);
      expect(drive((count) => (picks.next().value as number) % count)).toBe(first);
      expect(first).toContain("SUCCEEDED");
    }),
    { numRuns: 300 },
  );
});

test("advance changes neither the state it is given nor what an equal call gives", () => {
  fc.assert(
    fc.property(sketches, fc.infiniteStream(ends), (sketch, outcomes) => {
      const run = new Driven(sketch).start();
      while (run.open.size > 0) {
        const [node] = run.open;
        const event = {
          type: "task_ended",
          node: node as string,
          iteration: 0,
          end: outcomes.next().value as TaskEnd,
        } as const;
        const copy = structuredClone(run.state);
        const first = advance(run.plan, run.state, event);
        expect(run.state).toEqual(copy);
        expect(advance(run.plan, copy, event)).toEqual(first);
        run.apply(event);
      }
    }),
    { numRuns: 200 },
  );
});

test("the outputs that are needed are enough to advance as if all had been loaded", () => {
  fc.assert(
    fc.property(sketches, fc.infiniteStream(ends), (sketch, outcomes) => {
      const run = new Driven(sketch).start();
      while (run.open.size > 0) {
        const [node] = run.open;
        const event = {
          type: "task_ended",
          node: node as string,
          iteration: 0,
          end: outcomes.next().value as TaskEnd,
        } as const;
        const needed = outputsNeeded(run.plan, node as string);
        const rows = [...run.state.nodes].map(([name, row]): [string, NodeRow] => {
          const { output: _output, ...bare } = row;
          return [name, needed.includes(name) ? row : bare];
        });
        const sparse = advance(run.plan, { ...run.state, nodes: new Map(rows) }, event);
        run.apply(event);
        expect(sparse.changed).toEqual(run.last?.changed);
        expect(sparse.tasks).toEqual(run.last?.tasks);
        expect(sparse.output).toEqual(run.last?.output);
        expect(sparse.state.run).toEqual(run.state.run);
      }
    }),
    { numRuns: 300 },
  );
});
