// Where a graph leads back: the order of its nodes, what a loop edge begins anew, and which loop a node is in.
// Called by plan.ts and by manifests' graph checks through their own shape; pure functions of edges.

/** An edge, as far as order is concerned. */
export interface OrderedEdge {
  readonly from: string;
  readonly to: string;
  /** Present: it leads back. */
  readonly loop?: unknown;
}

/** Names in an order in which no forward edge leads back; file order where edges leave it open. Undefined: there is a cycle. */
export function forwardOrder(names: readonly string[], edges: readonly OrderedEdge[]): string[] | undefined {
  const forward = edges.filter((edge) => edge.loop === undefined);
  const outgoing = Map.groupBy(forward, (edge) => edge.from);
  const waiting = new Map(names.map((name) => [name, 0]));
  for (const { to } of forward) waiting.set(to, (waiting.get(to) ?? 0) + 1);
  const order = names.filter((name) => waiting.get(name) === 0);
  for (const name of order) {
    for (const { to } of outgoing.get(name) ?? []) {
      const left = (waiting.get(to) ?? 0) - 1;
      waiting.set(to, left);
      if (left === 0) order.push(to);
    }
  }
  return order.length === names.length ? order : undefined;
}

/** A node and everything that forward edges lead to from there. */
export function reachedFrom(start: string, edges: readonly OrderedEdge[]): ReadonlySet<string> {
  const outgoing = Map.groupBy(
    edges.filter((edge) => edge.loop === undefined),
    (edge) => edge.from,
  );
  const reached = new Set([start]);
  for (const name of reached) for (const { to } of outgoing.get(name) ?? []) reached.add(to);
  return reached;
}

/**
 * Target of the innermost loop of each node that is in one: what lies between the target and a source of its loop edges, and in the
 * same system.
 */
export function innermostLoops(
  order: readonly string[],
  edges: readonly OrderedEdge[],
  scopeOf: (name: string) => string | undefined,
): ReadonlyMap<string, string> {
  const backward = edges.map(({ from, to, loop }) => ({ from: to, to: from, loop }));
  const loops = new Map<string, string>();
  const targets = new Set(edges.flatMap((edge) => (edge.loop === undefined ? [] : [edge.to])));
  // An inner loop begins after the one around it, so what is set later is further inside.
  for (const target of order.filter((name) => targets.has(name))) {
    const after = reachedFrom(target, edges);
    for (const edge of edges) {
      if (edge.loop === undefined || edge.to !== target) continue;
      for (const name of reachedFrom(edge.from, backward)) {
        if (after.has(name) && scopeOf(name) === scopeOf(target)) loops.set(name, target);
      }
    }
  }
  return loops;
}
