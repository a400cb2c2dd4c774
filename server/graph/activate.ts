// Makes a node whose join is satisfied ACTIVE: evaluates its input and makes its task, or its output if it needs none.
// Called by advance.ts (entries) and join.ts.
// Never reads an output that was not loaded: bindings.ts asserts that.

import type { Json } from "../../kit/json.ts";
import type { Evaluated } from "../../language/types.ts";
import { boundNodes, inputOf, iterationOf } from "./bindings.ts";
import { endFailed, succeedNode } from "./end_node.ts";
import { activateMap } from "./map_items.ts";
import type { Step } from "./step.ts";
import type { PlanNode } from "./types.ts";

/** Activates a PENDING node. */
export function activate(step: Step, node: PlanNode): void {
  if (node.map !== undefined) activateMap(step, node, node.map);
  else if (node.transform !== undefined) transform(step, node, node.transform);
  else activateAgent(step, node);
}

function activateAgent(step: Step, node: PlanNode): void {
  const input = nodeInput(step, node);
  if (!input.ok) {
    endFailed(step, node.name, { class: "InputInvalid", message: input.error }, { how: "fail" });
    return;
  }
  const { iteration } = step.row(node.name);
  step.move(node.name, "activate", { openTasks: 1 });
  step.tasks.set(node.name, [{ node: node.name, iteration, item: -1, agent: node.agent, input: input.value }]);
}

function transform(step: Step, node: PlanNode, template: NonNullable<PlanNode["transform"]>): void {
  const evaluated = template.evaluate({
    input: inputOf(step, node.inner),
    nodes: boundNodes(step, template.nodesRead, node.inner),
    iteration: iterationOf(step, node),
  });
  const made = evaluated.ok ? fitted(node, evaluated.value) : evaluated;
  if (!made.ok) {
    const failed = node.port === "enter" ? "InputInvalid" : node.port === "leave" ? "OutputInvalid" : "TransformFailed";
    endFailed(step, node.name, { class: failed, message: made.error }, { how: "fail" });
    return;
  }
  step.move(node.name, "activate");
  succeedNode(step, node.name, made.value);
}

function nodeInput(step: Step, node: PlanNode): Evaluated<Json> {
  const input = inputOf(step, node.scope);
  const evaluated = node.input?.evaluate({
    input,
    nodes: boundNodes(step, node.input.nodesRead, node.scope),
    iteration: iterationOf(step, node),
  }) ?? { ok: true, value: input };
  return evaluated.ok ? fitted(node, evaluated.value) : evaluated;
}

function fitted(node: PlanNode, given: Json): Evaluated<Json> {
  const value = node.fillInput(given);
  const problem = node.checkInput(value);
  return problem === undefined ? { ok: true, value } : { ok: false, error: problem };
}
