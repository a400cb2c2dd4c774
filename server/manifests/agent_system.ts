// The schema of kind AgentSystem: reads nodes, edges and output, and writes them back as a manifest's spec.
// Called by kinds.ts. Graph features of later versions are refused (E-NOT-YET), never ignored.
// Never looks at the graph as a whole (graph_typing.ts) nor at the agents it names (references.ts).

import type { Json, JsonObject } from "../../kit/json.ts";
import type { Findings } from "./diagnostics.ts";
import { checkCondition, checkSchema, checkTemplate } from "./expressions.ts";
import { compact, Fields, readLabel, readString, readStringList } from "./fields.ts";
import type { AgentSystemSpec, EdgeSpec, NodeSpec } from "./specs.ts";
import type { Tree } from "./tree.ts";

const NODE_KEYS = ["name", "agent", "tool", "system", "transform", "map", "join", "route", "input"];
const EDGE_KEYS = ["from", "to", "when", "otherwise", "outcome", "loop"];
const OUTCOMES = ["succeeded", "failed", "policyDenied", "timedOut"] as const;
const NODE_NAME = /^[a-z][a-z0-9_]{0,62}$/;
/** CEL's reserved words (https://github.com/google/cel-spec, doc/langdef.md); none can be a node's name. */
export const CEL_RESERVED: ReadonlySet<string> = new Set(
  "as break const continue else false for function if import in let loop namespace null package return true var void while".split(
    " ",
  ),
);
/** What a node's input may read. */
export const NODE_VARIABLES: readonly string[] = ["input", "nodes", "iteration"];
/** What `iteration` is outside a loop. */
export const INPUT_ITERATION = { index: 0, max: 0 };
/** What an edge's condition may read. */
export const EDGE_VARIABLES: readonly string[] = ["output", "input", "iteration"];
/** What the system's output may read. */
export const OUTPUT_VARIABLES: readonly string[] = ["input", "nodes"];
/** Nodes of a system at most. */
export const NODES_MAX = 500;

/** Reads the spec of an AgentSystem; after errors the result only serves to find more of them. */
export function readAgentSystem(findings: Findings, tree: Tree, path: string): AgentSystemSpec | undefined {
  const fields = Fields.of(findings, tree, path, ["description", "inputSchema", "nodes", "edges", "output"]);
  if (fields === undefined) return undefined;
  const schemaTree = fields.get("inputSchema");
  const inputSchema = schemaTree && checkSchema(findings, schemaTree, fields.at("inputSchema"));
  if (!fields.has("nodes")) fields.missing("nodes");
  const nodes = readNodes(fields);
  const edges = fields
    .list("edges")
    .flatMap((item, index) => readEdges(findings, item, `${fields.at("edges")}[${index}]`));
  if (!fields.has("output")) fields.missing("output");
  return {
    description: fields.string("description") ?? "",
    ...(inputSchema && { inputSchema }),
    nodes,
    edges,
    output: readOutput(fields),
  };
}

function readNodes(fields: Fields): NodeSpec[] {
  const tree = fields.get("nodes");
  const items = fields.list("nodes");
  const path = fields.at("nodes");
  if (tree?.kind === "list" && (items.length === 0 || items.length > NODES_MAX)) {
    fields.findings.error("E-VALUE", tree.at, path, `a system has 1 to ${NODES_MAX} nodes, found ${items.length}`);
  }
  const seen = new Set<string>();
  const nodes: NodeSpec[] = [];
  for (const [index, item] of items.slice(0, NODES_MAX).entries()) {
    const node = readNode(fields.findings, item, `${path}[${index}]`);
    if (node === undefined) continue;
    if (seen.has(node.name)) {
      const message = `two nodes have the name "${node.name}"`;
      fields.findings.error("E-DUPLICATE", item.at, `${path}[${index}].name`, message, "give one another name");
    }
    seen.add(node.name);
    nodes.push(node);
  }
  return nodes;
}

function readNode(findings: Findings, tree: Tree, path: string): NodeSpec | undefined {
  const fields = Fields.of(findings, tree, path, NODE_KEYS);
  if (fields === undefined) return undefined;
  const nameTree = fields.required("name");
  const name = nameTree && readNodeName(findings, nameTree, fields.at("name"));
  for (const key of ["tool", "system", "transform"]) fields.notYet(key, `a node with "${key}"`);
  for (const key of ["map", "route"]) fields.notYet(key);
  const joinTree = fields.get("join");
  if (joinTree !== undefined && !(joinTree.kind === "scalar" && joinTree.value === "all")) {
    if (joinTree.kind === "map" || fields.oneOf("join", ["all", "any"]) === "any")
      fields.notYet("join", "a join other than all");
  }
  const targets = ["agent", "tool", "system", "transform"].filter((key) => fields.has(key));
  if (targets.length > 1) {
    const [, second] = targets as [string, string];
    findings.error(
      "E-UNION",
      fields.positionOf(second),
      fields.at(second),
      `a node has one of agent, tool, system, transform; found ${targets.join(", ")}`,
    );
  }
  if (targets.length === 0) fields.missing("agent");
  const agentTree = fields.get("agent");
  const agent = agentTree && readLabel(findings, agentTree, fields.at("agent"));
  const inputTree = fields.get("input");
  // A mapped node is refused above; its input may read the map's variable, which means nothing here.
  if (inputTree !== undefined && !fields.has("map")) {
    checkTemplate(findings, inputTree, fields.at("input"), NODE_VARIABLES);
  }
  const input = fields.json("input");
  if (name === undefined) return undefined;
  return { name, agent: agent ?? "", join: "all", ...(input !== undefined && { input }) };
}

