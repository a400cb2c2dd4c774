// Makes a node whose join is satisfied ACTIVE: evaluates its input and makes its task, or fails it with InputInvalid.
// Called by advance.ts (entries) and resolve_edges.ts (joins).
// Never reads an output that was not loaded: bindings.ts asserts that.

import type { Json } from "../../kit/json.ts";
import type { Evaluated } from "../../language/types.ts";
import { boundNodes, FIRST_ITERATION } from "./bindings.ts";
import { failNode } from "./finish.ts";
import type { Step } from "./step.ts";
import type { PlanNode } from "./types.ts";

/** Activates a PENDING node. */
export function activate(step: Step, node: PlanNode): void {
  const input = nodeInput(step, node);
  if (!input.ok) {
    failNode(step, node.name, { class: "InputInvalid", message: input.error });
    return;
  }
  const { iteration } = step.row(node.name);
  step.move(node.name, "activate", { openTasks: 1 });
  step.tasks.set(node.name, { node: node.name, iteration, item: -1, agent: node.agent, input: input.value });
}

function nodeInput(step: Step, node: PlanNode): Evaluated<Json> {
  const evaluated = node.input?.evaluate({
    input: step.input,
    nodes: boundNodes(step, node.input),
    iteration: FIRST_ITERATION,
  }) ?? { ok: true, value: step.input };
  if (!evaluated.ok) return evaluated;
  const value = node.fillInput(evaluated.value);
  const problem = node.checkInput(value);
  return problem === undefined ? { ok: true, value } : { ok: false, error: problem };
}
