// Writes a graph as an SVG that needs nothing else: own styles, readable on light and dark ground, text escaped.
// Called by graph.ts. Pure. The layout is that of the terminal, a column being so many pixels; edges that lead back run on the right.

import { type Layout, type LayoutEdge, layOut, type Place } from "./graph_layout.ts";
import { edgeLabel, type Graph, type GraphEdge, type GraphNode, nodeDetail } from "./graph_model.ts";
import { columnsOf, cutTo, safeLine } from "./sanitize.ts";
import { lookOf } from "./style.ts";

const COLUMN = 8;
const BOX_HEIGHT = 46;
const LABEL_HEIGHT = 18;
const GAP = 38;
const MARGIN = 16;
const LANE = 18;
const NAME_COLUMNS_MAX = 40;
const DETAIL_COLUMNS_MAX = 60;
const LABEL_COLUMNS_MAX = 48;

interface Colours {
  readonly ink: string;
  readonly faint: string;
  readonly paper: string;
  /** By the tone of a state. */
  readonly tones: Readonly<Record<"good" | "bad" | "busy" | "warn" | "denied", string>>;
}

const LIGHT: Colours = {
  ...{ ink: "#1f2328", faint: "#6e7781", paper: "#ffffff" },
  tones: { good: "#1a7f37", bad: "#cf222e", busy: "#0969da", warn: "#9a6700", denied: "#8250df" },
};
const DARK: Colours = {
  ...{ ink: "#e6edf3", faint: "#8d96a0", paper: "#0d1117" },
  tones: { good: "#3fb950", bad: "#f85149", busy: "#58a6ff", warn: "#d29922", denied: "#bc8cff" },
};

// Colours are written out: few programs that show an SVG know variables.
const colourRules = ({ ink, faint, paper, tones }: Colours) => [
  `.paper { fill: ${paper}; } text { fill: ${ink}; } .detail, .label, .head { fill: ${faint}; } .label { stroke: ${paper}; }`,
  `.box { fill: ${paper}; stroke: ${ink}; } .edge { stroke: ${faint}; } .taken { stroke: ${ink}; } .dim .box { stroke: ${faint}; }`,
  ...Object.entries(tones).map(([tone, colour]) => `.${tone} .box { stroke: ${colour}; }`),
];

const STYLE = [
  "text { font: 13px ui-monospace, Menlo, Consolas, monospace; text-anchor: middle; }",
  ".detail, .label { font-size: 11px; } .lane { text-anchor: start; }",
  ".label { paint-order: stroke; stroke-width: 4px; }",
  ".box { stroke-width: 1.5; }",
  ".edge { fill: none; stroke-width: 1.2; } .taken { stroke-width: 2.2; } .back { stroke-dasharray: 5 4; }",
  ...colourRules(LIGHT),
  ".transform .box { stroke-dasharray: 5 3; }",
  "@media (prefers-color-scheme: dark) {",
  ...colourRules(DARK),
  "}",
].join("\n");

interface SvgEdge extends LayoutEdge {
  readonly edge: GraphEdge;
}

interface Box {
  readonly node: GraphNode;
  /** The name with its iteration, and what stands below it. */
  readonly lines: readonly [string, string];
  readonly width: number;
}

/** See the file header. */
export function svgOf(graph: Graph): string[] {
  const boxes = new Map(graph.nodes.map((node) => [node.name, boxOf(node)]));
  const edges = graph.edges.map((edge): SvgEdge => {
    const label = cutTo(safeLine(edgeLabel(edge)), LABEL_COLUMNS_MAX);
    return { from: edge.from, to: edge.to, edge, isBack: edge.loop !== undefined, ...(label !== "" && { label }) };
  });
  const layout = layOut(
    [...boxes.values()].map(({ node, width }) => ({ name: node.name, width })),
    edges,
  );
  const tops = topsOf(layout);
  const places = new Map(
    layout.layers.flatMap((layer, index) => layer.map((place) => [place.key, new Spot(place, tops[index] as Span)])),
  );
  const lanes = lanesOf(layout, places);
  const width = Math.max(layout.columns * COLUMN + MARGIN * 2, lanes.right + MARGIN);
  const height = (tops.at(-1)?.bottom ?? 0) + MARGIN;
  const title = graph.state === undefined ? graph.title : `${graph.title} ${graph.state}`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">`,
    `<title>${escaped(title)}</title>`,
    `<style>\n${STYLE}\n</style>`,
    `<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto"><path class="head" d="M0 0 L8 4 L0 8 Z"/></marker></defs>`,
    `<rect class="paper" width="${width}" height="${height}"/>`,
    ...layout.links.map((link) => lineOf(places.get(link.from), places.get(link.to), link.edge.edge)),
    ...lanes.lines,
    ...[...places.values()].flatMap((spot) => labelOf(spot)),
    ...[...places.values()].flatMap((spot) => drawBox(spot, boxes)),
    "</svg>",
  ];
}

function boxOf(node: GraphNode): Box {
  const look = node.state === undefined ? [] : [`${lookOf(node.state).sign} ${node.state.toLowerCase()}`];
  const name = `${cutTo(safeLine(node.name), NAME_COLUMNS_MAX)}${node.iteration > 0 ? ` #${node.iteration}` : ""}`;
  const detail = cutTo(safeLine([...look, ...nodeDetail(node)].join(" · ")), DETAIL_COLUMNS_MAX);
  return { node, lines: [name, detail], width: Math.max(columnsOf(name), columnsOf(detail)) + 4 };
}

