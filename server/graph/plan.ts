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
import { enterName, systemOf } from "../manifests/inline_systems.ts";
import { outputsSchema } from "../manifests/node_schemas.ts";
import type { EdgeSpec, MapSpec, NodeSpec } from "../manifests/specs.ts";
import { localName } from "./bindings.ts";
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
  const hintsOf = scopedHints(bundle);
  const names = spec.nodes.map((node) => node.name);
  const declared = new Set(names);
  assert(declared.size === names.length, "node names of a system are unique");
  for (const edge of spec.edges) {
    assert(declared.has(edge.from) && declared.has(edge.to), `edge ${edge.from} → ${edge.to} joins declared nodes`);
  }
  const order = forwardOrder(names, spec.edges);
  assert(order !== undefined, "no cycle but through loop edges");
  const edges = spec.edges.map((edge, index) => compileEdge(edge, index, edgeHints(bundle, edge, hintsOf)));
  const scopes = new Map(spec.nodes.map((node) => [node.name, node.scope]));
  const shape = { edges, loops: innermostLoops(order, spec.edges, (name) => scopes.get(name)) };
  const nodes = new Map(spec.nodes.map((node) => [node.name, compileNode(bundle, node, hintsOf, shape)]));
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
    output: template(spec.output.value, OUTPUT_VARIABLES, hintsOf(undefined), "output of the system"),
    checkOutput: output.check,
    fillOutput: output.fill,
  };
}

interface Shape {
  readonly edges: readonly PlanEdge[];
  readonly loops: ReadonlyMap<string, string>;
}

function compileNode(bundle: Bundle, node: NodeSpec, hintsOf: HintsOf, { edges, loops }: Shape): PlanNode {
  const { name, join, scope, port } = node;
  const agent = node.agent === undefined ? undefined : bundle.agents[node.agent];
  assert(agent !== undefined || node.transform !== undefined, `bundle holds agent ${node.agent} of node ${name}`);
  const input = joinSchemas([agent?.spec.inputSchema ?? node.schema]);
  const hints = hintsOf(scope);
  // What a contained system gives is made of what is in it; a failure in it is one of the node in whose place it stands.
  const inner = port === "leave" ? name : scope;
  const system = port === "enter" ? systemOf(name) : scope;
  const quorum = join === "any" ? 1 : typeof join === "object" ? join.quorum : undefined;
  const variables = node.map === undefined ? INPUT_VARIABLES : [...INPUT_VARIABLES, node.map.as];
  const loop = loops.get(name);
  return {
    name,
    agent: node.agent ?? "",
    ...(scope !== undefined && { scope }),
    ...(inner !== undefined && { inner }),
    ...(system !== undefined && { system }),
    ...(port && { port }),
    ...(node.input !== undefined && { input: template(node.input, variables, hints, `input of node ${name}`) }),
    ...(node.transform !== undefined && {
      transform: template(node.transform, INPUT_VARIABLES, hintsOf(inner), `transform of node ${name}`),
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

// What is known of what a node gives.
function outputSchemaOf(bundle: Bundle, node: NodeSpec): JsonObject | undefined {
  return node.agent === undefined ? node.schema : bundle.agents[node.agent]?.spec.outputSchema;
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
function edgeHints(bundle: Bundle, edge: EdgeSpec, hintsOf: HintsOf): SchemaHints {
  const source = bundle.system.spec.nodes.find((node) => node.name === edge.from);
  const hints = hintsOf(source?.scope);
  const schema = source && outputSchemaOf(bundle, source);
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

type HintsOf = (scope: string | undefined) => SchemaHints;

// What the variables look like in each scope, so that a property declared `number` binds as double whatever its value.
function scopedHints(bundle: Bundle): HintsOf {
  const { spec } = bundle.system;
  const known = new Map<string | undefined, SchemaHints>();
  const compute = (scope: string | undefined): SchemaHints => {
    const nodes: JsonObject = {};
    for (const node of spec.nodes) {
      const output = node.scope === scope && node.port !== "enter" ? outputSchemaOf(bundle, node) : undefined;
      if (output === undefined) continue;
      const properties = node.map === undefined ? { output } : { outputs: outputsSchema(output, node.map) };
      nodes[localName(node.name, scope)] = { properties };
    }
    const enter = scope === undefined ? undefined : spec.nodes.find((node) => node.name === enterName(scope));
    const input = scope === undefined ? spec.inputSchema : enter?.schema;
    return { ...(input && { input }), nodes: { properties: nodes } };
  };
  return (scope) => {
    const hints = known.get(scope) ?? compute(scope);
    known.set(scope, hints);
    return hints;
  };
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
