// Begins a graph again where an earlier run of it stopped: nodes whose output is known are not executed again.
// Called by commands/restart_run.ts to replay a dead letter of a finished run in a new run.
// Pure. The state is that of a run in which those nodes succeeded in some order of their graph.

import type { Json } from "../../kit/json.ts";
import { advance, initialState } from "./advance.ts";
import type { GraphEffects, GraphPlan, NewTask } from "./types.ts";

/**
 * Starts a run whose nodes in `done` succeed at once with those outputs. What a loop begins anew is executed again: its outputs
 * are those of some iteration.
 *
 * @returns the state then, with the tasks of every other node that is reached.
 */
export function restart(plan: GraphPlan, input: Json, done: ReadonlyMap<string, Json>): GraphEffects {
  const looped = new Set([...plan.loops.values()].flatMap((loop) => loop.again));
  let effects = advance(plan, initialState(plan, input), { type: "started" });
  const open = new Map<string, NewTask[]>();
  const waiting = [...effects.tasks];
  for (let task = waiting.shift(); task !== undefined; task = waiting.shift()) {
    const { node, iteration } = task;
    const output = looped.has(node) ? undefined : done.get(node);
    if (output === undefined) {
      const made = open.get(node) ?? [];
      made.push(task);
      open.set(node, made);
      continue;
    }
    if (effects.state.nodes.get(node)?.state !== "ACTIVE") continue;
    effects = advance(plan, effects.state, { type: "recalled", node, iteration, output });
    waiting.push(...effects.tasks);
  }
  const live = [...open.values()].flat().filter((task) => effects.state.nodes.get(task.node)?.state === "ACTIVE");
  return { ...effects, changed: [...effects.state.nodes.values()], tasks: live };
}
