// Begins a graph again where an earlier run of it stopped: nodes whose ends are known are not executed again.
// Called by commands/restart_run.ts to replay a dead letter of a finished run in a new run.
// Pure. What is known is played again in its order, round by round of every loop, until nothing more is known.

import type { Json } from "../../kit/json.ts";
import { advance, initialState } from "./advance.ts";
import type { GraphEffects, GraphEvent, GraphPlan, NewTask, TaskEnd } from "./types.ts";

/** How a node ended in one of its iterations: an output, or a failure that something in the graph followed from. */
export interface KnownEnd {
  readonly node: string;
  readonly iteration: number;
  readonly end: { readonly output: Json } | TaskEnd;
}

/**
 * Starts a run in which known ends happen again, those that are possible in the order given.
 *
 * @returns the state then, with the tasks of every other node that is reached.
 */
export function restart(plan: GraphPlan, input: Json, known: readonly KnownEnd[]): GraphEffects {
  const order = new Map(known.map((one, index) => [placeOf(one), index]));
  let effects = advance(plan, initialState(plan, input), { type: "started" });
  const open: NewTask[] = [];
  const waiting = new Set<number>();
  const take = (tasks: readonly NewTask[]) => {
    for (const task of tasks) {
      const index = order.get(placeOf(task));
      if (index === undefined) open.push(task);
      else waiting.add(index);
    }
  };
  const isActive = ({ node, iteration }: { readonly node: string; readonly iteration: number }) => {
    const row = effects.state.nodes.get(node);
    return row?.state === "ACTIVE" && row.iteration === iteration;
  };
  take(effects.tasks);
  while (waiting.size > 0) {
    const index = Math.min(...waiting);
    waiting.delete(index);
    const next = known[index] as KnownEnd;
    if (!isActive(next)) continue;
    effects = advance(plan, effects.state, eventOf(next));
    take(effects.tasks);
  }
  return { ...effects, changed: [...effects.state.nodes.values()], tasks: open.filter(isActive) };
}

function eventOf({ node, iteration, end }: KnownEnd): GraphEvent {
  return "type" in end
    ? { type: "task_ended", node, iteration, end }
    : { type: "recalled", node, iteration, output: end.output };
}

function placeOf({ node, iteration }: { readonly node: string; readonly iteration: number }): string {
  return `${node} ${iteration}`;
}
