// The variables that expressions of a graph read: `nodes` and `iteration`.
// Called by activate.ts (inputs), route.ts (conditions) and finish.ts (the output of the run).
// Nodes that did not succeed are bound as {}, so that has(nodes.x.output) is false for them and never an error.

import { assert } from "../../kit/errors.ts";
import type { Json, JsonObject } from "../../kit/json.ts";
import { ALL_NODES } from "../../language/template.ts";
import { enterName } from "../manifests/inline_systems.ts";
import type { Step } from "./step.ts";
import type { PlanNode } from "./types.ts";

/** What `iteration` is outside of loops. */
const NO_LOOP: JsonObject = Object.freeze({ index: 0, max: 0 });

/** The `iteration` variable: how often the innermost loop around a node went round. */
export function iterationOf(step: Step, { loop }: PlanNode): JsonObject {
  if (loop === undefined) return NO_LOOP;
  const { taken = {}, last } = step.row(loop).loop ?? {};
  const index = Object.values(taken).reduce((sum, count) => sum + count, 0);
  return { index, max: step.plan.loops.get(loop)?.max ?? 0, ...(last !== undefined && { last }) };
}

/** The `input` variable of a scope: what the run began with, or what a contained system was given. */
export function inputOf(step: Step, scope: string | undefined): Json {
  if (scope === undefined) return step.input;
  const { output } = step.row(enterName(scope));
  assert(output !== undefined, `input of ${scope} was loaded`);
  return output;
}

/** Name of a node among those of its scope. */
export function localName(name: string, scope: string | undefined): string {
  return scope === undefined ? name : name.slice(scope.length + 1);
}

/** The `nodes` variable of a scope: those that an expression reads, each with its output if it succeeded. */
export function boundNodes(step: Step, nodesRead: readonly string[], scope: string | undefined): JsonObject {
  const all = nodesRead.includes(ALL_NODES);
  const names = all ? [...step.plan.nodes.keys()] : nodesRead.map((name) => fullName(name, scope));
  const bound: [string, Json][] = [];
  for (const name of names) {
    const row = step.nodes.get(name);
    if (row === undefined || (all && !isIn(step.node(name), scope))) continue;
    // An output that was not loaded must not pass for a node that was skipped.
    if (row.state === "SUCCEEDED") assert(row.output !== undefined, `output of node ${name} was loaded`);
    const key = step.node(name).map === undefined ? "output" : "outputs";
    const value: Json = row.state === "SUCCEEDED" && row.output !== undefined ? { [key]: row.output } : {};
    bound.push([localName(name, scope), value]);
  }
  return Object.fromEntries(bound);
}

/** Name of a node in the run. */
export function fullName(name: string, scope: string | undefined): string {
  return scope === undefined ? name : `${scope}/${name}`;
}

function isIn(node: PlanNode, scope: string | undefined): boolean {
  return node.scope === scope && node.port !== "enter";
}
