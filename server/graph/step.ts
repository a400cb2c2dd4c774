// The working copy of a graph state while one event is applied: every change of a row or of the run goes through here,
// and through the transition tables. Called by the other files of this room; never seen outside.
// Never changes the state it was made from.

import { assert } from "../../kit/errors.ts";
import type { Json } from "../../kit/json.ts";
import {
  isTerminal,
  NODE_TRANSITIONS,
  type NodeState,
  nextState,
  RUN_TRANSITIONS,
  type RunCause,
  type RunState,
} from "../queue/states.ts";
import type { FailureValue, GraphEffects, GraphPlan, GraphState, NewTask, NodeRow, PlanNode } from "./types.ts";

/** See the file header. */
export class Step {
  readonly plan: GraphPlan;
  readonly input: Json;
  readonly nodes: Map<string, NodeRow>;
  run: RunState;
  cause: RunCause | undefined;
  failure: FailureValue | undefined;
  output: Json | undefined;
  /** Set when the run began to stop with tasks that somebody holds. */
  stopLiveTasks = false;
  /** Tasks made by this event, by node. */
  readonly tasks = new Map<string, NewTask>();
  readonly #changed = new Set<string>();

  constructor(plan: GraphPlan, state: GraphState) {
    this.plan = plan;
    this.input = state.input;
    this.nodes = new Map(state.nodes);
    this.run = state.run;
    this.cause = state.cause;
    this.failure = state.failure;
  }

  node(name: string): PlanNode {
    const node = this.plan.nodes.get(name);
    assert(node !== undefined, `node ${name} is in the plan`);
    return node;
  }

  row(name: string): NodeRow {
    const row = this.nodes.get(name);
    assert(row !== undefined, `node ${name} has a row`);
    return row;
  }

  write(row: NodeRow): void {
    this.nodes.set(row.node, row);
    this.#changed.add(row.node);
  }

  /** Moves a node by an event of its table. */
  move(name: string, event: string, change: Partial<NodeRow> = {}): void {
    const row = this.row(name);
    this.write({ ...row, ...change, state: nextState<NodeState>(NODE_TRANSITIONS, row.state, event) });
  }

  /** Moves the run by an event of its table. */
  moveRun(event: string): void {
    this.run = nextState<RunState>(RUN_TRANSITIONS, this.run, event);
  }

  effects(): GraphEffects {
    const { run, cause, failure, input, nodes, output } = this;
    return {
      state: { run, input, nodes, ...(cause && { cause }), ...(failure && { failure }) },
      changed: [...this.plan.nodes.keys()].filter((name) => this.#changed.has(name)).map((name) => this.row(name)),
      tasks: [...this.tasks.values()],
      stopLiveTasks: this.stopLiveTasks,
      ...(output !== undefined && { output }),
      conditions: conditionsOf(run, nodes.values()),
    };
  }
}

/** Conditions to show for a run; none once it has ended. */
export function conditionsOf(run: RunState, rows: Iterable<NodeRow>): readonly string[] {
  const conditions = new Set<string>();
  if (isTerminal<RunState>(RUN_TRANSITIONS, run)) return [];
  for (const row of rows) {
    if (row.state === "PARKED") conditions.add("Parked");
    if (row.failure?.class === "NoRoute") conditions.add("NoRoute");
  }
  return [...conditions].sort();
}
