// Puts the systems that a system contains into its graph: their nodes as NODE/INNER, a transform before them that takes the input, and one
// behind them, called like the node, that makes the output. Called by resolve.ts at Invoke. Pure.
// What an inner expression calls `input` and `nodes` stays what its own system says: `scope` tells.

import { DomainError } from "../../kit/errors.ts";
import type { StoredManifest } from "./resolve.ts";
import type { AgentSystemSpec, EdgeSpec, NodeSpec } from "./specs.ts";

/** How the parts of a graph are found. */
export interface InlinePorts {
  /** The system that a node names. */
  readonly system: (from: StoredManifest, name: string) => StoredManifest;
  /** The name in the bundle of what executes a node; undefined for a transform. */
  readonly agent: (from: StoredManifest, node: NodeSpec) => string | undefined;
}

/** A graph without systems in it, and those that were put into it. */
export interface InlinedGraph {
  readonly nodes: readonly NodeSpec[];
  readonly edges: readonly EdgeSpec[];
  readonly systems: readonly StoredManifest[];
}

/** Name of the node that takes the input of a contained system. */
export function enterName(system: string): string {
  return `${system}/(input)`;
}

/** The contained system whose input a node of that name takes. */
export function systemOf(enter: string): string {
  return enter.slice(0, enter.lastIndexOf("/"));
}

/** See the file header. @throws MANIFEST_INVALID if a system contains itself */
export function inlineSystems(root: StoredManifest, ports: InlinePorts): InlinedGraph {
  const inliner = new Inliner(ports);
  inliner.add(root, undefined, []);
  return inliner;
}

class Inliner implements InlinedGraph {
  readonly nodes: NodeSpec[] = [];
  readonly edges: EdgeSpec[] = [];
  readonly systems: StoredManifest[] = [];
  readonly #ports: InlinePorts;
  #sets = 0;

  constructor(ports: InlinePorts) {
    this.#ports = ports;
  }

  add(system: StoredManifest, scope: string | undefined, around: readonly StoredManifest[]): void {
    const { namespace, name } = system.manifest.metadata;
    if (around.some(({ manifest }) => manifest.metadata.namespace === namespace && manifest.metadata.name === name)) {
      const message = `system ${namespace}/${name} contains itself; take it out of one of the systems in it`;
      throw new DomainError("MANIFEST_INVALID", message, { namespace, system: name });
    }
    const spec = specOf(system);
    const fullName = (node: string) => (scope === undefined ? node : `${scope}/${node}`);
    const inScope = scope === undefined ? {} : { scope };
    const contained = new Set<string>();
    for (const node of spec.nodes) {
      const full = fullName(node.name);
      if (node.system !== undefined) {
        contained.add(node.name);
        this.#contain(system, { ...node, name: full, ...inScope }, node.system, [...around, system]);
        continue;
      }
      const { tool: _tool, ...plain } = node;
      const agent = this.#ports.agent(system, node);
      this.nodes.push({ ...plain, name: full, ...(agent !== undefined && { agent }), ...inScope });
    }
    const first = this.#sets;
    for (const edge of spec.edges) {
      const to = contained.has(edge.to) ? enterName(fullName(edge.to)) : fullName(edge.to);
      this.edges.push({ ...edge, from: fullName(edge.from), to, set: first + edge.set });
      this.#sets = Math.max(this.#sets, first + edge.set + 1);
    }
  }

  #contain(from: StoredManifest, node: NodeSpec, name: string, around: readonly StoredManifest[]): void {
    const inner = this.#ports.system(from, name);
    this.systems.push(inner);
    const { inputSchema, output, nodes, edges } = specOf(inner);
    const { join, route, scope } = node;
    const inScope = scope === undefined ? {} : { scope };
    const enter = enterName(node.name);
    this.nodes.push({
      ...{ name: enter, transform: node.input ?? "${{ input }}", join, route: "all", port: "enter", ...inScope },
      ...(inputSchema && { schema: inputSchema }),
    });
    this.add(inner, node.name, around);
    this.nodes.push({
      ...{ name: node.name, transform: output.value, join: "all", route, port: "leave", system: name, ...inScope },
      ...(output.schema && { schema: output.schema }),
    });
    const names = nodes.map((one) => ({ name: one.name, full: `${node.name}/${one.name}`, node: one }));
    for (const { name: one, full, node: spec } of names) {
      const isEntry = !edges.some((edge) => edge.to === one && edge.loop === undefined);
      if (isEntry) this.#link(enter, spec.system === undefined ? full : enterName(full));
      const leadsOn = edges.some(
        (edge) => edge.from === one && edge.loop === undefined && edge.outcome === "succeeded",
      );
      if (!leadsOn) this.#link(full, node.name);
    }
  }

  #link(from: string, to: string): void {
    this.edges.push({ from, to, otherwise: false, outcome: "succeeded", set: this.#sets });
    this.#sets += 1;
  }
}

function specOf(system: StoredManifest): AgentSystemSpec {
  return system.manifest.spec as AgentSystemSpec;
}
