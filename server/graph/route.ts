// Decides which edges of a group are taken: of all edges of one node for one outcome.
// Called by end_node.ts when a node ends.
// All edges whose `when` holds are taken; an edge without `when` always; `otherwise` iff no `when` edge was. With `route: first`
// only the first set that holds. A loop edge that was taken as often as it may counts as not taken, or fails the node.

import type { Json } from "../../kit/json.ts";
import type { LoopSpec } from "../manifests/specs.ts";
import { inputOf, iterationOf } from "./bindings.ts";
import type { Step } from "./step.ts";
import type { FailureValue, PlanEdge, PlanNode } from "./types.ts";

/** The edges of a group that are taken, or why that cannot be said. */
export type Routed =
  | { readonly ok: true; readonly taken: readonly PlanEdge[] }
  | { readonly ok: false; readonly failure: FailureValue };

/** What conditions see beside the input and the iteration. */
export type Ended = { readonly output: Json } | { readonly outputs: Json } | { readonly error: FailureValue };

/** Routes one group: ConditionError if a condition errs, LoopExhausted if a loop edge that says so may not be taken again. */
export function route(step: Step, node: PlanNode, group: readonly PlanEdge[], ended: Ended): Routed {
  const around = { input: inputOf(step, node.scope), iteration: iterationOf(step, node) };
  const bindings = { error: {}, ...ended, ...around } as Record<string, Json>;
  const taken: PlanEdge[] = [];
  let conditionHeld = false;
  for (const edge of group) {
    const [chosen] = taken;
    if (node.first && chosen !== undefined && chosen.set !== edge.set) break;
    if (edge.otherwise) continue;
    if (edge.when !== undefined) {
      const result = edge.when.evaluate(bindings);
      if (!result.ok) {
        const message = `when of the edge ${edge.from} → ${edge.to}: ${result.error}`;
        return { ok: false, failure: { class: "ConditionError", message } };
      }
      if (!result.value) continue;
    }
    if (isExhausted(step, edge)) {
      if (edge.loop.onExhausted === "continue") continue;
      return exhausted(edge);
    }
    if (edge.when !== undefined) conditionHeld = true;
    taken.push(edge);
  }
  const otherwise = node.first ? taken.length === 0 : !conditionHeld;
  for (const edge of otherwise ? group.filter((each) => each.otherwise) : []) {
    if (!isExhausted(step, edge)) taken.push(edge);
    else if (edge.loop.onExhausted === "fail") return exhausted(edge);
  }
  return { ok: true, taken };
}

/** NoRoute if some forward edges had conditions and no edge is taken: a typo never ends green. Leaving a loop is no typo. */
export function noRoute(group: readonly PlanEdge[], taken: readonly PlanEdge[]): FailureValue | undefined {
  if (taken.length > 0 || !group.some((edge) => edge.when !== undefined && edge.loop === undefined)) return undefined;
  const message = "no condition of its edges holds and none is marked otherwise; add one that is";
  return { class: "NoRoute", message };
}

type LoopEdge = PlanEdge & { readonly loop: LoopSpec };

/** True for a loop edge that was taken as often as it may. */
function isExhausted(step: Step, edge: PlanEdge): edge is LoopEdge {
  return edge.loop !== undefined && (step.row(edge.to).loop?.taken[edge.index] ?? 0) >= edge.loop.max;
}

function exhausted({ from, to, loop }: LoopEdge): Routed {
  const message = `the loop ${from} → ${to} went round ${loop.max} times, as often as it may`;
  return { ok: false, failure: { class: "LoopExhausted", message } };
}
