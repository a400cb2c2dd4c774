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
import type { Bundle, Resolved } from "../manifests/bundle.ts";
import { outputsSchema } from "../manifests/node_schemas.ts";
import type { AgentSpec, EdgeSpec, MapSpec, NodeSpec } from "../manifests/specs.ts";
import { agentOfNode } from "../manifests/tool_agent.ts";
import { forwardOrder, innermostLoops, reachedFrom } from "./loops.ts";
import type { GraphPlan, PlanEdge, PlanLoop, PlanMap, PlanNode } from "./types.ts";

/** Names that the condition of an edge may read. */
export const CONDITION_VARIABLES = ["output", "outputs", "error", "input", "iteration"] as const;
/** Names that the input of a node may read, beside the item of a map. */
export const INPUT_VARIABLES = ["input", "nodes", "iteration"] as const;
/** Names that the output of a system may read. */
export const OUTPUT_VARIABLES = ["input", "nodes"] as const;

/** The plan of a bundle's graph. @throws INVARIANT_BROKEN for what apply refuses. */
export function compilePlan(bundle: Bundle): GraphPlan {
  const { spec } = bundle.system;
  const hints = schemaHints(bundle);
  const names = spec.nodes.map((node) => node.name);
  const declared = new Set(names);
  assert(declared.size === names.length, "node names of a system are unique");
  for (const edge of spec.edges) {
    assert(declared.has(edge.from) && declared.has(edge.to), `edge ${edge.from} → ${edge.to} joins declared nodes`);
  }
  const order = forwardOrder(names, spec.edges);
  assert(order !== undefined, "no cycle but through loop edges");
  const edges = spec.edges.map((edge, index) => compileEdge(edge, index, edgeHints(bundle, edge, hints)));
  const shape = { edges, loops: innermostLoops(order, spec.edges) };
  const nodes = new Map(spec.nodes.map((node) => [node.name, compileNode(bundle, node, hints, shape)]));
  const output = joinSchemas([spec.output.schema, bundle.workflow.spec.output.schema]);
  return {
    nodes,
    entries: names.filter((name) => nodes.get(name)?.incoming === 0),
    incoming: Map.groupBy(
      edges.filter((edge) => edge.loop === undefined),
      (edge) => edge.to,
    ),
    loops: compileLoops(names, edges),
    order,
    output: template(spec.output.value, OUTPUT_VARIABLES, hints, "output of the system"),
    checkOutput: output.check,
    fillOutput: output.fill,
  };
}

interface Shape {
  readonly edges: readonly PlanEdge[];
  readonly loops: ReadonlyMap<string, string>;
}

function compileNode(bundle: Bundle, node: NodeSpec, hints: SchemaHints, { edges, loops }: Shape): PlanNode {
  const { name, join } = node;
  const agentName = agentOfNode(node);
  const agent = agentOf(bundle, node);
  assert(agent !== undefined || node.transform !== undefined, `bundle holds agent ${agentName} of node ${name}`);
  const input = joinSchemas([agent?.spec.inputSchema]);
  const quorum = join === "any" ? 1 : typeof join === "object" ? join.quorum : undefined;
  const variables = node.map === undefined ? INPUT_VARIABLES : [...INPUT_VARIABLES, node.map.as];
  const loop = loops.get(name);
  return {
    name,
    agent: agentName ?? "",
    ...(node.input !== undefined && { input: template(node.input, variables, hints, `input of node ${name}`) }),
    ...(node.transform !== undefined && {
      transform: template(node.transform, INPUT_VARIABLES, hints, `transform of node ${name}`),
    }),
    ...(node.map && { map: compileMap(node.map, hints, name) }),
    checkInput: input.check,
    fillInput: input.fill,
    incoming: edges.filter((edge) => edge.to === name && edge.loop === undefined).length,
    ...(quorum !== undefined && { quorum }),
    first: node.route === "first",
    outgoing: edges.filter((edge) => edge.from === name),
    ...(loop !== undefined && { loop }),
  };
}

function agentOf(bundle: Bundle, node: NodeSpec): Resolved<AgentSpec> | undefined {
  const name = agentOfNode(node);
  return name === undefined ? undefined : bundle.agents[name];
}

function compileMap(map: MapSpec, hints: SchemaHints, name: string): PlanMap {
  // As a template it tells which nodes it reads; the line break ends a comment.
  const over = template(`\${{ ${map.over}\n}}`, INPUT_VARIABLES, hints, `over of node ${name}`);
  return { ...map, over };
}

function compileLoops(names: readonly string[], edges: readonly PlanEdge[]): ReadonlyMap<string, PlanLoop> {
  const loops = new Map<string, PlanLoop>();
  for (const { to, loop } of edges) {
    if (loop === undefined) continue;
    const again = reachedFrom(to, edges);
    const max = (loops.get(to)?.max ?? 0) + loop.max;
    loops.set(to, { max, again: names.filter((name) => again.has(name)) });
  }
  return loops;
}

// What the conditions of an edge see of the node that it leaves.
function edgeHints(bundle: Bundle, edge: EdgeSpec, hints: SchemaHints): SchemaHints {
  const source = bundle.system.spec.nodes.find((node) => node.name === edge.from);
  const schema = source && agentOf(bundle, source)?.spec.outputSchema;
  return {
    ...(hints["input"] && { input: hints["input"] }),
    ...(schema && source?.map === undefined && { output: schema }),
    ...(schema && source?.map !== undefined && { outputs: outputsSchema(schema, source.map) }),
  };
}

function compileEdge(edge: EdgeSpec, index: number, hints: SchemaHints): PlanEdge {
  const { from, to, outcome, otherwise, set, loop } = edge;
  assert(!(otherwise && edge.when !== undefined), `edge ${from} → ${to} has either when or otherwise`);
  const plain = { index, from, to, outcome, otherwise, set, ...(loop && { loop }) };
  if (edge.when === undefined) return plain;
  const compiled = compileCondition(edge.when, { variables: CONDITION_VARIABLES, schemas: hints });
  assert(compiled.ok, `when of edge ${from} → ${to} compiles: ${compiled.ok ? "" : compiled.error}`);
  return { ...plain, when: compiled.value };
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
    const output = agentOf(bundle, node)?.spec.outputSchema;
    if (output === undefined) continue;
    const properties = node.map === undefined ? { output } : { outputs: outputsSchema(output, node.map) };
    nodes[node.name] = { properties };
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
