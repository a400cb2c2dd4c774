// The variables that expressions of a graph read: `nodes` and `iteration`.
// Called by activate.ts (inputs), route.ts (conditions) and finish.ts (the output of the run).
// Nodes that did not succeed are bound as {}, so that has(nodes.x.output) is false for them and never an error.

import { assert } from "../../kit/errors.ts";
import type { Json, JsonObject } from "../../kit/json.ts";
import { ALL_NODES } from "../../language/template.ts";
import type { Step } from "./step.ts";
import type { PlanNode } from "./types.ts";

/** What `iteration` is outside of loops. */
const NO_LOOP: JsonObject = Object.freeze({ index: 0, max: 0 });

/** The `iteration` variable: how often the innermost loop around a node went round. */
export function iterationOf(step: Step, { loop }: PlanNode): JsonObject {
  if (loop === undefined) return NO_LOOP;
  const { taken = {}, last } = step.row(loop).loop ?? {};
  const index = Object.values(taken).reduce((sum, count) => sum + count, 0);
  return { index, max: step.plan.loops.get(loop)?.max ?? 0, ...(last !== undefined && { last }) };
}

/** The `nodes` variable: those that an expression reads, each with its output if it succeeded. */
export function boundNodes(step: Step, nodesRead: readonly string[]): JsonObject {
  const names = nodesRead.includes(ALL_NODES) ? [...step.plan.nodes.keys()] : nodesRead;
  const bound: [string, Json][] = [];
  for (const name of names) {
    const row = step.nodes.get(name);
    if (row === undefined) continue;
    // An output that was not loaded must not pass for a node that was skipped.
    if (row.state === "SUCCEEDED") assert(row.output !== undefined, `output of node ${name} was loaded`);
    const key = step.node(name).map === undefined ? "output" : "outputs";
    bound.push([name, row.state === "SUCCEEDED" && row.output !== undefined ? { [key]: row.output } : {}]);
  }
  return Object.fromEntries(bound);
}
