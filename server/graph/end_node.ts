// What follows when a node ends: its edges are routed, a failure is caught by an edge or ends the run, a loop goes round.
// Called by advance.ts (tasks that ended) and by whatever ends a node by itself: activate.ts, join.ts.
// Invariant: what a node's edges cause is queued in the step and done by join.ts; nothing here calls itself.

import type { Json } from "../../kit/json.ts";
import { failRun, named, stopRun } from "./finish.ts";
import { goRound } from "./go_round.ts";
import { noRoute, type Routed, route } from "./route.ts";
import type { Step } from "./step.ts";
import type { FailureValue, PlanEdge, PlanNode } from "./types.ts";

/** Mistakes of the manifest: no edge catches them. */
const UNCAUGHT = new Set(["NoRoute", "ConditionError"]);

/** What a node that failed does if no edge catches it. */
export type Uncaught =
  /** It failed, and so does the run. */
  | { readonly how: "fail" }
  /** A policy denied it, and so the run. */
  | { readonly how: "deny" }
  /** It waits for a person. */
  | { readonly how: "park" }
  /** This stands for its output. */
  | { readonly how: "continue"; readonly fallback: Json };

/** Ends an ACTIVE node with an output; of a mapped node, with its outputs. */
export function succeedNode(step: Step, name: string, output: Json, change: { failure?: FailureValue } = {}): void {
  const node = step.node(name);
  // A late success is recorded with its output, and advances nothing.
  if (step.run !== "RUNNING") {
    step.move(name, "succeed", { ...change, output });
    return;
  }
  const group = node.outgoing.filter((edge) => edge.outcome === "succeeded");
  const routed = route(step, node, group, node.map === undefined ? { output } : { outputs: output });
  const failure = routed.ok ? noRoute(group, routed.taken) : routed.failure;
  if (failure !== undefined) {
    endFailed(step, name, failure, { how: "fail" });
    return;
  }
  step.move(name, "succeed", { ...change, output });
  follow(step, node, (routed as Extract<Routed, { ok: true }>).taken, output);
}

/** Ends a node that is PENDING or ACTIVE with a failure: an edge catches it, or what `uncaught` says happens. */
export function endFailed(step: Step, name: string, failure: FailureValue, uncaught: Uncaught): void {
  const node = step.node(name);
  const event = uncaught.how === "deny" ? "deny" : "fail";
  if (step.run === "RUNNING" && !UNCAUGHT.has(failure.class)) {
    const error = { class: failure.class, message: failure.message };
    const routed = route(step, node, catching(node, failure, uncaught), { error });
    if (routed.ok && routed.taken.length > 0) {
      step.move(name, event, { failure });
      follow(step, node, routed.taken, undefined);
      return;
    }
    if (!routed.ok && routed.failure.class === "ConditionError") {
      failRun(step, name, routed.failure);
      return;
    }
  }
  const { system } = node;
  const ends = uncaught.how === "fail" || uncaught.how === "deny";
  if (ends && system !== undefined && step.run === "RUNNING" && !UNCAUGHT.has(failure.class)) {
    step.move(name, event, { failure });
    failSystem(step, system, named(name, failure), uncaught);
    return;
  }
  switch (uncaught.how) {
    case "fail":
      // In a run that stops already this only records the outcome: the first cause stands.
      failRun(step, name, failure);
      break;
    case "deny":
      step.move(name, "deny", { failure });
      stopRun(step, "policy_denied", named(name, failure));
      break;
    case "park":
      step.move(name, "park", { failure });
      // A run that stops waits for nobody; the dead letter is a record only.
      if (step.run === "CANCELLING") step.move(name, "cancel");
      break;
    case "continue":
      succeedNode(step, name, uncaught.fallback, { failure });
      break;
  }
}

// A contained system fails with the node in it: what else is in it ends without effect, and the node in whose place it stands fails.
function failSystem(step: Step, system: string, failure: FailureValue, uncaught: Uncaught): void {
  for (const [name, row] of step.nodes) {
    const live = row.state === "PENDING" || row.state === "ACTIVE" || row.state === "PARKED";
    if (!live || !name.startsWith(`${system}/`)) continue;
    step.supersede(name);
    step.move(name, "cancel", { openTasks: 0 });
  }
  if (uncaught.how === "deny") step.move(system, "activate");
  endFailed(step, system, failure, uncaught);
}

/** A PENDING node that nothing leads to. */
export function skipNode(step: Step, name: string): void {
  step.move(name, "skip");
  follow(step, step.node(name), [], undefined);
}

function catching(node: PlanNode, failure: FailureValue, uncaught: Uncaught): readonly PlanEdge[] {
  const group = (outcome: PlanEdge["outcome"]) => node.outgoing.filter((edge) => edge.outcome === outcome);
  if (uncaught.how === "deny") return group("policyDenied");
  const timedOut = failure.class === "Timeout" || failure.timedOut ? group("timedOut") : [];
  return timedOut.length > 0 ? timedOut : group("failed");
}

// A loop edge begins anew what the other edges would lead to, so it alone has an effect.
function follow(step: Step, node: PlanNode, taken: readonly PlanEdge[], output: Json | undefined): void {
  const back = taken.find((edge) => edge.loop !== undefined);
  if (back !== undefined) {
    goRound(step, back, output);
    return;
  }
  if (taken.length > 0) step.write({ ...step.row(node.name), routes: taken.map((edge) => edge.index) });
  for (const edge of node.outgoing) {
    if (edge.loop === undefined) step.edges.push({ edge, taken: taken.includes(edge) });
  }
}
