// What the edges of a system say by themselves: unknown ends, cycles, unreachable nodes, and which nodes have certainly
// succeeded when a node runs. Called by graph_typing.ts.
// Pure; positions come from the document, meaning from the spec.

import { didYouMean, type Findings } from "./diagnostics.ts";
import type { AgentSystemSpec, EdgeSpec } from "./specs.ts";
import { child, type Tree } from "./tree.ts";

/** A name for the moment after all nodes: the system's output is evaluated then. */
export const END = "";

/** What graph checks need to know about the order of nodes. */
export interface GraphShape {
  /** Nodes before a node (or END): their edges lead to it. */
  ancestors(node: string): ReadonlySet<string>;
  /** Nodes that have certainly succeeded when a node (or END) is evaluated. */
  certain(node: string): ReadonlySet<string>;
}

/** Checks the shape and returns it; undefined if it has an error that makes order meaningless. */
export function checkShape(findings: Findings, spec: AgentSystemSpec, tree: Tree): GraphShape | undefined {
  const before = findings.errors;
  const names = new Set(spec.nodes.map((node) => node.name));
  checkEnds(findings, names, child(child(tree, "spec"), "edges"));
  checkGroups(findings, child(child(tree, "spec"), "edges"));
  if (findings.errors > before) return undefined;
  const incoming = groupBy(spec.edges, (edge) => edge.to);
  const outgoing = groupBy(spec.edges, (edge) => edge.from);
  const positionOf = (name: string) => {
    const index = spec.nodes.findIndex((node) => node.name === name);
    const nodes = child(child(tree, "spec"), "nodes");
    const node = nodes?.kind === "list" ? nodes.items[index] : undefined;
    return { at: (child(node, "name") ?? node ?? tree).at, path: `spec.nodes[${index}]` };
  };
  const cycles = findCycles([...names], outgoing);
  for (const cycle of cycles) {
    const { at, path } = positionOf(cycle[0] as string);
    const message = `the nodes form a cycle: ${[...cycle, cycle[0]].join(" → ")}`;
    findings.error("E-CYCLE", at, path, message, "remove an edge; loops are not supported by this version");
  }
  if (cycles.length > 0) {
    reportUnreachable(findings, names, incoming, outgoing, positionOf);
    return undefined;
  }
  return new Shape(spec, incoming, outgoing);
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
    for (const source of flag?.kind === "scalar" && flag.value === true ? from : []) {
      if (otherwise.has(source)) {
        const message = `node "${source}" already has an otherwise edge`;
        findings.error(
          "E-EDGE",
          (flag as Tree).at,
          `spec.edges[${index}].otherwise`,
          message,
          "list all targets in its `to`",
        );
      }
      otherwise.add(source);
    }
    const when = textsOf(child(edge, "when"))[0] ?? "";
    for (const source of from) {
      for (const target of textsOf(child(edge, "to"))) {
        const key = JSON.stringify([source, target, when]);
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

function groupBy(
  edges: readonly EdgeSpec[],
  key: (edge: EdgeSpec) => string,
): ReadonlyMap<string, readonly EdgeSpec[]> {
  return Map.groupBy(edges, key);
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
  positionOf: (name: string) => { at: { line: number; column: number }; path: string },
): void {
  const reached = new Set([...names].filter((name) => !incoming.has(name)));
  for (const name of reached) for (const edge of outgoing.get(name) ?? []) reached.add(edge.to);
  for (const name of names) {
    if (reached.has(name)) continue;
    const { at, path } = positionOf(name);
    const message = `node "${name}" can never run: no entry node leads to it`;
    findings.error("E-UNREACHABLE", at, path, message, "an entry node is one without incoming edges");
  }
}

class Shape implements GraphShape {
  readonly #spec: AgentSystemSpec;
  readonly #incoming: ReadonlyMap<string, readonly EdgeSpec[]>;
  readonly #outgoing: ReadonlyMap<string, readonly EdgeSpec[]>;
  readonly #ancestors = new Map<string, ReadonlySet<string>>();
  readonly #certain = new Map<string, ReadonlySet<string>>();

  constructor(
    spec: AgentSystemSpec,
    incoming: ReadonlyMap<string, readonly EdgeSpec[]>,
    outgoing: ReadonlyMap<string, readonly EdgeSpec[]>,
  ) {
    this.#spec = spec;
    this.#incoming = incoming;
    this.#outgoing = outgoing;
  }

  ancestors(node: string): ReadonlySet<string> {
    if (node === END) return new Set(this.#spec.nodes.map(({ name }) => name));
    const known = this.#ancestors.get(node);
    if (known !== undefined) return known;
    const found = new Set((this.#incoming.get(node) ?? []).map((edge) => edge.from));
    for (const name of found) for (const edge of this.#incoming.get(name) ?? []) found.add(edge.from);
    this.#ancestors.set(node, found);
    return found;
  }

  // A node runs when all incoming edges are resolved and one is taken, so what every taken edge proves is certain
  // (dominators). More is certain because a join waits for all: a node that has an edge without condition from a certain
  // node is taken, and if it stands before this one, it has ended before this one runs; had it failed, the run would
  // have stopped or waited.
  certain(node: string): ReadonlySet<string> {
    const known = this.#certain.get(node);
    if (known !== undefined) return known;
    const ancestors = this.ancestors(node);
    const sources = node === END ? [] : (this.#incoming.get(node) ?? []).map((edge) => edge.from);
    const proofs = sources.map((source) => new Set(this.certain(source)).add(source));
    const certain = new Set([...(proofs[0] ?? [])].filter((name) => proofs.every((proof) => proof.has(name))));
    for (const { name } of this.#spec.nodes) if (!this.#incoming.has(name) && ancestors.has(name)) certain.add(name);
    // The set grows while it is walked: what was added is walked too.
    for (const name of certain) {
      for (const edge of this.#outgoing.get(name) ?? []) {
        if (edge.when === undefined && !edge.otherwise && ancestors.has(edge.to)) certain.add(edge.to);
      }
    }
    this.#certain.set(node, certain);
    return certain;
  }
}
