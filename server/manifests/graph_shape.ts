// What the edges of a system say by themselves: unknown ends, groups that contradict themselves, cycles without a bound, loops that
// lead forward, joins that cannot be satisfied, unreachable nodes. Called by graph_typing.ts.
// Pure; positions come from the document, meaning from the spec.

import { didYouMean, type Findings, type Position } from "./diagnostics.ts";
import { type GraphShape, shapeOf } from "./graph_order.ts";
import type { AgentSystemSpec, EdgeSpec } from "./specs.ts";
import { child, type Tree } from "./tree.ts";

/** Checks the shape and returns it; undefined if it has an error that makes order meaningless. */
export function checkShape(findings: Findings, spec: AgentSystemSpec, tree: Tree): GraphShape | undefined {
  const before = findings.errors;
  const names = new Set(spec.nodes.map((node) => node.name));
  const edges = child(child(tree, "spec"), "edges");
  checkEnds(findings, names, edges);
  checkGroups(findings, edges);
  if (findings.errors > before) return undefined;
  const forward = spec.edges.filter((edge) => edge.loop === undefined);
  const incoming = Map.groupBy(forward, (edge) => edge.to);
  const outgoing = Map.groupBy(forward, (edge) => edge.from);
  const places = placesOf(spec, tree);
  const cycles = findCycles([...names], outgoing);
  for (const cycle of cycles) {
    const { at, path } = places(cycle[0] as string);
    const message = `the nodes form a cycle without a bound: ${[...cycle, cycle[0]].join(" → ")}`;
    findings.error("E-CYCLE", at, path, message, "give the edge that leads back loop: {max: …}");
  }
  if (cycles.length > 0) {
    reportUnreachable(findings, names, incoming, outgoing, places);
    return undefined;
  }
  const shape = shapeOf(spec, incoming, outgoing);
  checkLoops(findings, shape, edges);
  checkJoins(findings, spec, incoming, places);
  return findings.errors > before ? undefined : shape;
}

type Places = (name: string, key?: string) => { at: Position; path: string };

function placesOf(spec: AgentSystemSpec, tree: Tree): Places {
  return (name, key = "name") => {
    const index = spec.nodes.findIndex((node) => node.name === name);
    const nodes = child(child(tree, "spec"), "nodes");
    const node = nodes?.kind === "list" ? nodes.items[index] : undefined;
    const path = `spec.nodes[${index}]${key === "name" ? "" : `.${key}`}`;
    return { at: (child(node, key) ?? node ?? tree).at, path };
  };
}

function checkLoops(findings: Findings, shape: GraphShape, edges: Tree | undefined): void {
  for (const [index, edge] of (edges?.kind === "list" ? edges.items : []).entries()) {
    const loop = child(edge, "loop");
    if (loop === undefined) continue;
    for (const from of textsOf(child(edge, "from"))) {
      for (const to of textsOf(child(edge, "to"))) {
        if (from === to || shape.ancestors(from).has(to)) continue;
        const message = `the edge from "${from}" to "${to}" does not lead back: "${to}" does not run before "${from}"`;
        findings.error("E-LOOP", loop.at, `spec.edges[${index}].loop`, message, "remove loop");
      }
    }
  }
}

function checkJoins(
  findings: Findings,
  spec: AgentSystemSpec,
  incoming: ReadonlyMap<string, readonly EdgeSpec[]>,
  places: Places,
): void {
  for (const { name, join } of spec.nodes) {
    const wanted = join === "all" ? 0 : join === "any" ? 1 : join.quorum;
    const count = incoming.get(name)?.length ?? 0;
    if (wanted <= count) continue;
    const { at, path } = places(name, "join");
    const message = `the join waits for ${wanted} edges, but ${count} lead to "${name}"`;
    findings.error("E-JOIN", at, path, message, count === 0 ? "remove join" : `at most {quorum: ${count}}`);
  }
}

