// Takes a loop edge: its target and everything behind it begin anew, in the next iteration.
// Called by end_node.ts. Live tasks of what begins anew are superseded, outputs are gone but for `iteration.last`.
// Bounded: a loop edge counts in its target's row, which only a loop that begins earlier resets.

import type { Json } from "../../kit/json.ts";
import type { Step } from "./step.ts";
import type { NodeRow, PlanEdge } from "./types.ts";

/** See the file header. */
export function goRound(step: Step, edge: PlanEdge, output: Json | undefined): void {
  const again = new Set(step.plan.loops.get(edge.to)?.again);
  step.edges = step.edges.filter((waiting) => !again.has(waiting.edge.from));
  for (const name of again) {
    step.supersede(name);
    const { iteration, state, unresolved, taken, loop } = step.row(name);
    const next = state === "PENDING" ? iteration : iteration + 1;
    const fresh = { node: name, iteration: next, state: "PENDING", openTasks: 0 } as const;
    if (name === edge.to) {
      const counts = { ...loop?.taken, [edge.index]: (loop?.taken[edge.index] ?? 0) + 1 };
      const last = output === undefined ? {} : { last: output };
      step.write({ ...fresh, unresolved, taken, loop: { taken: counts, ...last } });
    } else step.write({ ...fresh, ...edgesFromOutside(step, name, again) });
  }
  step.due = step.due.filter((name) => !again.has(name));
  step.due.push(edge.to);
  // A join that edges from elsewhere satisfy alone does not wait for the loop.
  for (const name of again) if (name !== edge.to && step.joinReached(name)) step.due.push(name);
}

// Edges from nodes that keep their end count as they did; the others are open again.
function edgesFromOutside(step: Step, name: string, again: ReadonlySet<string>): Pick<NodeRow, "unresolved" | "taken"> {
  let unresolved = 0;
  let taken = 0;
  for (const edge of step.plan.incoming.get(name) ?? []) {
    const { state, routes } = step.row(edge.from);
    const ended = state !== "PENDING" && state !== "ACTIVE" && state !== "PARKED";
    if (again.has(edge.from) || !ended || step.edges.some((waiting) => waiting.edge === edge)) unresolved += 1;
    else if (routes?.includes(edge.index)) taken += 1;
  }
  return { unresolved, taken };
}
