// Places the nodes of a graph in topological layers, so that it can be drawn from top to bottom.
// Called by graph_drawing.ts. Pure: equal input gives equal positions, so a live view does not jump.
// Edges that go back (loops) are left out of the layers; edges over several layers get a place in each.

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
}

/** A place in a layer: a node's box, or the passing point of a long edge. */
export interface Place {
  readonly key: string;
  /** Undefined for a passing point. */
  readonly node: string | undefined;
  readonly width: number;
  /** Column of its middle, from 0. */
  centre: number;
}

/** Layers from the top, and the links between neighbouring layers by place key. */
export interface Layout {
  readonly layers: readonly (readonly Place[])[];
  readonly links: readonly LayoutEdge[];
  readonly columns: number;
}

const GAP = 3;
const SWEEPS = 6;

/** See the file header. Edges that name no node are ignored. */
export function layOut(nodes: readonly LayoutNode[], edges: readonly LayoutEdge[]): Layout {
  const names = new Set(nodes.map((node) => node.name));
  const forward = withoutLoops(
    nodes,
    uniqueEdges(edges).filter((edge) => edge.from !== edge.to && names.has(edge.from) && names.has(edge.to)),
  );
  const depth = depths(nodes, forward);
  const layers: Place[][] = Array.from({ length: Math.max(0, ...depth.values()) + 1 }, () => []);
  for (const { name, width } of nodes) layers[depth.get(name) ?? 0]?.push({ key: name, node: name, width, centre: 0 });
  const links: LayoutEdge[] = [];
  for (const { from, to } of forward) {
    let previous = from;
    for (let layer = (depth.get(from) ?? 0) + 1; layer < (depth.get(to) ?? 0); layer += 1) {
      const key = `${from}\u0000${to}\u0000${layer}`;
      layers[layer]?.push({ key, node: undefined, width: 1, centre: 0 });
      links.push({ from: previous, to: key });
      previous = key;
    }
    links.push({ from: previous, to });
  }
  order(layers, links);
  position(layers, links);
  const right = Math.max(0, ...layers.flat().map((place) => place.centre + Math.ceil(place.width / 2)));
  return { layers, links, columns: right + 1 };
}

function uniqueEdges(edges: readonly LayoutEdge[]): LayoutEdge[] {
  return [...new Map(edges.map((edge) => [`${edge.from}\u0000${edge.to}`, edge])).values()];
}

// Depth-first in declared order; an edge to a node that is still being visited closes a loop.
function withoutLoops(nodes: readonly LayoutNode[], edges: readonly LayoutEdge[]): LayoutEdge[] {
  const kept = new Set<LayoutEdge>();
  const state = new Map<string, "open" | "done">();
  for (const { name } of nodes) {
    const stack: { name: string; rest: LayoutEdge[] }[] = [];
    const enter = (node: string) => {
      state.set(node, "open");
      stack.push({ name: node, rest: edges.filter((edge) => edge.from === node) });
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

// Longest path from an entry; the edges have no loop.
function depths(nodes: readonly LayoutNode[], edges: readonly LayoutEdge[]): Map<string, number> {
  const depth = new Map(nodes.map((node) => [node.name, 0]));
  for (let changed = true; changed; ) {
    changed = false;
    for (const { from, to } of edges) {
      const least = (depth.get(from) ?? 0) + 1;
      if ((depth.get(to) ?? 0) < least) {
        depth.set(to, least);
        changed = true;
      }
    }
  }
  return depth;
}

// Sorts each layer by the mean rank of its neighbours, down and up in turn, which removes most crossings.
function order(layers: Place[][], links: readonly LayoutEdge[]): void {
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const down = sweep % 2 === 0;
    const rank = new Map<string, number>();
    for (const layer of down ? layers : layers.toReversed()) {
      const wanted = new Map(
        layer.map((place, index) => [place.key, mean(neighbours(place.key, links, down), rank) ?? index]),
      );
      layer.sort((a, b) => (wanted.get(a.key) ?? 0) - (wanted.get(b.key) ?? 0));
      layer.forEach((place, index) => {
        rank.set(place.key, index);
      });
    }
  }
}

// Pulls each place under the middle of its neighbours without letting boxes touch.
function position(layers: Place[][], links: readonly LayoutEdge[]): void {
  for (const layer of layers) pack(layer, new Map());
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const down = sweep % 2 === 0;
    const centres = new Map(layers.flat().map((place) => [place.key, place.centre]));
    for (const layer of down ? layers : layers.toReversed()) {
      const wanted = new Map<string, number>();
      for (const place of layer) {
        const middle = mean(neighbours(place.key, links, down), centres);
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

function neighbours(key: string, links: readonly LayoutEdge[], above: boolean): string[] {
  return above
    ? links.filter((link) => link.to === key).map((link) => link.from)
    : links.filter((link) => link.from === key).map((link) => link.to);
}

function mean(keys: readonly string[], values: ReadonlyMap<string, number>): number | undefined {
  const known = keys.map((key) => values.get(key)).filter((value) => value !== undefined);
  return known.length === 0 ? undefined : known.reduce((sum, value) => sum + value, 0) / known.length;
}