interface Span {
  readonly top: number;
  readonly bottom: number;
}

function topsOf(layout: Layout): Span[] {
  let top = MARGIN;
  return layout.layers.map((layer) => {
    const height = layer.some((place) => place.node !== undefined) ? BOX_HEIGHT : LABEL_HEIGHT;
    const span = { top, bottom: top + height };
    top += height + GAP;
    return span;
  });
}

class Spot {
  readonly place: Place;
  readonly top: number;
  readonly bottom: number;
  readonly x: number;

  constructor(place: Place, { top, bottom }: Span) {
    this.place = place;
    this.top = top;
    this.bottom = bottom;
    this.x = place.centre * COLUMN + MARGIN;
  }

  get middle(): number {
    return (this.top + this.bottom) / 2;
  }

  get right(): number {
    return this.x + (this.place.width * COLUMN) / 2;
  }
}

// From the lower edge of a box to the upper one of the next; through labels and passing points it goes straight.
function lineOf(from: Spot | undefined, to: Spot | undefined, edge: GraphEdge): string {
  if (from === undefined || to === undefined) return "";
  const half = (to.top - from.bottom) / 2;
  const curve = `C${from.x} ${from.bottom + half} ${to.x} ${to.top - half} ${to.x} ${to.top}`;
  const through = to.place.node === undefined ? ` L${to.x} ${to.bottom}` : "";
  const head = to.place.node === undefined ? "" : ' marker-end="url(#head)"';
  return `<path class="edge${edge.taken ? " taken" : ""}" d="M${from.x} ${from.bottom} ${curve}${through}"${head}/>`;
}

function lanesOf(layout: Layout<SvgEdge>, places: ReadonlyMap<string, Spot>): { lines: string[]; right: number } {
  const left = layout.columns * COLUMN + MARGIN;
  let right = 0;
  let labelBottom = 0;
  const lanes = layout.back
    .map((back) => ({ back, from: places.get(back.from) as Spot, to: places.get(back.to) as Spot }))
    .sort((a, b) => a.from.middle + a.to.middle - b.from.middle - b.to.middle);
  const lines = lanes.flatMap(({ back, from, to }, index) => {
    const x = left + index * LANE;
    const [start, end] = [from.middle + 8, to.middle - 8];
    const y = Math.max((start + end) / 2 + 4, labelBottom);
    labelBottom = y + LABEL_HEIGHT;
    const text = back.label ?? "";
    const textX = left + lanes.length * LANE;
    right = Math.max(right, textX + columnsOf(text) * COLUMN);
    const path = `M${from.right} ${start} C${x} ${start} ${x} ${start} ${x} ${(start + end) / 2} C${x} ${end} ${x} ${end} ${to.right} ${end}`;
    const taken = back.edge.taken ? " taken" : "";
    return [
      `<path class="edge back${taken}" d="${path}" marker-end="url(#head)"><title>${escaped(edgeLabel(back.edge))}</title></path>`,
      ...(text === "" ? [] : [`<text class="label lane" x="${textX}" y="${y}">${escaped(text)}</text>`]),
    ];
  });
  return { lines, right };
}

function labelOf({ place, x, middle }: Spot): string[] {
  return place.label === undefined
    ? []
    : [`<text class="label" x="${x}" y="${middle + 4}">${escaped(place.label)}</text>`];
}

function drawBox({ place, x, top }: Spot, boxes: ReadonlyMap<string, Box>): string[] {
  const box = place.node === undefined ? undefined : boxes.get(place.node);
  if (box === undefined) return [];
  const { node, lines } = box;
  const [name, detail] = lines;
  const width = place.width * COLUMN;
  const left = x - width / 2;
  const rect = (by: number, radius: number, less = by) =>
    `<rect class="box" x="${left + by}" y="${top + by}" width="${width - by - less}" height="${BOX_HEIGHT - by - less}" rx="${radius}"/>`;
  const tone = node.state === undefined ? "" : ` ${lookOf(node.state).tone}`;
  return [
    `<g class="${node.kind}${tone}"><title>${escaped([node.name, node.state ?? "", ...nodeDetail(node)].filter((part) => part !== "").join(" · "))}</title>`,
    // A node that is executed once an item has another box behind its own.
    ...(node.map === undefined ? [] : [rect(4, 2, -4)]),
    rect(0, node.kind === "agent" ? 10 : 2),
    ...(node.kind === "system" ? [rect(4, 2)] : []),
    ...(node.kind === "tool" ? [`<path class="box" d="M${left + 6} ${top} V${top + BOX_HEIGHT}"/>`] : []),
    `<text x="${x}" y="${top + (detail === "" ? 28 : 20)}">${escaped(name)}</text>`,
    ...(detail === "" ? [] : [`<text class="detail" x="${x}" y="${top + 36}">${escaped(detail)}</text>`]),
    "</g>",
  ];
}

const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

function escaped(text: string): string {
  return safeLine(text)
    .replace(/[\ufffe\uffff]/g, "\ufffd")
    .replace(/[&<>"]/g, (one) => ENTITIES[one] ?? one);
}
