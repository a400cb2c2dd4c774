// Decides what a run does next.
// Called by commands/run_work.ts: the first event of a run, every end of a task, every request to stop.
// Pure: equal state and event give equal effects, and the state that comes in is never changed.
// Never reads a clock, the store or a log. Invariant: a finished run has no task that is not terminal.
// Run and node states and their tables: queue/states.ts.

import { unreachable } from "../../kit/errors.ts";
import type { Json } from "../../kit/json.ts";
import { activate } from "./activate.ts";
import { failNode, finishRun, named, stopRun } from "./finish.ts";
import { resolveEdges, route } from "./resolve_edges.ts";
import { Step } from "./step.ts";
import type { GraphEffects, GraphEvent, GraphPlan, GraphState, TaskEnd } from "./types.ts";

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
      endTask(step, event.node, event.iteration, event.end);
      break;
    case "replayed":
      if (isParked(step, event)) step.move(event.node, "replay", { openTasks: 1 });
      break;
    case "discarded":
      if (isParked(step, event)) failNode(step, event.node, event.failure);
      break;
    case "stopped":
      stopRun(step, event.cause, event.failure);
      break;
    default:
      unreachable(event);
  }
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
  for (const name of step.plan.entries) if (step.run === "RUNNING") activate(step, step.node(name));
}

function isParked(step: Step, { node, iteration }: { readonly node: string; readonly iteration: number }): boolean {
  const row = step.nodes.get(node);
  return step.run === "RUNNING" && row?.state === "PARKED" && row.iteration === iteration;
}

function endTask(step: Step, name: string, iteration: number, end: TaskEnd): void {
  const row = step.nodes.get(name);
  if (row === undefined || row.iteration !== iteration || row.state !== "ACTIVE") return;
  if (step.run !== "RUNNING" && step.run !== "CANCELLING") return;
  step.write({ ...row, openTasks: Math.max(0, row.openTasks - 1) });
  switch (end.type) {
    case "succeeded":
      succeedNode(step, name, end.output);
      break;
    case "failed":
      // In a run that stops already this only records the outcome: the first cause stands.
      failNode(step, name, end.failure);
      break;
    case "denied":
      step.move(name, "deny", { failure: end.failure });
      stopRun(step, "policy_denied", named(name, end.failure));
      break;
    case "parked":
      step.move(name, "park", { failure: end.failure });
      // A run that stops waits for nobody; the dead letter is a record only.
      if (step.run === "CANCELLING") step.move(name, "cancel");
      break;
    case "cancelled":
      step.move(name, "cancel");
      stopRun(step, "cancelled", named(name, { class: "Cancelled", message: "its task was cancelled" }));
      break;
    default:
      unreachable(end);
  }
}

function succeedNode(step: Step, name: string, output: Json): void {
  // A late success is recorded with its output, and advances nothing.
  const routed = step.run === "RUNNING" ? route(step.node(name), step.input, output) : { ok: true as const, edges: [] };
  if (!routed.ok) {
    failNode(step, name, routed.failure);
    return;
  }
  step.move(name, "succeed", { output });
  resolveEdges(step, routed.edges);
}
