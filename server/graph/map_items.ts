// A mapped node: a task an item, so many of them at a time, their results in the order of the list.
// Called by activate.ts when the node begins, and by advance.ts for each item that ends.
// One item that ends costs the same however many there are; only the last one gathers the outputs.

import { assert } from "../../kit/errors.ts";
import type { Json } from "../../kit/json.ts";
import { MIB } from "../../kit/units.ts";
import type { Evaluated } from "../../language/types.ts";
import { boundNodes, inputOf, iterationOf } from "./bindings.ts";
import { endFailed, succeedNode } from "./end_node.ts";
import type { Step } from "./step.ts";
import type { FailureValue, ItemResult, NewTask, PlanMap, PlanNode, TaskEnd } from "./types.ts";

/** Items of a map at most. */
export const ITEMS_MAX = 10_000;
/** Size of the inputs of all items, and of the outputs of all items, as JSON: characters at most. */
export const ITEMS_TEXT_MAX = 8 * MIB;

/** Activates a mapped node: its tasks are made, and as many of them let go as may run at a time. */
export function activateMap(step: Step, node: PlanNode, map: PlanMap): void {
  const inputs = itemInputs(step, node, map);
  if (!inputs.ok) {
    endFailed(step, node.name, { class: "InputInvalid", message: inputs.error }, { how: "fail" });
    return;
  }
  const total = inputs.value.length;
  if (total === 0) {
    step.move(node.name, "activate");
    succeedNode(step, node.name, []);
    return;
  }
  const { iteration } = step.row(node.name);
  const next = Math.min(total, map.concurrency);
  step.move(node.name, "activate", { openTasks: total, items: { total, next } });
  const tasks = inputs.value.map(
    (input, item): NewTask => ({
      ...{ node: node.name, iteration, item, agent: node.agent, input },
      ...(item >= next && { held: true }),
    }),
  );
  step.tasks.set(node.name, tasks);
}

function itemInputs(step: Step, node: PlanNode, map: PlanMap): Evaluated<Json[]> {
  const around = { input: inputOf(step, node.scope), iteration: iterationOf(step, node) };
  const list = map.over.evaluate({ ...around, nodes: boundNodes(step, map.over.nodesRead, node.scope) });
  if (!list.ok) return { ok: false, error: `over: ${list.error}` };
  if (!Array.isArray(list.value)) return { ok: false, error: "over is not a list" };
  if (list.value.length > ITEMS_MAX) {
    return { ok: false, error: `over has ${list.value.length} items, more than ${ITEMS_MAX}` };
  }
  const bindings = { ...around, nodes: boundNodes(step, node.input?.nodesRead ?? [], node.scope) };
  const inputs: Json[] = [];
  let size = 0;
  for (const [index, item] of list.value.entries()) {
    const evaluated = node.input?.evaluate({ ...bindings, [map.as]: item }) ?? { ok: true, value: item };
    if (!evaluated.ok) return { ok: false, error: `item ${index}: ${evaluated.error}` };
    const value = node.fillInput(evaluated.value);
    const problem = node.checkInput(value);
    if (problem !== undefined) return { ok: false, error: `item ${index}: ${problem}` };
    size += JSON.stringify(value).length;
    if (size > ITEMS_TEXT_MAX)
      return { ok: false, error: `the inputs of the items together exceed ${ITEMS_TEXT_MAX} characters` };
    inputs.push(value);
  }
  return { ok: true, value: inputs };
}

/** An item of an ACTIVE mapped node has ended; its row counts the task as open still. */
export function endItem(
  step: Step,
  node: PlanNode,
  map: PlanMap,
  end: TaskEnd,
  results: ReadonlyMap<number, ItemResult> | undefined,
): void {
  const { name } = node;
  const row = step.row(name);
  const openTasks = Math.max(0, row.openTasks - 1);
  step.write({ ...row, openTasks });
  if (step.run !== "RUNNING") {
    if (openTasks === 0) step.move(name, "cancel");
    return;
  }
  if (end.type === "cancelled") {
    endMap(step, name, { class: "Cancelled", message: "the task of an item was cancelled" }, "fail");
    return;
  }
  const isError = end.type !== "succeeded" && !(end.type === "failed" && end.fallback !== undefined);
  if (isError && map.onItemError === "fail") {
    endMap(step, name, end.failure, end.type === "denied" ? "deny" : "fail");
    return;
  }
  if (row.items !== undefined && row.items.next < row.items.total) {
    step.released.push({ node: name, iteration: row.iteration, item: row.items.next });
    step.write({ ...step.row(name), items: { ...row.items, next: row.items.next + 1 } });
  }
  if (openTasks > 0) return;
  assert(results !== undefined && results.size === row.items?.total, `results of the items of ${name} were loaded`);
  const outputs = gather(map, results);
  if (JSON.stringify(outputs).length > ITEMS_TEXT_MAX) {
    const message = `the outputs of the items together exceed ${ITEMS_TEXT_MAX} characters`;
    endFailed(step, name, { class: "OutputTooLarge", message }, { how: "fail" });
  } else succeedNode(step, name, outputs);
}

// One item decides for all: the others end without effect.
function endMap(step: Step, name: string, failure: FailureValue, how: "fail" | "deny"): void {
  step.supersede(name);
  step.write({ ...step.row(name), openTasks: 0 });
  endFailed(step, name, failure, { how });
}

/** Outputs of a mapped node, all of whose items have ended. */
export function gather(map: PlanMap, results: ReadonlyMap<number, ItemResult>): Json[] {
  const inOrder = [...results].sort(([left], [right]) => left - right).map(([, result]) => result);
  if (map.onItemError === "collect") {
    return inOrder.map((result) => ("output" in result ? { output: result.output } : { error: { ...result.error } }));
  }
  return inOrder.flatMap((result) => ("output" in result ? [result.output] : []));
}
