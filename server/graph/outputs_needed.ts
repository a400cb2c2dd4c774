// Says which nodes' outputs a settling transaction must load before a node ends: a wide run stays cheap.
// Called by commands/settle.ts through advance.ts. A superset of what the event can read, never less: bindings.ts asserts it.

import { ALL_NODES } from "../../language/template.ts";
import type { Template } from "../../language/types.ts";
import { fullName } from "./bindings.ts";
import type { GraphPlan, PlanEdge, PlanNode } from "./types.ts";

const cache = new WeakMap<GraphPlan, Map<string, readonly string[]>>();

/**
 * Nodes whose outputs are needed if a node ends now: what its successors read, what those behind a successor that is skipped or
 * ends at once read, and what the output of the run reads. In plan order; the node itself is left out, its output comes in the event.
 */
export function outputsNeeded(plan: GraphPlan, node: string): readonly string[] {
  const ofPlan = cache.get(plan) ?? new Map<string, readonly string[]>();
  cache.set(plan, ofPlan);
  const needed = ofPlan.get(node) ?? compute(plan, node);
  ofPlan.set(node, needed);
  return needed;
}

function compute(plan: GraphPlan, node: string): readonly string[] {
  const read = new Set<string>(plan.output.nodesRead);
  const add = (template: Template | undefined, scope: string | undefined) => {
    for (const name of template?.nodesRead ?? []) read.add(name === ALL_NODES ? name : fullName(name, scope));
  };
  const note = (target: PlanNode | undefined) => {
    add(target?.input, target?.scope);
    add(target?.transform, target?.inner);
    add(target?.map?.over, target?.scope);
  };
  // Whatever is evaluated in a contained system reads its input.
  for (const { name, port } of plan.nodes.values()) if (port === "enter") read.add(name);
  const passed = new Set<string>();
  const passing = [node];
  for (let name = passing.pop(); name !== undefined; name = passing.pop()) {
    if (passed.has(name)) continue;
    passed.add(name);
    const source = plan.nodes.get(name);
    for (const edge of source?.outgoing ?? []) {
      const target = plan.nodes.get(edge.to);
      note(target);
      // The node that ends takes an edge without a condition; any other node passed here may have been skipped.
      const taken = name === node && isSureToBeTaken(source, edge);
      if (!taken || endsAtOnce(target)) passing.push(edge.to);
      // Going round may let joins go on that other edges satisfy alone.
      if (edge.loop !== undefined)
        for (const again of plan.loops.get(edge.to)?.again ?? []) note(plan.nodes.get(again));
    }
  }
  return [...plan.nodes.keys()].filter((name) => name !== node && (read.has(name) || read.has(ALL_NODES)));
}

function isSureToBeTaken(source: PlanNode | undefined, { when, otherwise }: PlanEdge): boolean {
  const oneGroup = source?.outgoing.every((edge) => edge.outcome === "succeeded" && edge.loop === undefined);
  return oneGroup === true && source?.first === false && when === undefined && !otherwise;
}

// A failure to make its input or its list ends a node at once as well; an edge may catch that.
function endsAtOnce(node: PlanNode | undefined): boolean {
  return (
    node?.system !== undefined ||
    node?.transform !== undefined ||
    node?.map !== undefined ||
    node?.quorum !== undefined ||
    node?.outgoing.some((edge) => edge.outcome !== "succeeded") === true
  );
}
