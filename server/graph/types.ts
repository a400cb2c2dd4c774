// The graph of a run as data: the plan (compiled from a bundle), the state (rows), events and effects.
// Read by commands, which load the state, apply the effects and write them in one transaction.

import type { Json } from "../../kit/json.ts";
import type { Condition, Template } from "../../language/types.ts";
import type { EdgeOutcome, LoopSpec, MapSpec } from "../manifests/specs.ts";
import type { NodeState, RunCause, RunState } from "../queue/states.ts";

/** One outgoing edge of a node. */
export interface PlanEdge {
  /** Place among the edges of the system: its name in rows. */
  readonly index: number;
  readonly from: string;
  readonly to: string;
  readonly outcome: EdgeOutcome;
  readonly when?: Condition;
  readonly otherwise: boolean;
  /** Edges of one source that were written as one: `route: first` takes them together. */
  readonly set: number;
  /** Present: it leads back. */
  readonly loop?: LoopSpec;
}

/** What a mapped node needs beside what every node has. */
export interface PlanMap extends Omit<MapSpec, "over"> {
  readonly over: Template;
}

/** One node of the plan. */
export interface PlanNode {
  readonly name: string;
  /** Empty for a transform. */
  readonly agent: string;
  /** The contained system that it is in: what `input` and `nodes` of its expressions mean. */
  readonly scope?: string;
  /** The scope of its transform: that of what makes the output of a contained system lies in it. */
  readonly inner?: string;
  /** The node that fails when this one does and no edge catches it: the one in whose place its system stands. */
  readonly system?: string;
  /** Takes the input of a contained system, or makes its output. */
  readonly port?: "enter" | "leave";
  /** Absent: the system's input; of a mapped node, the item. */
  readonly input?: Template;
  /** Present: the node's output is made by the server, without a task. */
  readonly transform?: Template;
  readonly map?: PlanMap;
  /** Input schema check of the agent, or of what a port gives; returns a message when the value does not fit. */
  readonly checkInput: (value: Json) => string | undefined;
  /** Fills in the defaults that the agent's input schema declares; before checkInput. */
  readonly fillInput: (value: Json) => Json;
  /** Number of incoming edges but loop edges. */
  readonly incoming: number;
  /** How many of them must be taken; absent: all must be resolved, and one taken. */
  readonly quorum?: number;
  /** Of the edges of a group, only the first that holds is taken. */
  readonly first: boolean;
  /** Outgoing edges for every outcome, loop edges included, in file order. */
  readonly outgoing: readonly PlanEdge[];
  /** Target of the innermost loop that it is in. */
  readonly loop?: string;
}

/** What loop edges into one node mean. */
export interface PlanLoop {
  /** Loop edges into it that may be taken, in all. */
  readonly max: number;
  /** The target and every node behind it, in plan order: what going round begins anew. */
  readonly again: readonly string[];
}

/** The graph of a bundle, compiled. Immutable; cached by bundle digest. */
export interface GraphPlan {
  readonly nodes: ReadonlyMap<string, PlanNode>;
  /** Nodes without an incoming edge but loop edges, in file order. */
  readonly entries: readonly string[];
  /** Incoming edges but loop edges, by target. */
  readonly incoming: ReadonlyMap<string, readonly PlanEdge[]>;
  /** By target. */
  readonly loops: ReadonlyMap<string, PlanLoop>;
  /** Node names so that every edge but loop edges leads from an earlier one to a later one. */
  readonly order: readonly string[];
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
  /** A tool node's, whose tool ran out of time: an edge for `timedOut` takes it, whatever its class. */
  readonly timedOut?: true;
}

/** How often the loop edges into a node were taken, since the loop around them went round. */
export interface LoopRow {
  /** By index of the edge. */
  readonly taken: Readonly<Record<string, number>>;
  /** Output at the loop edge that was taken last; absent if it was an error edge. */
  readonly last?: Json;
}

/** How far a mapped node is. */
export interface ItemsRow {
  readonly total: number;
  /** The first item whose task was not let go yet. */
  readonly next: number;
}

/** One node's row: the node in its newest iteration. */
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
  /** Present if the node SUCCEEDED and the caller loaded it; of a mapped node, its outputs. */
  readonly output?: Json;
  /** Indexes of the outgoing edges that were taken; absent: none. */
  readonly routes?: readonly number[];
  /** Of the target of a loop that went round. */
  readonly loop?: LoopRow;
  /** Of a mapped node that was activated. */
  readonly items?: ItemsRow;
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
  /** `fallback`: what stands for the output if no edge catches the failure. */
  | { readonly type: "failed"; readonly failure: FailureValue; readonly fallback?: Json }
  | { readonly type: "parked"; readonly failure: FailureValue }
  | { readonly type: "denied"; readonly failure: FailureValue }
  | { readonly type: "cancelled" };

/** How an item of a mapped node ended. */
export type ItemResult = { readonly output: Json } | { readonly error: FailureValue };

/** What can happen to a run. */
export type GraphEvent =
  | { readonly type: "started" }
  | {
      readonly type: "task_ended";
      readonly node: string;
      readonly iteration: number;
      readonly end: TaskEnd;
      /** By item; of a mapped node with one open task: how each item ended, this one too. */
      readonly results?: ReadonlyMap<number, ItemResult>;
    }
  /** The output of an earlier run stands for that of an ACTIVE node. */
  | { readonly type: "recalled"; readonly node: string; readonly iteration: number; readonly output: Json }
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
  /** It waits until the map lets it go. */
  readonly held?: true;
}

/** A node in an iteration that is no longer of interest. */
export interface Superseded {
  readonly node: string;
  readonly iteration: number;
}

/** An item whose task may now be claimed. */
export interface ReleasedItem extends Superseded {
  readonly item: number;
}

/** What the caller writes. */
export interface GraphEffects {
  /** State after the event. */
  readonly state: GraphState;
  /** Rows that changed, in plan order. */
  readonly changed: readonly NodeRow[];
  readonly tasks: readonly NewTask[];
  /** Held tasks that become READY. */
  readonly released: readonly ReleasedItem[];
  /** Nodes whose live tasks end now, without effect. */
  readonly superseded: readonly Superseded[];
  /** True when the run began to stop: cancel its live tasks, READY ones at once, leased ones with grace. */
  readonly stopLiveTasks: boolean;
  /** Set when the run reached SUCCEEDED. */
  readonly output?: Json;
  /** Run conditions to show, such as "Parked". */
  readonly conditions: readonly string[];
}
