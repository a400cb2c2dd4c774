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
import type {
  FailureValue,
  GraphEffects,
  GraphPlan,
  GraphState,
  NewTask,
  NodeRow,
  PlanEdge,
  PlanNode,
  ReleasedItem,
  Superseded,
} from "./types.ts";

/** An edge whose source has ended, on its way to its target. */
export interface ResolvedEdge {
  readonly edge: PlanEdge;
  readonly taken: boolean;
}

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
  readonly tasks = new Map<string, readonly NewTask[]>();
  readonly superseded: Superseded[] = [];
  readonly released: ReleasedItem[] = [];
  /** Edges still to be resolved at their targets, in order. */
  edges: ResolvedEdge[] = [];
  /** Nodes that are to be activated before any edge is resolved. */
  due: string[] = [];
  /** A join that does not wait for all has begun or failed: branches may have become moot. */
  joinWentOn = false;
  /** Nodes activated by this event. */
  activations = 0;
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

  /** A node is of no interest any more: the tasks that it has end, those that this event made are never made. */
  supersede(name: string): void {
    const { iteration, openTasks } = this.row(name);
    if (!this.tasks.delete(name) && openTasks > 0) this.superseded.push({ node: name, iteration });
  }

  /** True once enough incoming edges are taken. */
  joinReached(name: string): boolean {
    const { unresolved, taken } = this.row(name);
    const { quorum } = this.node(name);
    return quorum === undefined ? unresolved === 0 && taken > 0 : taken >= quorum;
  }

  effects(): GraphEffects {
    const { run, cause, failure, input, nodes, output } = this;
    return {
      state: { run, input, nodes, ...(cause && { cause }), ...(failure && { failure }) },
      changed: [...this.plan.nodes.keys()].filter((name) => this.#changed.has(name)).map((name) => this.row(name)),
      tasks: [...this.tasks.values()].flat(),
      released: this.released.filter(({ node, iteration }) => {
        const row = this.row(node);
        return row.state === "ACTIVE" && row.iteration === iteration;
      }),
      superseded: this.superseded,
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
