// Builds small bundles and drives their runs, for the tests of this folder.
// Plays the store: applies effects and keeps count of the tasks that were made and have not ended.
// Never checks anything itself.

import type { Json, JsonObject } from "../../kit/json.ts";
import { advance, initialState } from "../../server/graph/advance.ts";
import { compilePlan } from "../../server/graph/plan.ts";
import type { GraphEffects, GraphEvent, GraphPlan, GraphState, NewTask, TaskEnd } from "../../server/graph/types.ts";
import type { Bundle, Resolved } from "../../server/manifests/bundle.ts";
import { type AgentSpec, EDGE_OUTCOMES, type EdgeSpec, type NodeSpec } from "../../server/manifests/specs.ts";

/** What a node has beside its input. */
export type NodeMore = Partial<Pick<NodeSpec, "join" | "route" | "transform" | "map">>;

/** A graph in short: edges are "a -> b", "a -> b: condition", "a -> b otherwise"; an outcome and a loop stand in brackets before the colon. */
export interface GraphSketch {
  readonly nodes: Readonly<Record<string, Json | null>>;
  /** Joins, routes, transforms and maps, by node. */
  readonly more?: Readonly<Record<string, NodeMore>>;
  readonly edges?: readonly string[];
  readonly output?: Json;
  readonly outputSchema?: JsonObject;
  readonly inputSchema?: JsonObject;
  readonly workflowOutputSchema?: JsonObject;
  /** Schemas by node; each node has an agent of its own. */
  readonly agents?: Readonly<Record<string, { readonly inputSchema?: JsonObject; readonly outputSchema?: JsonObject }>>;
}

function resolved<Spec>(name: string, spec: unknown): Resolved<Spec> {
  return { namespace: "test", name, generation: 1, digest: `sha256:${name}`, spec: spec as Spec };
}

const EDGE = /^(\w+) -> (\w+)(?: \[(.*?)\])?(?:: (.*)| (otherwise))?$/;

// "[failed]", "[loop 3]", "[loop 3 fail]", "[timedOut, loop 2]".
function edgeOf(text: string, set: number): EdgeSpec {
  const match = EDGE.exec(text);
  if (match === null) throw new Error(`not an edge: ${text}`);
  const [, from = "", to = "", marks = "", when, otherwise] = match;
  const words = marks.split(", ");
  const outcome = EDGE_OUTCOMES.find((word) => words.includes(word)) ?? "succeeded";
  const [, max, exhausted = "continue"] = words.find((word) => word.startsWith("loop"))?.split(" ") ?? [];
  return {
    ...{ from, to, outcome, set, otherwise: otherwise !== undefined },
    ...(when !== undefined && { when }),
    ...(max !== undefined && { loop: { max: Number(max), onExhausted: exhausted as "continue" } }),
  };
}

/** The bundle of a sketch. Node input null: the system's input. */
export function bundleOf(sketch: GraphSketch): Bundle {
  const names = Object.keys(sketch.nodes);
  return {
    workflow: resolved("flow", {
      output: { ...(sketch.workflowOutputSchema && { schema: sketch.workflowOutputSchema }) },
    }),
    system: resolved("system", {
      ...(sketch.inputSchema && { inputSchema: sketch.inputSchema }),
      nodes: names.map((name): NodeSpec => {
        const input = sketch.nodes[name] ?? null;
        const more = sketch.more?.[name] ?? {};
        return {
          ...{ name, join: "all", route: "all", ...more },
          ...(more.transform === undefined && { agent: `agent_${name}` }),
          ...(input !== null && { input }),
        };
      }),
      edges: (sketch.edges ?? []).map(edgeOf),
      output: { value: sketch.output ?? "done", ...(sketch.outputSchema && { schema: sketch.outputSchema }) },
    }),
    agents: Object.fromEntries(
      names.map((name) => [`agent_${name}`, resolved<AgentSpec>(`agent_${name}`, sketch.agents?.[name] ?? {})]),
    ),
    tools: {},
  };
}

/** A run that is driven by hand. */
export class Driven {
  readonly plan: GraphPlan;
  state: GraphState;
  last: GraphEffects | undefined;
  /** Every task ever made, in order. */
  readonly made: NewTask[] = [];
  /** Nodes whose task has not ended. */
  readonly open = new Set<string>();
  output: Json | undefined;

  constructor(sketch: GraphSketch, input: Json = {}) {
    this.plan = compilePlan(bundleOf(sketch));
    this.state = initialState(this.plan, input);
  }

  apply(event: GraphEvent): this {
    const effects = advance(this.plan, this.state, event);
    this.last = effects;
    this.state = effects.state;
    this.made.push(...effects.tasks);
    if (event.type === "task_ended") this.open.delete(event.node);
    for (const { node } of effects.superseded) this.open.delete(node);
    for (const task of effects.tasks) this.open.add(task.node);
    if (effects.output !== undefined) this.output = effects.output;
    return this;
  }

  start(): this {
    return this.apply({ type: "started" });
  }

  /** Ends the node's task in its newest iteration. */
  end(node: string, end: TaskEnd): this {
    return this.apply({ type: "task_ended", node, iteration: this.state.nodes.get(node)?.iteration ?? 0, end });
  }

  succeed(node: string, output: Json = {}): this {
    return this.end(node, { type: "succeeded", output });
  }

  fail(node: string): this {
    return this.end(node, { type: "failed", failure: { class: "ModelUnavailable", message: "no answer" } });
  }

  nodeStates(): Record<string, string> {
    return Object.fromEntries([...this.state.nodes.values()].map((row) => [row.node, row.state]));
  }

  inputOf(node: string): Json | undefined {
    return this.made.find((task) => task.node === node)?.input;
  }
}
