// Draws a graph of nodes with box-drawing characters, in layers from top to bottom.
// Called by run_view.ts and graph.ts. Pure: nodes and edges in, lines out. Edges that lead back are not drawn.
// Returns nothing when the drawing would be wider or higher than the room; the caller then lists the nodes instead.

import { type Layout, type LayoutEdge, type Link, layOut, type Place } from "./graph_layout.ts";
import type { GraphNode, NodeKind } from "./graph_model.ts";
import { columnsOf, cutTo, safeLine } from "./sanitize.ts";
import { lookOf, type Paint, type Tone } from "./style.ts";

/** A node as it is drawn. */
export interface DrawnNode {
  readonly name: string;
  /** Text of its box: sign, name, state. */
  readonly label: string;
  readonly tone: Tone;
  /** Shape of its box. */
  readonly kind: NodeKind;
}

/** Room for a drawing. */
export interface Room {
  readonly columns: number;
  /** Rows at most; boxes shrink to one row each when their frames do not fit. */
  readonly rows: number;
}

const NAME_COLUMNS_MAX = 32;
// More than anybody reads, and each takes memory.
const CELLS_MAX = 2_000_000;
const UP = 1;
const DOWN = 2;
const LEFT = 4;
const RIGHT = 8;
// Indexed by the directions that a line leaves a cell in.
const LINES = " ╵╷│╴╯╮┤╶╰╭├─┴┬┼";

// Corners from the upper left one to the lower left one, then the horizontal and the vertical line.
const FRAMES: Readonly<Record<NodeKind, string>> = {
  agent: "╭╮╯╰─│",
  tool: "┌┐┘└─│",
  transform: "┌┐┘└╌╎",
  system: "╔╗╝╚═║",
};

interface Cell {
  text: string;
  tone: Tone;
}

/** A node as it is drawn, and what is said of it beside its sign, name and iteration. */
export function drawnNode({ name, kind, state, iteration }: GraphNode, words: string): DrawnNode {
  const look = state === undefined ? { sign: "", tone: "plain" as const } : lookOf(state);
  const round = iteration > 0 ? ` #${iteration}` : "";
  const head = `${look.sign} ${cutTo(safeLine(name), NAME_COLUMNS_MAX)}${round}`.trimStart();
  return { name, kind, tone: look.tone, label: words === "" ? head : `${head}  ${safeLine(words)}` };
}

/** The nodes as lines, each with the names of those before it; for where the drawing does not fit. */
export function listNodes(
  nodes: readonly DrawnNode[],
  edges: readonly LayoutEdge[],
  { paint, columns }: Pick<Room, "columns"> & { readonly paint: Paint },
): string[] {
  const incoming = Map.groupBy(edges, (edge) => edge.to);
  return nodes.map((node) => {
    const from = new Set((incoming.get(node.name) ?? []).map((edge) => edge.from));
    const after = from.size === 0 ? "" : `  ← ${safeLine([...from].join(", "))}`;
    return paint(node.tone, cutTo(`  ${node.label}${after}`, columns));
  });
}

/** See the file header. */
export function drawGraph(
  nodes: readonly DrawnNode[],
  edges: readonly LayoutEdge[],
  room: Room,
  paint: Paint,
): string[] | undefined {
  const layout = layOut(
    nodes.map((node) => ({ name: node.name, width: columnsOf(node.label) + 4 })),
    edges,
  );
  if (layout.columns > room.columns || !layout.isComplete) return undefined;
  const outgoing = Map.groupBy(layout.links, (link) => link.from);
  const channels = layout.layers.slice(1).map((_, index) => planChannel(layout, outgoing, index));
  const linesBetween = channels.reduce((sum, channel) => sum + channel.height, 0);
  const boxed = layout.layers.filter((layer) => layer.some((place) => place.node !== undefined)).length;
  const framed = boxed * 2 + layout.layers.length + linesBetween <= room.rows;
  if (!framed && layout.layers.length + linesBetween > room.rows) return undefined;
  if ((boxed * 2 + layout.layers.length + linesBetween) * layout.columns > CELLS_MAX) return undefined;

  const byName = new Map(nodes.map((node) => [node.name, node]));
  const rows: Cell[][] = [];
  layout.layers.forEach((layer, index) => {
    rows.push(...drawLayer(layer, byName, layout.columns, framed));
    const channel = channels[index];
    if (channel !== undefined) rows.push(...drawChannel(channel, layout.columns));
  });
  return rows.map((row) => paintRow(row, paint));
}

function drawLayer(
  layer: readonly Place[],
  nodes: ReadonlyMap<string, DrawnNode>,
  columns: number,
  framed: boolean,
): Cell[][] {
  const tall = framed && layer.some((place) => place.node !== undefined);
  const rows = Array.from({ length: tall ? 3 : 1 }, () => blankRow(columns));
  const middle = tall ? 1 : 0;
  for (const place of layer) {
    const left = place.centre - Math.floor(place.width / 2);
    const node = place.node === undefined ? undefined : nodes.get(place.node);
    if (node === undefined) {
      for (const row of rows) put(row, place.centre, "│", "dim");
      if (place.label !== undefined) put(rows[middle], left, place.label, "plain");
      continue;
    }
    const [upperLeft, upperRight, lowerRight, lowerLeft, line = "", side] = FRAMES[node.kind];
    const edge = line.repeat(place.width - 2);
    put(rows[middle], left, tall ? `${side} ${node.label} ${side}` : `[ ${node.label} ]`, node.tone);
    if (tall) put(rows[0], left, `${upperLeft}${edge}${upperRight}`, node.tone);
    if (tall) put(rows[2], left, `${lowerLeft}${edge}${lowerRight}`, node.tone);
  }
  return rows;
}

