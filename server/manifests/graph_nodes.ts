// The schema of a system's nodes: reads each one, and writes it back as a manifest would say it.
// Called by agent_system.ts. What is not known is refused, never ignored.
// Never looks at the graph as a whole (graph_typing.ts) nor at the agents it names (references.ts).

import type { Json, JsonObject } from "../../kit/json.ts";
import type { Findings } from "./diagnostics.ts";
import { checkExpression, checkTemplate } from "./expressions.ts";
import { compact, Fields, readLabel, readString } from "./fields.ts";
import type { JoinSpec, MapSpec, NodeSpec } from "./specs.ts";
import type { Tree } from "./tree.ts";

const NODE_KEYS = ["name", "agent", "tool", "system", "transform", "map", "join", "route", "input"];
const TARGETS = ["agent", "tool", "system", "transform"] as const;
const NODE_NAME = /^[a-z][a-z0-9_]{0,62}$/;
/** CEL's reserved words (https://github.com/google/cel-spec, doc/langdef.md); none can be a node's name. */
export const CEL_RESERVED: ReadonlySet<string> = new Set(
  "as break const continue else false for function if import in let loop namespace null package return true var void while".split(
    " ",
  ),
);
/** What a node's input may read. */
export const NODE_VARIABLES: readonly string[] = ["input", "nodes", "iteration"];
/** Nodes of a system at most. */
export const NODES_MAX = 500;
/** Items of one map that are executed at a time, unless it says otherwise; and at most. */
export const MAP_CONCURRENCY = 10;
const MAP_CONCURRENCY_MAX = 1_000;

/** Reads the nodes of a system. */
export function readNodes(fields: Fields): NodeSpec[] {
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
  checkTarget(fields);
  const agentTree = fields.get("agent");
  const agent = agentTree && readLabel(findings, agentTree, fields.at("agent"));
  const toolTree = fields.get("tool");
  const tool = toolTree && readLabel(findings, toolTree, fields.at("tool"));
  const systemTree = fields.get("system");
  const system = systemTree && readLabel(findings, systemTree, fields.at("system"));
  const transformTree = fields.get("transform");
  if (transformTree) checkTemplate(findings, transformTree, fields.at("transform"), NODE_VARIABLES);
  const map = readMap(fields);
  const inputTree = fields.get("input");
  if (inputTree !== undefined) {
    const variables = map === undefined ? NODE_VARIABLES : [...NODE_VARIABLES, map.as];
    checkTemplate(findings, inputTree, fields.at("input"), variables);
  }
  const input = fields.json("input");
  const join = readJoin(fields);
  const route = fields.oneOf("route", ["all", "first"], "all");
  if (name === undefined) return undefined;
  const transform = fields.json("transform");
  return {
    name,
    ...targetOf({ transform, tool, system, agent }, fields),
    ...(map && { map }),
    ...{ join, route },
    ...(input !== undefined && { input }),
  };
}

// A key without a sound value still says what kind of node it is.
function targetOf(
  {
    transform,
    tool,
    system,
    agent,
  }: { readonly transform: Json | undefined } & Record<"tool" | "system" | "agent", string | undefined>,
  fields: Fields,
): Partial<NodeSpec> {
  if (transform !== undefined) return { transform };
  if (fields.has("tool")) return { tool: tool ?? "" };
  if (fields.has("system")) return { system: system ?? "" };
  return { agent: agent ?? "" };
}

function checkTarget(fields: Fields): void {
  const targets = TARGETS.filter((key) => fields.has(key));
  const [, second] = targets;
  if (second !== undefined) {
    const message = `a node has one of ${TARGETS.join(", ")}; found ${targets.join(", ")}`;
    fields.findings.error("E-UNION", fields.positionOf(second), fields.at(second), message);
  }
  if (targets.length === 0) fields.missing("agent");
  if (fields.has("system") && fields.has("map")) {
    const message = "a system is not mapped";
    const hint = "map a node inside of it";
    fields.findings.error("E-UNION", fields.positionOf("map"), fields.at("map"), message, hint);
  }
  for (const key of ["input", "map"]) {
    if (!fields.has("transform") || !fields.has(key)) continue;
    const message = `a transform has no "${key}"`;
    fields.findings.error("E-UNION", fields.positionOf(key), fields.at(key), message, "write it into the transform");
  }
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

function readJoin(fields: Fields): JoinSpec {
  const tree = fields.get("join");
  if (tree?.kind !== "map") return fields.oneOf<"all" | "any">("join", ["all", "any"], "all");
  const inner = Fields.of(fields.findings, tree, fields.at("join"), ["quorum"]) as Fields;
  inner.required("quorum");
  return { quorum: inner.integer("quorum", { min: 1, max: NODES_MAX }, 1) };
}

function readMap(parent: Fields): MapSpec | undefined {
  const tree = parent.get("map");
  const fields =
    tree && Fields.of(parent.findings, tree, parent.at("map"), ["over", "as", "concurrency", "onItemError"]);
  if (fields === undefined) return undefined;
  const overTree = fields.required("over");
  const over = overTree && checkExpression(parent.findings, overTree, fields.at("over"), NODE_VARIABLES);
  const asTree = fields.required("as");
  const as = asTree && readNodeName(parent.findings, asTree, fields.at("as"));
  if (asTree !== undefined && as !== undefined && NODE_VARIABLES.includes(as)) {
    const message = `"${as}" means something else in the input of a node`;
    parent.findings.error("E-NAME", asTree.at, fields.at("as"), message, 'for example "item"');
  }
  return {
    over: over ?? "[]",
    as: as ?? "item",
    concurrency: fields.integer("concurrency", { min: 1, max: MAP_CONCURRENCY_MAX }, MAP_CONCURRENCY),
    onItemError: fields.oneOf("onItemError", ["fail", "skip", "collect"], "fail"),
  };
}

/** A node as its manifest would say it, defaults filled in. */
export function nodeJson({ name, agent, tool, system, transform, map, join, route, input }: NodeSpec): JsonObject {
  const joinJson = typeof join === "string" ? join : { quorum: join.quorum };
  return compact({ name, agent, tool, system, transform, map: map && { ...map }, join: joinJson, route, input });
}
