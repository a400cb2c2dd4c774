// Ends runs: stops them for a first cause, takes the end state when nothing is live, or evaluates the output.
// Called by advance.ts after every event, and by whatever fails a node.
// Invariant: a run ends exactly when no node can still act.

import type { Json } from "../../kit/json.ts";
import type { Evaluated } from "../../language/types.ts";
import type { RunCause } from "../queue/states.ts";
import { boundNodes } from "./bindings.ts";
import type { Step } from "./step.ts";
import type { FailureValue, NodeRow } from "./types.ts";

/** Fails a node that is PENDING, ACTIVE or PARKED, and with it the run: no edge catches the failure. */
export function failRun(step: Step, name: string, failure: FailureValue): void {
  step.move(name, "fail", { failure });
  stopRun(step, "failed", named(name, failure));
}

/** Begins to stop a run; a run that already stops keeps its first cause. */
export function stopRun(step: Step, cause: RunCause, failure: FailureValue): void {
  if (step.run !== "PENDING" && step.run !== "RUNNING") return;
  step.moveRun("stop");
  step.cause = cause;
  step.failure = failure;
  for (const row of step.nodes.values()) {
    if (row.state === "PENDING" || row.state === "PARKED") step.move(row.node, "cancel");
    // A task that this very event made has not been written yet: it is never made.
    else if (step.tasks.delete(row.node)) step.move(row.node, "cancel", { openTasks: 0 });
    else if (row.openTasks > 0) step.stopLiveTasks = true;
  }
}

/** Ends the run if nothing can act any more. */
export function finishRun(step: Step): void {
  const rows = [...step.nodes.values()];
  if (step.run === "RUNNING" && !rows.some(canAct)) succeed(step);
  if (step.run === "CANCELLING" && step.cause !== undefined && !rows.some((row) => row.openTasks > 0)) {
    step.moveRun(`end_${step.cause}`);
  }
}

/** A failure of a node as the run tells it. */
export function named(node: string, failure: FailureValue): FailureValue {
  return { ...failure, message: `node ${node}: ${failure.message}` };
}

function canAct(row: NodeRow): boolean {
  return row.state === "PENDING" || row.state === "ACTIVE" || row.state === "PARKED";
}

function succeed(step: Step): void {
  const output = runOutput(step);
  if (!output.ok) {
    stopRun(step, "failed", { class: "OutputInvalid", message: `output of the system: ${output.error}` });
    return;
  }
  step.moveRun("succeed");
  step.output = output.value;
}

function runOutput(step: Step): Evaluated<Json> {
  const { output, fillOutput, checkOutput } = step.plan;
  const evaluated = output.evaluate({ input: step.input, nodes: boundNodes(step, output.nodesRead, undefined) });
  if (!evaluated.ok) return evaluated;
  const value = fillOutput(evaluated.value);
  const problem = checkOutput(value);
  return problem === undefined ? { ok: true, value } : { ok: false, error: problem };
}
