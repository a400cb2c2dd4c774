// Places the nodes of a graph in topological layers, so that it can be drawn from top to bottom.
// Called by graph_drawing.ts and graph_svg.ts. Pure: equal input gives equal positions, so a live view does not jump.
// Edges that go back (loops) are left out of the layers; edges over several layers get a place in each, and so does the label of an edge.

import { columnsOf } from "./sanitize.ts";

/** A node to place. */
export interface LayoutNode {
  readonly name: string;
  /** Columns of its box. */
  readonly width: number;
}

/** An edge between nodes, by name. */
export interface LayoutEdge {
  readonly from: string;
  readonly to: string;
  /** Stands in a layer of its own, between its ends. */
  readonly label?: string;
  /** It is known to lead back; of the others, those that close a circle do. */
  readonly isBack?: boolean;
}

/** A place in a layer: a node's box, the label of an edge, or the passing point of a long edge. */
export interface Place {
  readonly key: string;
  /** Undefined for a label and for a passing point. */
  readonly node: string | undefined;
  /** Of the edge that passes here. */
  readonly label: string | undefined;
  readonly width: number;
  /** Column of its middle, from 0. */
  centre: number;
}

/** A line from a place to one in the layer below, and the edge that it is a part of. */
export interface Link<Edge extends LayoutEdge = LayoutEdge> {
  readonly from: string;
  readonly to: string;
  readonly edge: Edge;
}

/** Layers from the top, the links between neighbouring layers by place key, and the edges that lead back. */
export interface Layout<Edge extends LayoutEdge = LayoutEdge> {
  readonly layers: readonly (readonly Place[])[];
  readonly links: readonly Link<Edge>[];
  readonly back: readonly Edge[];
  readonly columns: number;
  /** False if edges over several layers go there directly, because there are too many of them to give each its places. */
  readonly isComplete: boolean;
}

const GAP = 3;
const SWEEPS = 6;
const PASSING_MAX = 4_000;

/** See the file header. Edges that name no node are ignored; of equal ones, one is placed. */
export function layOut<Edge extends LayoutEdge>(nodes: readonly LayoutNode[], edges: readonly Edge[]): Layout<Edge> {
  const names = new Set(nodes.map((node) => node.name));
  const known = uniqueEdges(edges.filter((edge) => names.has(edge.from) && names.has(edge.to)));
  const between = known.filter((edge) => edge.from !== edge.to && edge.isBack !== true);
  const forward = new Set(withoutLoops(nodes, between));
  const parts = between.filter((edge) => forward.has(edge)).map((edge) => ({ edge, key: labelKey(edge) }));
  const labelled = parts.filter(({ edge }) => edge.label !== undefined);
  const placed = [...nodes.map(({ name }) => name), ...labelled.map(({ key }) => key)];
  const steps = parts.flatMap(({ edge, key }): Link<Edge>[] =>
    edge.label === undefined
      ? [{ from: edge.from, to: edge.to, edge }]
      : [
          { from: edge.from, to: key, edge },
          { from: key, to: edge.to, edge },
        ],
  );
  const depth = depths(placed, steps);
  const layers: Place[][] = Array.from({ length: Math.max(0, ...depth.values()) + 1 }, () => []);
  const put = (key: string, place: Omit<Place, "key" | "centre">, layer = depth.get(key) ?? 0) =>
    layers[layer]?.push({ key, centre: 0, ...place });
  for (const { name, width } of nodes) put(name, { node: name, label: undefined, width });
  for (const { key, edge } of labelled)
    put(key, { node: undefined, label: edge.label, width: columnsOf(edge.label ?? "") });
  const links: Link<Edge>[] = [];
  let passing = 0;
  let isComplete = true;
  for (const { from, to, edge } of steps) {
    const first = (depth.get(from) ?? 0) + 1;
    const last = depth.get(to) ?? 0;
    passing += last - first;
    if (passing > PASSING_MAX) isComplete = false;
    let previous = from;
    for (let layer = first; layer < last && isComplete; layer += 1) {
      const key = `${from}\u0000${to}\u0000${layer}`;
      put(key, { node: undefined, label: undefined, width: 1 }, layer);
      links.push({ from: previous, to: key, edge });
      previous = key;
    }
    links.push({ from: previous, to, edge });
  }
  const around = neighboursOf(links);
  order(layers, around);
  position(layers, around);
  const right = Math.max(0, ...layers.flat().map((place) => place.centre + Math.ceil(place.width / 2)));
  return { layers, links, back: known.filter((edge) => !forward.has(edge)), columns: right + 1, isComplete };
}

function labelKey({ from, to, label }: LayoutEdge): string {
  return `${from}\u0000${to}\u0000${label ?? ""}`;
}

function uniqueEdges<Edge extends LayoutEdge>(edges: readonly Edge[]): Edge[] {
  return [...new Map(edges.map((edge) => [labelKey(edge), edge])).values()];
}

