// Decides what a run does next.
// Called by commands/run_work.ts: the first event of a run, every end of a task, every request to stop.
// Pure: equal state and event give equal effects, and the state that comes in is never changed.
// Never reads a clock, the store or a log. Invariant: a finished run has no task that is not terminal.
// Run and node states and their tables: queue/states.ts.

import { unreachable } from "../../kit/errors.ts";
import type { Json } from "../../kit/json.ts";
import { endFailed, succeedNode } from "./end_node.ts";
import { finishRun, named, stopRun } from "./finish.ts";
import { resolveEdges } from "./join.ts";
import { endItem } from "./map_items.ts";
import { Step } from "./step.ts";
import type { GraphEffects, GraphEvent, GraphPlan, GraphState, Superseded, TaskEnd } from "./types.ts";

export { outputsNeeded } from "./outputs_needed.ts";

/** A run before `started`: PENDING, no rows. The input has been checked and its defaults filled in. */
export function initialState(_plan: GraphPlan, input: Json): GraphState {
  return { run: "PENDING", input, nodes: new Map() };
}

/** Applies an event. One that comes too late (ended run, superseded iteration, node not ACTIVE) changes nothing. */
export function advance(plan: GraphPlan, state: GraphState, event: GraphEvent): GraphEffects {
  const step = new Step(plan, state);
  switch (event.type) {
    case "started":
      if (state.run === "PENDING") start(step);
      break;
    case "task_ended":
      if (isNow(step, event, "ACTIVE")) endTask(step, event);
      break;
    case "recalled":
      if (isNow(step, event, "ACTIVE")) recall(step, event.node, event.output);
      break;
    case "replayed":
      if (isParked(step, event)) step.move(event.node, "replay", { openTasks: 1 });
      break;
    case "discarded":
      // No edge of its own caught it when it was parked; one of the system around it may.
      if (isParked(step, event)) endFailed(step, event.node, event.failure, { how: "fail" });
      break;
    case "stopped":
      stopRun(step, event.cause, event.failure);
      break;
    default:
      unreachable(event);
  }
  resolveEdges(step);
  finishRun(step);
  return step.effects();
}

function start(step: Step): void {
  step.moveRun("start");
  for (const node of step.plan.nodes.values()) {
    step.write({
      node: node.name,
      iteration: 0,
      state: "PENDING",
      unresolved: node.incoming,
      taken: 0,
      openTasks: 0,
    });
  }
  step.due.push(...step.plan.entries);
}

/** True if the event is about the node as it is now. */
function isNow(step: Step, { node, iteration }: Superseded, state: "ACTIVE" | "PARKED"): boolean {
  const row = step.nodes.get(node);
  return row?.iteration === iteration && row.state === state;
}

function isParked(step: Step, event: Superseded): boolean {
  return step.run === "RUNNING" && isNow(step, event, "PARKED");
}

function recall(step: Step, name: string, output: Json): void {
  step.supersede(name);
  step.write({ ...step.row(name), openTasks: 0 });
  succeedNode(step, name, output);
}

function endTask(step: Step, event: Extract<GraphEvent, { type: "task_ended" }>): void {
  const { node: name, end } = event;
  const node = step.node(name);
  if (node.map !== undefined) {
    endItem(step, node, node.map, end, event.results);
    return;
  }
  const row = step.row(name);
  step.write({ ...row, openTasks: Math.max(0, row.openTasks - 1) });
  endOnlyTask(step, name, end);
}

function endOnlyTask(step: Step, name: string, end: TaskEnd): void {
  switch (end.type) {
    case "succeeded":
      succeedNode(step, name, end.output);
      break;
    case "failed": {
      const { failure, fallback } = end;
      const goesOn = fallback !== undefined && step.run === "RUNNING";
      endFailed(step, name, failure, goesOn ? { how: "continue", fallback } : { how: "fail" });
      break;
    }
    case "denied":
      endFailed(step, name, end.failure, { how: "deny" });
      break;
    case "parked":
      endFailed(step, name, end.failure, { how: "park" });
      break;
    case "cancelled":
      step.move(name, "cancel");
      stopRun(step, "cancelled", named(name, { class: "Cancelled", message: "its task was cancelled" }));
      break;
    default:
      unreachable(end);
  }
}
