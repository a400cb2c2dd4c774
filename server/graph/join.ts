// Carries resolved edges to their targets until nothing more follows: joins, activation, skipping, branches that nobody waits for.
// Called by advance.ts after the event itself.
// A node whose last edge was resolved is activated, skipped if none was taken, or fails with JoinUnreachable.

import { activate } from "./activate.ts";
import { endFailed, skipNode } from "./end_node.ts";
import { failRun } from "./finish.ts";
import type { Step } from "./step.ts";

/** Nodes that one event may activate: loops that wait for no task end here. */
export const ACTIVATIONS_MAX = 10_000;

/** See the file header. */
export function resolveEdges(step: Step): void {
  // A node that cannot be activated stops the run; what was still to be resolved is cancelled by then.
  while (step.run === "RUNNING") {
    const due = step.due.shift();
    if (due !== undefined) {
      if (step.row(due).state === "PENDING") begin(step, due);
      continue;
    }
    const next = step.edges.shift();
    if (next === undefined) {
      if (!step.joinWentOn) return;
      step.joinWentOn = false;
      cancelMoot(step);
      continue;
    }
    const { edge, taken } = next;
    const row = step.row(edge.to);
    // Else its join did not wait for this edge.
    if (row.state !== "PENDING") continue;
    step.write({ ...row, unresolved: row.unresolved - 1, taken: row.taken + (taken ? 1 : 0) });
    resolveJoin(step, edge.to);
  }
}

function resolveJoin(step: Step, name: string): void {
  const { unresolved, taken } = step.row(name);
  const { quorum } = step.node(name);
  if (step.joinReached(name)) begin(step, name);
  else if (unresolved === 0 && taken === 0) skipNode(step, name);
  else if (quorum !== undefined && taken > 0 && taken + unresolved < quorum) {
    const message = `its join needs ${quorum} taken edges and can get ${taken + unresolved} at most`;
    endFailed(step, name, { class: "JoinUnreachable", message }, { how: "fail" });
    step.joinWentOn = true;
  }
}

function begin(step: Step, name: string): void {
  const node = step.node(name);
  step.activations += 1;
  if (step.activations > ACTIVATIONS_MAX) {
    const message = `the graph went on ${ACTIVATIONS_MAX} times without waiting for any task`;
    failRun(step, name, { class: "LoopExhausted", message });
    return;
  }
  activate(step, node);
  if (node.quorum !== undefined) step.joinWentOn = true;
}

// Once a join has gone on, what leads nowhere but to it works for nobody: it ends without effect. What the event skips is skipped.
function cancelMoot(step: Step): void {
  for (const name of step.plan.order.toReversed()) {
    const { state } = step.row(name);
    if (state !== "PENDING" && state !== "ACTIVE" && state !== "PARKED") continue;
    const forward = step.node(name).outgoing.filter((edge) => edge.loop === undefined);
    const onward = forward.filter((edge) => edge.outcome === "succeeded");
    if (onward.length === 0 || onward.some((edge) => step.row(edge.to).state === "PENDING")) continue;
    step.supersede(name);
    step.move(name, "cancel", { openTasks: 0 });
    // It will neither succeed nor fail.
    for (const edge of forward) step.edges.push({ edge, taken: false });
  }
}
