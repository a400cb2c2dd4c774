// Which nodes stand before a node, and which have certainly succeeded when it runs. Called by graph_shape.ts, read by reads.ts.
// Pure. Loop edges are left out: what they begin anew finds everything before it as it was.

import type { AgentSystemSpec, EdgeSpec, NodeSpec } from "./specs.ts";

/** A name for the moment after all nodes: the system's output is evaluated then. */
export const END = "";

/** What graph checks need to know about the order of nodes. */
export interface GraphShape {
  /** Nodes before a node (or END): their edges lead to it. */
  ancestors(node: string): ReadonlySet<string>;
  /** Nodes that have certainly succeeded when a node (or END) is evaluated. */
  certain(node: string): ReadonlySet<string>;
}

type Edges = ReadonlyMap<string, readonly EdgeSpec[]>;

/** The shape of a graph; edges are those that lead forward, by target and by source. */
export function shapeOf(spec: AgentSystemSpec, incoming: Edges, outgoing: Edges): GraphShape {
  return new Shape(spec, incoming, outgoing);
}

class Shape implements GraphShape {
  readonly #nodes: ReadonlyMap<string, NodeSpec>;
  readonly #incoming: Edges;
  readonly #outgoing: Edges;
  readonly #caught: ReadonlySet<string>;
  readonly #ancestors = new Map<string, ReadonlySet<string>>();
  readonly #certain = new Map<string, ReadonlySet<string>>();
  readonly #without = new Map<string, ReadonlySet<string>>();

  constructor(spec: AgentSystemSpec, incoming: Edges, outgoing: Edges) {
    this.#nodes = new Map(spec.nodes.map((node) => [node.name, node]));
    this.#incoming = incoming;
    this.#outgoing = outgoing;
    this.#caught = new Set(spec.edges.flatMap((edge) => (edge.outcome === "succeeded" ? [] : [edge.from])));
  }

  ancestors(node: string): ReadonlySet<string> {
    if (node === END) return new Set(this.#nodes.keys());
    const known = this.#ancestors.get(node);
    if (known !== undefined) return known;
    const found = new Set((this.#incoming.get(node) ?? []).map((edge) => edge.from));
    for (const name of found) for (const edge of this.#incoming.get(name) ?? []) found.add(edge.from);
    this.#ancestors.set(node, found);
    return found;
  }

  // A node runs when one of its incoming edges is taken at least, so what every edge proves is certain (dominators); an edge for an
  // error proves that its source ended, not that it succeeded. A run that succeeds has reached one of the nodes that lead nowhere:
  // of the edges of any other, one is taken, or the run fails with NoRoute.
  certain(node: string): ReadonlySet<string> {
    const known = this.#certain.get(node);
    if (known !== undefined) return known;
    const edges = node === END ? this.#sinks() : (this.#incoming.get(node) ?? []);
    const proofs = edges.map(({ from, outcome }) => {
      const proof = new Set(this.certain(from));
      return outcome === "succeeded" ? proof.add(from) : proof;
    });
    const certain = new Set([...(proofs[0] ?? [])].filter((name) => proofs.every((proof) => proof.has(name))));
    this.#addWaitedFor(node, certain);
    this.#certain.set(node, certain);
    return certain;
  }

  #sinks(): Pick<EdgeSpec, "from" | "outcome">[] {
    const leadsNowhere = (name: string) => !this.#outgoing.get(name)?.some((edge) => edge.outcome === "succeeded");
    return [...this.#nodes.keys()].filter(leadsNowhere).map((from) => ({ from, outcome: "succeeded" }));
  }

  // More is certain where joins wait for all: a node that is sure to be taken, and that stands before this one, has ended before this
  // one runs; had it failed without an edge that catches it, the run would have stopped or waited. What a join may leave behind is
  // never sure.
  #addWaitedFor(node: string, certain: Set<string>): void {
    const ancestors = this.ancestors(node);
    const waitsForAll = [node, ...ancestors].every((name) => (this.#nodes.get(name)?.join ?? "all") === "all");
    if (node !== END && !waitsForAll) return;
    const sure = (name: string) => ancestors.has(name) && !this.#caught.has(name) && !this.#maybeLeftBehind(name);
    for (const name of this.#nodes.keys()) if (!this.#incoming.has(name) && sure(name)) certain.add(name);
    // The set grows while it is walked: what was added is walked too.
    for (const name of certain) {
      const source = this.#nodes.get(name);
      if (source?.route === "first") continue;
      for (const edge of this.#outgoing.get(name) ?? []) {
        const { when, otherwise, outcome, to } = edge;
        const join = this.#nodes.get(to)?.join;
        const one = join === "all" || join === "any";
        if (when === undefined && !otherwise && outcome === "succeeded" && one && sure(to)) certain.add(to);
      }
    }
  }

  // A join that does not wait for all may go on while the node still runs: then it ends without effect. Not if every way to the
  // join leads through the node.
  #maybeLeftBehind(name: string): boolean {
    for (const node of this.#nodes.values()) {
      if (node.join === "all" || !this.ancestors(node.name).has(name)) continue;
      if (this.#reachedWithout(name).has(node.name)) return true;
    }
    return false;
  }

  #reachedWithout(name: string): ReadonlySet<string> {
    const known = this.#without.get(name);
    if (known !== undefined) return known;
    const reached = new Set([...this.#nodes.keys()].filter((entry) => !this.#incoming.has(entry) && entry !== name));
    for (const node of reached) {
      for (const { to } of this.#outgoing.get(node) ?? []) if (to !== name) reached.add(to);
    }
    this.#without.set(name, reached);
    return reached;
  }
}
