// Says which nodes' outputs a settling transaction must load before a node ends: a wide run stays cheap.
// Called by commands/settle.ts through advance.ts. A superset of what the event can read, never less: advance asserts it.

import { ALL_NODES } from "../../language/template.ts";
import type { Template } from "../../language/types.ts";
import type { GraphPlan } from "./types.ts";

const cache = new WeakMap<GraphPlan, Map<string, readonly string[]>>();

/**
 * Nodes whose outputs are needed if a node ends now: what its successors read, what those behind a skipped successor
 * read, and what the output of the run reads. In plan order; the node itself is left out, its output comes in the event.
 */
export function outputsNeeded(plan: GraphPlan, node: string): readonly string[] {
  const ofPlan = cache.get(plan) ?? new Map<string, readonly string[]>();
  cache.set(plan, ofPlan);
  const needed = ofPlan.get(node) ?? compute(plan, node);
  ofPlan.set(node, needed);
  return needed;
}

function compute(plan: GraphPlan, node: string): readonly string[] {
  const read = new Set<string>();
  const note = (template: Template | undefined) => {
    for (const name of template?.nodesRead ?? []) read.add(name);
  };
  note(plan.output);
  const reached = new Set<string>();
  const skippable: string[] = [];
  for (const edge of plan.nodes.get(node)?.outgoing ?? []) {
    note(plan.nodes.get(edge.to)?.input);
    // An edge without a condition is taken, so its target is not skipped.
    if (edge.when !== undefined || edge.otherwise) skippable.push(edge.to);
  }
  for (let name = skippable.pop(); name !== undefined; name = skippable.pop()) {
    if (reached.has(name)) continue;
    reached.add(name);
    for (const { to } of plan.nodes.get(name)?.outgoing ?? []) {
      note(plan.nodes.get(to)?.input);
      skippable.push(to);
    }
  }
  return [...plan.nodes.keys()].filter((name) => name !== node && (read.has(name) || read.has(ALL_NODES)));
}
