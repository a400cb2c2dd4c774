// Writes a graph in the DOT language, for Graphviz.
// Called by graph.ts. Pure. Every name and label is a quoted string, in which only quotes and backslashes mean anything.

import { edgeLabel, type Graph, type GraphEdge, type GraphNode, type NodeKind, nodeDetail } from "./graph_model.ts";
import { safeLine } from "./sanitize.ts";
import { lookOf, type Tone } from "./style.ts";

const SHAPES: Readonly<Record<NodeKind, string>> = {
  agent: 'shape=box, style="rounded"',
  tool: "shape=component",
  transform: "shape=parallelogram",
  system: "shape=box, peripheries=2",
};
const COLOURS: Readonly<Partial<Record<Tone, string>>> = {
  good: "#1a7f37",
  bad: "#cf222e",
  busy: "#0969da",
  warn: "#9a6700",
  denied: "#8250df",
  dim: "#8c959f",
};

/** See the file header. */
export function dotOf(graph: Graph): string[] {
  const names = new Set(graph.nodes.map(({ name }) => name));
  return [
    `digraph ${quoted(graph.title)} {`,
    "  rankdir=TB;",
    '  node [fontname="sans-serif", fontsize=11];',
    '  edge [fontname="sans-serif", fontsize=10];',
    ...graph.nodes.map(nodeText),
    ...graph.edges.filter(({ from, to }) => names.has(from) && names.has(to)).map(edgeText),
    "}",
  ];
}

function nodeText(node: GraphNode): string {
  const { name, kind, state, iteration } = node;
  const look = state === undefined ? undefined : lookOf(state);
  const words = look === undefined ? [] : [`${look.sign} ${(state ?? "").toLowerCase()}`];
  const lines = [`${name}${iteration > 0 ? ` #${iteration}` : ""}`, ...words, ...nodeDetail(node)];
  const colour = look === undefined ? undefined : COLOURS[look.tone];
  return `  ${quoted(name)} [label=${quoted(...lines)}, ${SHAPES[kind]}${colour === undefined ? "" : `, color="${colour}"`}];`;
}

function edgeText(edge: GraphEdge): string {
  const label = edgeLabel(edge);
  const attributes = [
    ...(label === "" ? [] : [`label=${quoted(label)}`]),
    ...(edge.loop === undefined ? [] : ["style=dashed", "constraint=false"]),
    ...(edge.taken ? ["penwidth=2"] : []),
  ];
  const list = attributes.length === 0 ? "" : ` [${attributes.join(", ")}]`;
  return `  ${quoted(edge.from)} -> ${quoted(edge.to)}${list};`;
}

// Lines of a label are told apart by the escape that DOT has for that.
function quoted(...lines: readonly string[]): string {
  return `"${lines.map((line) => safeLine(line).replace(/["\\]/g, "\\$&")).join("\\n")}"`;
}
