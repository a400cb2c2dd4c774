// The graph of a run as data: the plan (compiled from a bundle), the state (rows), events and effects.
// Read by commands, which load the state, apply the effects and write them in one transaction.

import type { Json } from "../../kit/json.ts";
import type { Condition, Template } from "../../language/types.ts";
import type { NodeState, RunCause, RunState } from "../queue/states.ts";

/** One outgoing edge of a node. */
export interface PlanEdge {
  readonly from: string;
  readonly to: string;
  readonly when?: Condition;
  readonly otherwise: boolean;
}

/** One node of the plan. */
export interface PlanNode {
  readonly name: string;
  readonly agent: string;
  /** Absent: the system's input. */
  readonly input?: Template;
  /** Input schema check of the agent; returns a message when the value does not fit. */
  readonly checkInput: (value: Json) => string | undefined;
  /** Fills in the defaults that the agent's input schema declares; before checkInput. */
  readonly fillInput: (value: Json) => Json;
  /** Number of incoming edges. */
  readonly incoming: number;
  /** Outgoing edges for outcome succeeded, in file order. */
  readonly outgoing: readonly PlanEdge[];
}

/** The graph of a bundle, compiled. Immutable; cached by bundle digest. */
export interface GraphPlan {
  readonly nodes: ReadonlyMap<string, PlanNode>;
  /** Nodes without an incoming edge, in file order. */
  readonly entries: readonly string[];
  readonly output: Template;
  /** Fills in the defaults that these schemas declare; before checkOutput. */
  readonly fillOutput: (value: Json) => Json;
  /** Checks of the system's and the template's output schemas. */
  readonly checkOutput: (value: Json) => string | undefined;
}

/** What went wrong. */
export interface FailureValue {
  readonly class: string;
  readonly message: string;
}

/** One node's row. */
export interface NodeRow {
  readonly node: string;
  readonly iteration: number;
  readonly state: NodeState;
  /** Incoming edges not yet resolved. */
  readonly unresolved: number;
  /** Incoming edges resolved as taken. */
  readonly taken: number;
  /** Tasks that are not terminal. */
  readonly openTasks: number;
  readonly failure?: FailureValue;
  /** Present if the node SUCCEEDED and the caller loaded it. */
  readonly output?: Json;
}

/** What `advance` decides on. */
export interface GraphState {
  readonly run: RunState;
  /** Set once the run stops; the first cause wins. */
  readonly cause?: RunCause;
  readonly failure?: FailureValue;
  readonly input: Json;
  /** Every node of the plan has a row after `started`. */
  readonly nodes: ReadonlyMap<string, NodeRow>;
}

/** How a task ended, as far as the graph is concerned. */
export type TaskEnd =
  | { readonly type: "succeeded"; readonly output: Json }
  | { readonly type: "failed"; readonly failure: FailureValue }
  | { readonly type: "parked"; readonly failure: FailureValue }
  | { readonly type: "denied"; readonly failure: FailureValue }
  | { readonly type: "cancelled" };

/** What can happen to a run. */
export type GraphEvent =
  | { readonly type: "started" }
  | { readonly type: "task_ended"; readonly node: string; readonly iteration: number; readonly end: TaskEnd }
  /** Somebody replays the task that parked the node. */
  | { readonly type: "replayed"; readonly node: string; readonly iteration: number }
  /** Somebody gives the task up that parked the node. */
  | { readonly type: "discarded"; readonly node: string; readonly iteration: number; readonly failure: FailureValue }
  | { readonly type: "stopped"; readonly cause: RunCause; readonly failure: FailureValue };

/** A task to be made READY. */
export interface NewTask {
  readonly node: string;
  readonly iteration: number;
  /** -1 unless the node is mapped. */
  readonly item: number;
  readonly agent: string;
  readonly input: Json;
}

/** What the caller writes. */
export interface GraphEffects {
  /** State after the event. */
  readonly state: GraphState;
  /** Rows that changed, in plan order. */
  readonly changed: readonly NodeRow[];
  readonly tasks: readonly NewTask[];
  /** True when the run began to stop: cancel its live tasks, READY ones at once, leased ones with grace. */
  readonly stopLiveTasks: boolean;
  /** Set when the run reached SUCCEEDED. */
  readonly output?: Json;
  /** Run conditions to show, such as "Parked". */
  readonly conditions: readonly string[];
}
