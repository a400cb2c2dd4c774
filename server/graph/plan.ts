// Compiles the graph of a bundle: templates, conditions and schema checks once, edges by their source.
// Called by commands when a bundle is first used; cached by bundle digest.
// Apply has refused every bad graph before: what cannot be compiled here is a broken invariant, not an operating error.

import { assert } from "../../kit/errors.ts";
import type { Json, JsonObject } from "../../kit/json.ts";
import type { SchemaHints } from "../../language/binder.ts";
import { compileCondition } from "../../language/condition.ts";
import { compileSchema, type SchemaCheck } from "../../language/json_schema.ts";
import { compileTemplate } from "../../language/template.ts";
import type { Template } from "../../language/types.ts";
import type { Bundle } from "../manifests/bundle.ts";
import type { EdgeSpec, NodeSpec } from "../manifests/specs.ts";
import type { GraphPlan, PlanEdge, PlanNode } from "./types.ts";

/** Names that the condition of an edge may read. */
export const CONDITION_VARIABLES = ["output", "error", "input", "iteration"] as const;
/** Names that the input of a node may read. */
export const INPUT_VARIABLES = ["input", "nodes", "iteration"] as const;
/** Names that the output of a system may read. */
export const OUTPUT_VARIABLES = ["input", "nodes"] as const;

/** The plan of a bundle's graph. @throws INVARIANT_BROKEN for what apply refuses. */
export function compilePlan(bundle: Bundle): GraphPlan {
  const { spec } = bundle.system;
  const hints = schemaHints(bundle);
  const names = new Set(spec.nodes.map((node) => node.name));
  assert(names.size === spec.nodes.length, "node names of a system are unique");
  for (const edge of spec.edges) {
    assert(names.has(edge.from) && names.has(edge.to), `edge ${edge.from} → ${edge.to} joins declared nodes`);
  }
  const nodes = new Map(spec.nodes.map((node) => [node.name, compileNode(bundle, node, hints)]));
  assertAcyclic(nodes);
  const output = joinSchemas([spec.output.schema, bundle.workflow.spec.output.schema]);
  return {
    nodes,
    entries: spec.nodes.filter((node) => nodes.get(node.name)?.incoming === 0).map((node) => node.name),
    output: template(spec.output.value, OUTPUT_VARIABLES, hints, "output of the system"),
    checkOutput: output.check,
    fillOutput: output.fill,
  };
}

function compileNode(bundle: Bundle, node: NodeSpec, hints: SchemaHints): PlanNode {
  const agent = bundle.agents[node.agent];
  assert(agent !== undefined, `bundle holds agent ${node.agent} of node ${node.name}`);
  const { edges } = bundle.system.spec;
  const input = joinSchemas([agent.spec.inputSchema]);
  const { outputSchema } = agent.spec;
  const edgeHints: SchemaHints = {
    ...(hints["input"] && { input: hints["input"] }),
    ...(outputSchema && { output: outputSchema }),
  };
  return {
    name: node.name,
    agent: node.agent,
    ...(node.input !== undefined && {
      input: template(node.input, INPUT_VARIABLES, hints, `input of node ${node.name}`),
    }),
    checkInput: input.check,
    fillInput: input.fill,
    incoming: edges.filter((edge) => edge.to === node.name).length,
    outgoing: edges.filter((edge) => edge.from === node.name).map((edge) => compileEdge(edge, edgeHints)),
  };
}

function compileEdge(edge: EdgeSpec, hints: SchemaHints): PlanEdge {
  const { from, to, otherwise } = edge;
  assert(edge.outcome === "succeeded", `edge ${from} → ${to} is for outcome succeeded`);
  assert(!(otherwise && edge.when !== undefined), `edge ${from} → ${to} has either when or otherwise`);
  if (edge.when === undefined) return { from, to, otherwise };
  const compiled = compileCondition(edge.when, { variables: CONDITION_VARIABLES, schemas: hints });
  assert(compiled.ok, `when of edge ${from} → ${to} compiles: ${compiled.ok ? "" : compiled.error}`);
  return { from, to, otherwise, when: compiled.value };
}

function template(value: Json, variables: readonly string[], schemas: SchemaHints, where: string): Template {
  const compiled = compileTemplate(value, { variables, schemas });
  assert(compiled.ok, `${where} compiles: ${compiled.ok ? "" : compiled.errors[0]?.message}`);
  return compiled.value;
}

// What the variables look like, so that a property declared `number` binds as double whatever its value.
function schemaHints(bundle: Bundle): SchemaHints {
  const { spec } = bundle.system;
  const nodes: JsonObject = {};
  for (const node of spec.nodes) {
    const output = bundle.agents[node.agent]?.spec.outputSchema;
    if (output !== undefined) nodes[node.name] = { properties: { output } };
  }
  return { ...(spec.inputSchema && { input: spec.inputSchema }), nodes: { properties: nodes } };
}

function joinSchemas(schemas: readonly (JsonObject | undefined)[]): SchemaCheck {
  const checks: SchemaCheck[] = [];
  const fills: SchemaCheck[] = [];
  for (const schema of schemas) {
    if (schema === undefined) continue;
    const compiled = compileSchema(schema);
    assert(compiled.ok, `a stored schema compiles: ${compiled.ok ? "" : compiled.error}`);
    checks.push(compiled.value);
    // Filling copies the value; most schemas declare no default.
    if (JSON.stringify(schema).includes('"default"')) fills.push(compiled.value);
  }
  return {
    check(value) {
      for (const check of checks) {
        const problem = check.check(value);
        if (problem !== undefined) return problem;
      }
      return undefined;
    },
    fill: (value) => fills.reduce((filled, check) => check.fill(filled), value),
  };
}

function assertAcyclic(nodes: ReadonlyMap<string, PlanNode>): void {
  const waiting = new Map([...nodes.values()].map((node) => [node.name, node.incoming]));
  const free = [...nodes.values()].filter((node) => node.incoming === 0);
  for (let node = free.pop(); node !== undefined; node = free.pop()) {
    waiting.delete(node.name);
    for (const { to } of node.outgoing) {
      const left = (waiting.get(to) ?? 0) - 1;
      waiting.set(to, left);
      const target = nodes.get(to);
      if (left === 0 && target !== undefined) free.push(target);
    }
  }
  assert(waiting.size === 0, `no cycle through ${[...waiting.keys()].join(", ")}`);
}
