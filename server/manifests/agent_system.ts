// The schema of kind AgentSystem: reads nodes (graph_nodes.ts), edges (graph_edges.ts) and output, and writes them back.
// Called by kinds.ts.
// Never looks at the graph as a whole (graph_typing.ts) nor at the agents it names (references.ts).

import type { JsonObject } from "../../kit/json.ts";
import type { Findings } from "./diagnostics.ts";
import { checkSchema, checkTemplate } from "./expressions.ts";
import { compact, Fields } from "./fields.ts";
import { edgesJson, readEdges } from "./graph_edges.ts";
import { nodeJson, readNodes } from "./graph_nodes.ts";
import type { AgentSystemSpec } from "./specs.ts";
import type { Tree } from "./tree.ts";

/** What the system's output may read. */
export const OUTPUT_VARIABLES: readonly string[] = ["input", "nodes"];

/** Reads the spec of an AgentSystem; after errors the result only serves to find more of them. */
export function readAgentSystem(findings: Findings, tree: Tree, path: string): AgentSystemSpec | undefined {
  const fields = Fields.of(findings, tree, path, ["description", "inputSchema", "nodes", "edges", "output"]);
  if (fields === undefined) return undefined;
  const schemaTree = fields.get("inputSchema");
  const inputSchema = schemaTree && checkSchema(findings, schemaTree, fields.at("inputSchema"));
  if (!fields.has("nodes")) fields.missing("nodes");
  const nodes = readNodes(fields);
  const edges = readEdges(fields);
  if (!fields.has("output")) fields.missing("output");
  return {
    description: fields.string("description") ?? "",
    ...(inputSchema && { inputSchema }),
    nodes,
    edges,
    output: readOutput(fields),
  };
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

/** Spec of an AgentSystem as its manifest would say it, defaults filled in; an edge set is written once for each source. */
export function agentSystemJson(spec: AgentSystemSpec): JsonObject {
  return compact({
    description: spec.description,
    inputSchema: spec.inputSchema,
    nodes: spec.nodes.map(nodeJson),
    edges: edgesJson(spec.edges),
    output: compact({ schema: spec.output.schema, value: spec.output.value }),
  });
}