// Depth-first in declared order; an edge to a node that is still being visited closes a loop.
function withoutLoops<Edge extends LayoutEdge>(nodes: readonly LayoutNode[], edges: readonly Edge[]): Edge[] {
  const kept = new Set<Edge>();
  const outgoing = Map.groupBy(edges, (edge) => edge.from);
  const state = new Map<string, "open" | "done">();
  for (const { name } of nodes) {
    const stack: { name: string; rest: Edge[] }[] = [];
    const enter = (node: string) => {
      state.set(node, "open");
      stack.push({ name: node, rest: [...(outgoing.get(node) ?? [])] });
    };
    if (!state.has(name)) enter(name);
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const edge = top.rest.shift();
      if (edge === undefined) {
        state.set(top.name, "done");
        stack.pop();
      } else if (state.get(edge.to) !== "open") {
        kept.add(edge);
        if (!state.has(edge.to)) enter(edge.to);
      }
    }
  }
  return edges.filter((edge) => kept.has(edge));
}

// Longest path from an entry; the links have no loop.
function depths(keys: readonly string[], links: readonly Link[]): Map<string, number> {
  const depth = new Map(keys.map((key) => [key, 0]));
  const open = new Map(keys.map((key) => [key, 0]));
  for (const { to } of links) open.set(to, (open.get(to) ?? 0) + 1);
  const outgoing = Map.groupBy(links, (link) => link.from);
  const ready = keys.filter((key) => open.get(key) === 0);
  for (const from of ready) {
    for (const { to } of outgoing.get(from) ?? []) {
      depth.set(to, Math.max(depth.get(to) ?? 0, (depth.get(from) ?? 0) + 1));
      const left = (open.get(to) ?? 0) - 1;
      open.set(to, left);
      if (left === 0) ready.push(to);
    }
  }
  return depth;
}

interface Neighbours {
  readonly above: ReadonlyMap<string, readonly string[]>;
  readonly below: ReadonlyMap<string, readonly string[]>;
}

function neighboursOf(links: readonly Link[]): Neighbours {
  const above = new Map<string, string[]>();
  const below = new Map<string, string[]>();
  const add = (of: Map<string, string[]>, key: string, other: string) => {
    const others = of.get(key);
    if (others === undefined) of.set(key, [other]);
    else others.push(other);
  };
  for (const { from, to } of links) {
    add(above, to, from);
    add(below, from, to);
  }
  return { above, below };
}

// Sorts each layer by the mean rank of its neighbours, down and up in turn, which removes most crossings.
function order(layers: Place[][], around: Neighbours): void {
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const down = sweep % 2 === 0;
    const rank = new Map<string, number>();
    for (const layer of down ? layers : layers.toReversed()) {
      const wanted = new Map(
        layer.map((place, index) => [
          place.key,
          mean((down ? around.above : around.below).get(place.key) ?? [], rank) ?? index,
        ]),
      );
      layer.sort((a, b) => (wanted.get(a.key) ?? 0) - (wanted.get(b.key) ?? 0));
      layer.forEach((place, index) => {
        rank.set(place.key, index);
      });
    }
  }
}

// Pulls each place under the middle of its neighbours without letting boxes touch.
function position(layers: Place[][], around: Neighbours): void {
  for (const layer of layers) pack(layer, new Map());
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const down = sweep % 2 === 0;
    const centres = new Map(layers.flat().map((place) => [place.key, place.centre]));
    for (const layer of down ? layers : layers.toReversed()) {
      const wanted = new Map<string, number>();
      for (const place of layer) {
        const middle = mean((down ? around.above : around.below).get(place.key) ?? [], centres);
        if (middle !== undefined) wanted.set(place.key, middle);
      }
      pack(layer, wanted);
      for (const place of layer) centres.set(place.key, place.centre);
    }
  }
  const places = layers.flat();
  const left = Math.min(...places.map((place) => place.centre - Math.floor(place.width / 2)));
  for (const place of places) place.centre -= left;
}

function pack(layer: readonly Place[], wanted: ReadonlyMap<string, number>): void {
  const goals = layer.map((place) => wanted.get(place.key) ?? place.centre);
  let offset = 0;
  layer.forEach((place, index) => {
    const before = layer[index - 1];
    const room = before === undefined ? Number.NEGATIVE_INFINITY : before.centre + distance(before, place);
    place.centre = Math.max(Math.round(goals[index] ?? 0), room);
    offset += (goals[index] ?? 0) - place.centre;
  });
  const shift = layer.length === 0 ? 0 : Math.round(offset / layer.length);
  for (const place of layer) place.centre += shift;
}

function distance(left: Place, right: Place): number {
  return Math.ceil(left.width / 2) + Math.floor(right.width / 2) + GAP;
}

function mean(keys: readonly string[], values: ReadonlyMap<string, number>): number | undefined {
  const known = keys.map((key) => values.get(key)).filter((value) => value !== undefined);
  return known.length === 0 ? undefined : known.reduce((sum, value) => sum + value, 0) / known.length;
}