function checkEnds(findings: Findings, names: ReadonlySet<string>, edges: Tree | undefined): void {
  for (const [index, edge] of (edges?.kind === "list" ? edges.items : []).entries()) {
    for (const key of ["from", "to"]) {
      const end = child(edge, key);
      const items = end?.kind === "list" ? end.items : end === undefined ? [] : [end];
      for (const item of items) {
        if (item.kind !== "scalar" || typeof item.value !== "string" || names.has(item.value)) continue;
        findings.error(
          "E-EDGE",
          item.at,
          `spec.edges[${index}].${key}`,
          `there is no node "${item.value}"`,
          didYouMean(item.value, names),
        );
      }
    }
  }
}

function checkGroups(findings: Findings, edges: Tree | undefined): void {
  const otherwise = new Set<string>();
  const seen = new Set<string>();
  for (const [index, edge] of (edges?.kind === "list" ? edges.items : []).entries()) {
    const from = textsOf(child(edge, "from"));
    const flag = child(edge, "otherwise");
    const outcome = textsOf(child(edge, "outcome"))[0] ?? "succeeded";
    for (const source of flag?.kind === "scalar" && flag.value === true ? from : []) {
      const group = `${source} ${outcome}`;
      if (otherwise.has(group)) {
        const message = `node "${source}" already has an otherwise edge for outcome ${outcome}`;
        findings.error(
          "E-EDGE",
          (flag as Tree).at,
          `spec.edges[${index}].otherwise`,
          message,
          "list all targets in its `to`",
        );
      }
      otherwise.add(group);
    }
    const when = textsOf(child(edge, "when"))[0] ?? "";
    for (const source of from) {
      for (const target of textsOf(child(edge, "to"))) {
        const key = JSON.stringify([source, target, when, outcome]);
        if (seen.has(key))
          findings.error(
            "E-DUPLICATE",
            edge.at,
            `spec.edges[${index}]`,
            `the edge from "${source}" to "${target}" is given twice`,
            "keep one",
          );
        seen.add(key);
      }
    }
  }
}

function textsOf(tree: Tree | undefined): string[] {
  const items = tree?.kind === "list" ? tree.items : tree === undefined ? [] : [tree];
  return items.flatMap((item) => (item.kind === "scalar" && typeof item.value === "string" ? [item.value] : []));
}

// Depth-first search with an explicit stack; each cycle is reported once, from the node where it was met.
function findCycles(names: readonly string[], outgoing: ReadonlyMap<string, readonly EdgeSpec[]>): string[][] {
  const done = new Set<string>();
  const cycles: string[][] = [];
  for (const start of names) {
    if (done.has(start)) continue;
    const path: string[] = [start];
    const pending = [[...(outgoing.get(start) ?? [])]];
    while (path.length > 0) {
      const edge = pending.at(-1)?.shift();
      if (edge === undefined) {
        done.add(path.pop() as string);
        pending.pop();
        continue;
      }
      const from = path.indexOf(edge.to);
      if (from >= 0) cycles.push(path.slice(from));
      else if (!done.has(edge.to)) {
        path.push(edge.to);
        pending.push([...(outgoing.get(edge.to) ?? [])]);
      }
    }
  }
  return cycles;
}

function reportUnreachable(
  findings: Findings,
  names: ReadonlySet<string>,
  incoming: ReadonlyMap<string, readonly EdgeSpec[]>,
  outgoing: ReadonlyMap<string, readonly EdgeSpec[]>,
  places: Places,
): void {
  const reached = new Set([...names].filter((name) => !incoming.has(name)));
  for (const name of reached) for (const edge of outgoing.get(name) ?? []) reached.add(edge.to);
  for (const name of names) {
    if (reached.has(name)) continue;
    const { at, path } = places(name);
    const message = `node "${name}" can never run: no entry node leads to it`;
    findings.error("E-UNREACHABLE", at, path, message, "an entry node is one without incoming edges");
  }
}
