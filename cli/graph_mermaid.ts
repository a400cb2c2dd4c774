// Writes a graph as a Mermaid flowchart, for Markdown that renders one.
// Called by graph.ts. Pure. Nodes are called n0, n1, …; what they are really called stands in quoted labels.
// In labels, whatever Mermaid could take for its own is a character code: quotes, backquotes, #, markup, `style:`.

import { edgeLabel, type Graph, type GraphEdge, type GraphNode, type NodeKind, nodeDetail } from "./graph_model.ts";
import { safeLine } from "./sanitize.ts";
import { lookOf, type Tone } from "./style.ts";

const SHAPES: Readonly<Record<NodeKind, readonly [string, string]>> = {
  agent: ["(", ")"],
  tool: ["[[", "]]"],
  transform: ["{{", "}}"],
  system: ["([", "])"],
};
const CLASSES: Readonly<Partial<Record<Tone, string>>> = {
  good: "stroke:#1a7f37,stroke-width:2px",
  bad: "stroke:#cf222e,stroke-width:2px",
  busy: "stroke:#0969da,stroke-width:2px",
  warn: "stroke:#9a6700,stroke-width:2px",
  denied: "stroke:#8250df,stroke-width:2px",
  dim: "stroke:#8c959f,stroke-dasharray:4",
};

/** See the file header. */
export function mermaidOf(graph: Graph): string[] {
  const ids = new Map(graph.nodes.map(({ name }, index) => [name, `n${index}`]));
  const tones = Map.groupBy(
    graph.nodes.filter(({ state }) => state !== undefined),
    ({ state = "" }) => lookOf(state).tone,
  );
  const classes = (Object.keys(CLASSES) as Tone[]).flatMap((tone) => {
    const members = (tones.get(tone) ?? []).map(({ name }) => ids.get(name));
    return members.length === 0 ? [] : [`  classDef ${tone} ${CLASSES[tone]}`, `  class ${members.join(",")} ${tone}`];
  });
  return [
    `%% ${safeLine(graph.title).replaceAll(/[{}%]/g, "")}`,
    "flowchart TD",
    ...graph.nodes.map((node) => `  ${ids.get(node.name)}${nodeText(node)}`),
    ...graph.edges.flatMap((edge) => edgeText(edge, ids)),
    ...classes,
  ];
}

function nodeText(node: GraphNode): string {
  const { name, kind, state, iteration } = node;
  const look = state === undefined ? undefined : `${lookOf(state).sign} ${state.toLowerCase()}`;
  const round = iteration > 0 ? ` #${iteration}` : "";
  const lines = [`${name}${round}`, ...(look === undefined ? [] : [look]), ...nodeDetail(node)];
  const [open, close] = SHAPES[kind];
  return `${open}"${lines.map(quoted).join("<br/>")}"${close}`;
}

function edgeText(edge: GraphEdge, ids: ReadonlyMap<string, string>): string[] {
  const from = ids.get(edge.from);
  const to = ids.get(edge.to);
  if (from === undefined || to === undefined) return [];
  const label = edgeLabel(edge);
  const arrow = edge.loop !== undefined ? "-.->" : edge.taken ? "==>" : "-->";
  return [`  ${from} ${arrow}${label === "" ? "" : `|"${quoted(label)}"|`} ${to}`];
}

// Letters, digits, and what has no meaning anywhere in a label; the rest by its code.
function quoted(text: string): string {
  return safeLine(text).replace(/[^\p{L}\p{M}\p{N} ._/=,+!?≤·✔✘○●‖⊘■–-]/gu, (one) => `#${one.codePointAt(0)};`);
}
