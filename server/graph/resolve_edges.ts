// Decides which outgoing edges of a node are taken, and carries that to its successors: join, activation, skipping.
// Called by advance.ts when a node succeeds.
// All edges whose `when` holds are taken, in parallel; an edge without `when` always; `otherwise` iff no `when` edge was.

import type { Json } from "../../kit/json.ts";
import { activate } from "./activate.ts";
import { FIRST_ITERATION } from "./bindings.ts";
import type { Step } from "./step.ts";
import type { FailureValue, PlanEdge, PlanNode } from "./types.ts";

/** The edges of a node, each taken or not, or why that cannot be said. */
export type Routed =
  | { readonly ok: true; readonly edges: readonly ResolvedEdge[] }
  | { readonly ok: false; readonly failure: FailureValue };

interface ResolvedEdge {
  readonly edge: PlanEdge;
  readonly taken: boolean;
}

/** Routes a node's output: ConditionError if a condition errs, NoRoute if some had conditions and no edge is taken. */
export function route(node: PlanNode, input: Json, output: Json): Routed {
  const bindings = { output, error: {}, input, iteration: FIRST_ITERATION };
  const held = new Map<PlanEdge, boolean>();
  for (const edge of node.outgoing) {
    if (edge.when === undefined) continue;
    const result = edge.when.evaluate(bindings);
    if (!result.ok) {
      const message = `when of the edge ${edge.from} → ${edge.to}: ${result.error}`;
      return { ok: false, failure: { class: "ConditionError", message } };
    }
    held.set(edge, result.value);
  }
  const anyHeld = [...held.values()].includes(true);
  const edges = node.outgoing.map((edge) => ({ edge, taken: held.get(edge) ?? (!edge.otherwise || !anyHeld) }));
  if (held.size > 0 && !edges.some((resolved) => resolved.taken)) {
    const message = "no condition of its edges holds and none is marked otherwise; add one that is";
    return { ok: false, failure: { class: "NoRoute", message } };
  }
  return { ok: true, edges };
}

/** Resolves edges at their targets; a target whose last edge this was is activated, or skipped and its own edges resolved. */
export function resolveEdges(step: Step, edges: readonly ResolvedEdge[]): void {
  const waiting = [...edges];
  for (let next = 0; next < waiting.length; next += 1) {
    // A target that cannot be activated stops the run; what was still to be resolved is cancelled by then.
    if (step.run !== "RUNNING") return;
    const { edge, taken } = waiting[next] as ResolvedEdge;
    const row = step.row(edge.to);
    const resolved = { ...row, unresolved: row.unresolved - 1, taken: row.taken + (taken ? 1 : 0) };
    step.write(resolved);
    if (resolved.unresolved > 0) continue;
    const target = step.node(edge.to);
    if (resolved.taken > 0) activate(step, target);
    else {
      step.move(edge.to, "skip");
      for (const skipped of target.outgoing) waiting.push({ edge: skipped, taken: false });
    }
  }
}
