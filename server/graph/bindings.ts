// The variables that expressions of a graph read: `nodes` and `iteration`.
// Called by activate.ts (inputs), resolve_edges.ts (conditions) and finish.ts (the output of the run).
// Nodes that did not succeed are bound as {}, so that has(nodes.x.output) is false for them and never an error.

import { assert } from "../../kit/errors.ts";
import type { Json, JsonObject } from "../../kit/json.ts";
import { ALL_NODES } from "../../language/template.ts";
import type { Template } from "../../language/types.ts";
import type { Step } from "./step.ts";

/** What `iteration` is bound to as long as a graph has no loop edges. */
export const FIRST_ITERATION: JsonObject = Object.freeze({ index: 0, max: 0 });

/** The `nodes` variable: those that a template reads, each with its output if it succeeded. */
export function boundNodes(step: Step, template: Template): JsonObject {
  const names = template.nodesRead.includes(ALL_NODES) ? [...step.plan.nodes.keys()] : template.nodesRead;
  const bound: [string, Json][] = [];
  for (const name of names) {
    const row = step.nodes.get(name);
    if (row === undefined) continue;
    // An output that was not loaded must not pass for a node that was skipped.
    if (row.state === "SUCCEEDED") assert(row.output !== undefined, `output of node ${name} was loaded`);
    bound.push([name, row.state === "SUCCEEDED" && row.output !== undefined ? { output: row.output } : {}]);
  }
  return Object.fromEntries(bound);
}
