// Builds small bundles and drives their runs, for the tests of this folder.
// Plays the store: applies effects and keeps count of the tasks that were made and have not ended.
// Never checks anything itself.

import type { Json, JsonObject } from "../../kit/json.ts";
import { advance, initialState } from "../../server/graph/advance.ts";
import { compilePlan } from "../../server/graph/plan.ts";
import type { GraphEffects, GraphEvent, GraphPlan, GraphState, NewTask, TaskEnd } from "../../server/graph/types.ts";
import type { Bundle, Resolved } from "../../server/manifests/bundle.ts";
import type { AgentSpec } from "../../server/manifests/specs.ts";

/** A graph in short: edges are "a -> b", "a -> b: condition" or "a -> b otherwise". */
export interface GraphSketch {
  readonly nodes: Readonly<Record<string, Json | null>>;
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

/** The bundle of a sketch. Node input null: the system's input. */
export function bundleOf(sketch: GraphSketch): Bundle {
  const names = Object.keys(sketch.nodes);
  const edges = (sketch.edges ?? []).map((text) => {
    const match = /^(\w+) -> (\w+)(?:: (.*)| (otherwise))?$/.exec(text);
    if (match === null) throw new Error(`not an edge: ${text}`);
    const [, from, to, when, otherwise] = match;
    return { from, to, otherwise: otherwise !== undefined, outcome: "succeeded", ...(when !== undefined && { when }) };
  });
  return {
    workflow: resolved("flow", {
      output: { ...(sketch.workflowOutputSchema && { schema: sketch.workflowOutputSchema }) },
    }),
    system: resolved("system", {
      ...(sketch.inputSchema && { inputSchema: sketch.inputSchema }),
      nodes: names.map((name) => {
        const input = sketch.nodes[name] ?? null;
        return { name, agent: `agent_${name}`, join: "all", ...(input !== null && { input }) };
      }),
      edges,
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
    for (const task of effects.tasks) this.open.add(task.node);
    if (event.type === "task_ended") this.open.delete(event.node);
    if (effects.output !== undefined) this.output = effects.output;
    return this;
  }

  start(): this {
    return this.apply({ type: "started" });
  }

  end(node: string, end: TaskEnd): this {
    return this.apply({ type: "task_ended", node, iteration: 0, end });
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
