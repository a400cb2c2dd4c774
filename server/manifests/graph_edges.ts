// The schema of a system's edges: reads each edge set, flattened, and writes the sets back as a manifest would say them.
// Called by agent_system.ts. Whether an edge means something in its graph is graph_shape.ts's business.

import type { Json, JsonObject } from "../../kit/json.ts";
import { checkCondition } from "./expressions.ts";
import { compact, Fields, readString, readStringList } from "./fields.ts";
import { EDGE_OUTCOMES, type EdgeOutcome, type EdgeSpec, type LoopSpec } from "./specs.ts";

const EDGE_KEYS = ["from", "to", "when", "otherwise", "outcome", "loop"];
/** How often a loop edge may be taken at most. */
export const LOOP_MAX = 1_000;

/** What the condition of an edge may read. `outputs` is that of a mapped node. */
export function edgeVariables(outcome: EdgeOutcome): readonly string[] {
  return outcome === "succeeded" ? ["output", "outputs", "input", "iteration"] : ["error", "input", "iteration"];
}

/** Reads the edges of a system. */
export function readEdges(parent: Fields): EdgeSpec[] {
  const edges: EdgeSpec[] = [];
  let set = 0;
  for (const [index, item] of parent.list("edges").entries()) {
    const fields = Fields.of(parent.findings, item, `${parent.at("edges")}[${index}]`, EDGE_KEYS);
    if (fields === undefined) continue;
    const outcome = fields.oneOf("outcome", EDGE_OUTCOMES, "succeeded");
    const whenTree = fields.get("when");
    const when = whenTree && checkCondition(parent.findings, whenTree, fields.at("when"), edgeVariables(outcome))?.text;
    const otherwise = fields.boolean("otherwise", false);
    if (fields.has("when") && otherwise) {
      const message = "an edge has `when` or `otherwise`, not both";
      fields.findings.error("E-EDGE", fields.positionOf("otherwise"), fields.at("otherwise"), message, "remove one");
    }
    const loop = readLoop(fields);
    const rest = { ...(when !== undefined && { when }), otherwise, outcome, ...(loop && { loop }) };
    const targets = readEnds(fields, "to");
    for (const from of readEnds(fields, "from")) {
      for (const to of targets) edges.push({ from, to, ...rest, set });
      set += 1;
    }
  }
  return edges;
}

function readLoop(parent: Fields): LoopSpec | undefined {
  const tree = parent.get("loop");
  const fields = tree && Fields.of(parent.findings, tree, parent.at("loop"), ["max", "onExhausted"]);
  if (fields === undefined) return undefined;
  fields.required("max");
  return {
    max: fields.integer("max", { min: 1, max: LOOP_MAX }, 1),
    onExhausted: fields.oneOf("onExhausted", ["continue", "fail"], "fail"),
  };
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

/** Edges as a manifest would say them: one entry a source and set. */
export function edgesJson(edges: readonly EdgeSpec[]): Json[] {
  return [...Map.groupBy(edges, ({ set, from }) => `${set} ${from}`).values()].map((set): JsonObject => {
    const [{ from, when, otherwise, outcome, loop }] = set as [EdgeSpec];
    const targets = set.map((edge) => edge.to);
    const to: Json = targets.length === 1 ? (targets[0] as string) : targets;
    return compact({ from, to, when, otherwise: otherwise || undefined, outcome, loop: loop && { ...loop } });
  });
}