interface Bus {
  readonly from: number;
  readonly to: readonly number[];
  track: number;
}

interface Channel {
  readonly buses: readonly Bus[];
  readonly height: number;
  /** Columns at which an arrow enters a box. */
  readonly arrows: readonly number[];
}

// One horizontal track for each source whose edges bend, so that lines of different sources only cross.
function planChannel(layout: Layout, outgoing: ReadonlyMap<string, readonly Link[]>, upper: number): Channel {
  const above = layout.layers[upper] ?? [];
  const below = new Map((layout.layers[upper + 1] ?? []).map((place) => [place.key, place]));
  const buses: Bus[] = [];
  const arrows = new Set<number>();
  for (const place of above) {
    const targets = (outgoing.get(place.key) ?? []).map((link) => below.get(link.to));
    const centres = targets.filter((target) => target !== undefined).map((target) => target.centre);
    for (const target of targets) if (target?.node !== undefined) arrows.add(target.centre);
    if (centres.length > 0) buses.push({ from: place.centre, to: centres, track: 0 });
  }
  const bent = buses.filter((bus) => bus.to.some((centre) => centre !== bus.from));
  // A source above another one's target takes the higher track, else the two lines would run into one.
  bent.sort((a, b) => Number(a.to.includes(b.from)) - Number(b.to.includes(a.from)));
  bent.forEach((bus, index) => {
    const before = bent.slice(0, index).filter((other) => overlaps(bus, other));
    bus.track = Math.max(0, ...before.map((other) => other.track + 1));
  });
  const tracks = Math.max(0, ...bent.map((bus) => bus.track + 1));
  return { buses, height: tracks + 1, arrows: [...arrows] };
}

// Joins of the same target may share a track: there the lines are meant to meet.
function overlaps(a: Bus, b: Bus): boolean {
  const [leftA, rightA] = extent(a);
  const [leftB, rightB] = extent(b);
  const sameTarget = a.to.length === 1 && b.to.length === 1 && a.to[0] === b.to[0];
  return !sameTarget && leftA <= rightB && leftB <= rightA;
}

function extent(bus: Bus): [number, number] {
  return [Math.min(bus.from, ...bus.to), Math.max(bus.from, ...bus.to)];
}

function drawChannel(channel: Channel, columns: number): Cell[][] {
  const bits = Array.from({ length: channel.height }, () => new Array<number>(columns + 1).fill(0));
  const mark = (row: number, column: number, directions: number) => {
    const line = bits[row];
    if (line !== undefined) line[column] = (line[column] ?? 0) | directions;
  };
  const vertical = (column: number, fromRow: number, toRow: number) => {
    for (let row = fromRow; row <= toRow; row += 1) mark(row, column, UP | DOWN);
  };
  for (const bus of channel.buses) {
    const bent = bus.to.some((centre) => centre !== bus.from);
    if (!bent) {
      vertical(bus.from, 0, channel.height - 1);
      continue;
    }
    const [left, right] = extent(bus);
    vertical(bus.from, 0, bus.track - 1);
    mark(bus.track, bus.from, UP);
    for (let column = left; column < right; column += 1) {
      mark(bus.track, column, RIGHT);
      mark(bus.track, column + 1, LEFT);
    }
    for (const centre of bus.to) {
      mark(bus.track, centre, DOWN);
      vertical(centre, bus.track + 1, channel.height - 1);
    }
  }
  const rows = bits.map((line) => line.map((directions): Cell => ({ text: LINES[directions] ?? " ", tone: "dim" })));
  for (const column of channel.arrows) put(rows.at(-1), column, "▼", "dim");
  return rows;
}

function blankRow(columns: number): Cell[] {
  return Array.from({ length: columns + 1 }, () => ({ text: " ", tone: "plain" as Tone }));
}

function put(row: Cell[] | undefined, column: number, text: string, tone: Tone): void {
  let at = column;
  for (const character of text) {
    const cell = row?.[at];
    if (cell !== undefined) {
      cell.text = character;
      cell.tone = tone;
    }
    // The second column of a wide character is taken by the first.
    if (columnsOf(character) === 2 && row?.[at + 1] !== undefined) (row[at + 1] as Cell).text = "";
    at += Math.max(1, columnsOf(character));
  }
}

function paintRow(row: readonly Cell[], paint: Paint): string {
  let line = "";
  for (let start = 0; start < row.length; ) {
    const tone = (row[start] as Cell).tone;
    let end = start;
    let text = "";
    while (end < row.length && (row[end] as Cell).tone === tone) {
      text += (row[end] as Cell).text;
      end += 1;
    }
    line += end === row.length ? paint(tone, text.trimEnd()) : paint(tone, text);
    start = end;
  }
  return line.replace(/ +$/, "");
}