function readNodeName(findings: Findings, tree: Tree, path: string): string | undefined {
  const name = readString(findings, tree, path);
  if (name === undefined) return undefined;
  if (CEL_RESERVED.has(name)) {
    findings.error("E-NAME", tree.at, path, `"${name}" is a reserved word of CEL`, `for example "${name}_node"`);
    return name;
  }
  if (!NODE_NAME.test(name)) {
    const suggestion = name.toLowerCase().replace(/[^a-z0-9_]+/g, "_");
    const hint = NODE_NAME.test(suggestion) ? `did you mean "${suggestion}"?` : "";
    const message = `"${name.slice(0, 80)}" is not a node name: lower-case letters, digits and _, beginning with a letter, at most 63`;
    findings.error("E-NAME", tree.at, path, message, hint);
  }
  return name;
}

function readEdges(findings: Findings, tree: Tree, path: string): EdgeSpec[] {
  const fields = Fields.of(findings, tree, path, EDGE_KEYS);
  if (fields === undefined) return [];
  fields.notYet("loop");
  const outcome = fields.oneOf("outcome", OUTCOMES, "succeeded");
  if (outcome !== "succeeded") fields.notYet("outcome", `an edge with outcome: ${outcome}`);
  const whenTree = fields.get("when");
  const when = whenTree && checkCondition(findings, whenTree, fields.at("when"), EDGE_VARIABLES)?.text;
  const otherwise = fields.boolean("otherwise", false);
  if (fields.has("when") && otherwise) {
    const message = "an edge has `when` or `otherwise`, not both";
    findings.error("E-EDGE", fields.positionOf("otherwise"), fields.at("otherwise"), message, "remove one");
  }
  const edges: EdgeSpec[] = [];
  for (const from of readEnds(fields, "from")) {
    for (const to of readEnds(fields, "to")) {
      edges.push({ from, to, ...(when !== undefined && { when }), otherwise, outcome: "succeeded" });
    }
  }
  return edges;
}

function readEnds(fields: Fields, key: string): string[] {
  const tree = fields.get(key);
  if (!fields.has(key)) fields.missing(key);
  if (tree === undefined) return [];
  if (tree.kind !== "list") {
    const name = readString(fields.findings, tree, fields.at(key));
    return name === undefined ? [] : [name];
  }
  if (tree.items.length === 0)
    fields.findings.error("E-VALUE", tree.at, fields.at(key), `"${key}" names no node`, "name one");
  return readStringList(fields.findings, tree, fields.at(key));
}

function readOutput(parent: Fields): AgentSystemSpec["output"] {
  const tree = parent.get("output");
  const fields = tree && Fields.of(parent.findings, tree, parent.at("output"), ["schema", "value"]);
  if (fields === undefined) return { value: null };
  const schemaTree = fields.get("schema");
  const schema = schemaTree && checkSchema(parent.findings, schemaTree, fields.at("schema"));
  const valueTree = fields.required("value");
  if (valueTree !== undefined) checkTemplate(parent.findings, valueTree, fields.at("value"), OUTPUT_VARIABLES);
  return { ...(schema && { schema }), value: fields.json("value") ?? null };
}

/** Spec of an AgentSystem as its manifest would say it, defaults filled in; edge sets stay flattened. */
export function agentSystemJson(spec: AgentSystemSpec): JsonObject {
  return compact({
    description: spec.description,
    inputSchema: spec.inputSchema,
    nodes: spec.nodes.map(({ name, agent, join, input }) => compact({ name, agent, join, input })),
    edges: edgesJson(spec.edges),
    output: compact({ schema: spec.output.schema, value: spec.output.value }),
  });
}

// A group has one `otherwise` edge set at most, so its edges are written as one again.
function edgesJson(edges: readonly EdgeSpec[]): Json[] {
  const written: JsonObject[] = [];
  for (const [index, { from, to, when, otherwise, outcome }] of edges.entries()) {
    const before = edges[index - 1];
    const last = written.at(-1);
    if (otherwise && before?.otherwise === true && before.from === from && last !== undefined) {
      last["to"] = [...(Array.isArray(last["to"]) ? last["to"] : [last["to"] as Json]), to];
    } else written.push(compact({ from, to, when, otherwise: otherwise || undefined, outcome }));
  }
  return written;
}
