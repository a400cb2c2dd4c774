// The graph of a system or of a run as data that can be drawn: nodes with what they run and how far they are, edges with their labels.
// Called by graph_source.ts and run_view.ts; read by everything that draws. Pure.
// A system that a run contains is its nodes and the node that gives its output: what leads into it leads to where it begins.

import { isJsonObject, type Json, type JsonObject } from "../kit/json.ts";
import type { Edge, Node, Run } from "../sdk/index.ts";
import { nodeStateName } from "./format.ts";

/** What a node runs. */
export type NodeKind = "agent" | "tool" | "system" | "transform";

/** A node of a graph. */
export interface GraphNode {
  readonly name: string;
  readonly kind: NodeKind;
  /** Name of the agent, tool or system. */
  readonly target: string;
  /** Of a node that is executed once an item; how many items there are and have ended is known of a run alone. */
  readonly map?: { readonly concurrency: number; readonly total?: number; readonly ended?: number };
  /** Incoming edges that must be taken; 0: all must be resolved, and one taken. */
  readonly quorum: number;
  /** Of a run: name of its state, such as "ACTIVE". */
  readonly state?: string;
  readonly iteration: number;
}

/** An edge of a graph. */
export interface GraphEdge {
  readonly from: string;
  readonly to: string;
  /** Empty: no condition. */
  readonly when: string;
  readonly otherwise: boolean;
  readonly outcome: string;
  /** `taken` is known of a run alone. */
  readonly loop?: { readonly max: number; readonly onExhausted: string; readonly taken?: number };
  /** Of a run: whether it was taken. */
  readonly taken?: boolean;
}

/** A graph to draw. */
export interface Graph {
  /** "support/support-desk", or a run's workflow and id. */
  readonly title: string;
  /** Name of the run's state. */
  readonly state?: string;
  readonly nodes: readonly GraphNode[];
  readonly edges: readonly GraphEdge[];
}

/** The graph of a run, as far as it is known. */
export function graphOfRun(run: Run, stateName: string): Graph {
  const nodes = run.nodes.map(nodeOfRun);
  const title = `${run.namespace}/${run.workflow} ${run.id}`;
  return { title, state: stateName, nodes, edges: linkContained(nodes, run.edges.map(edgeOfRun)) };
}

function nodeOfRun({ name, kind, target, map, quorum, state, iteration }: Node): GraphNode {
  return {
    ...{ name, kind: kindOf(kind), target, quorum, state: nodeStateName(state), iteration },
    ...(map && { map: { concurrency: map.concurrency, total: map.itemsTotal, ended: map.itemsEnded } }),
  };
}

// A server of an earlier version says no kind.
function kindOf(kind: string): NodeKind {
  return kind === "tool" || kind === "system" || kind === "transform" ? kind : "agent";
}

function edgeOfRun({ from, to, when, otherwise, outcome, loop, taken }: Edge): GraphEdge {
  const { max, onExhausted, taken: rounds } = loop ?? {};
  return {
    ...{ from, to, when, otherwise, outcome: outcome || "succeeded", taken },
    ...(max !== undefined && { loop: { max, onExhausted: onExhausted ?? "fail", taken: rounds ?? 0 } }),
  };
}

/** The graph of an AgentSystem, from its manifest as the server stores it. */
export function graphOfSystem(title: string, manifest: JsonObject): Graph {
  const spec = membersOf(manifest["spec"]);
  return { title, nodes: listOf(spec["nodes"]).map(nodeOfManifest), edges: listOf(spec["edges"]).flatMap(edgesOf) };
}

function nodeOfManifest(node: JsonObject): GraphNode {
  const kind = (["agent", "tool", "system"] as const).find((one) => node[one] !== undefined) ?? "transform";
  const { join } = node;
  const quorum = isJsonObject(join) ? Number(join["quorum"]) : join === "any" ? 1 : 0;
  const map = membersOf(node["map"]);
  return {
    ...{ name: textOf(node["name"]), kind, target: textOf(node[kind]), quorum, iteration: 0 },
    ...(node["map"] !== undefined && { map: { concurrency: Number(map["concurrency"]) } }),
  };
}

function edgesOf(edge: JsonObject): GraphEdge[] {
  const loop = membersOf(edge["loop"]);
  const rest = {
    ...{ when: textOf(edge["when"]), otherwise: edge["otherwise"] === true },
    outcome: textOf(edge["outcome"]) || "succeeded",
    ...(edge["loop"] !== undefined && { loop: { max: Number(loop["max"]), onExhausted: textOf(loop["onExhausted"]) } }),
  };
  return namesOf(edge["from"]).flatMap((from) => namesOf(edge["to"]).map((to) => ({ from, to, ...rest })));
}

function membersOf(value: Json | undefined): JsonObject {
  return isJsonObject(value) ? value : {};
}

function listOf(value: Json | undefined): JsonObject[] {
  return Array.isArray(value) ? value.filter(isJsonObject) : [];
}

function namesOf(value: Json | undefined): string[] {
  return Array.isArray(value) ? value.map(textOf) : [textOf(value)];
}

function textOf(value: Json | undefined): string {
  return typeof value === "string" ? value : "";
}

// The nodes of a contained system are called SYSTEM/NAME, and the system itself gives their output.
function linkContained(nodes: readonly GraphNode[], edges: readonly GraphEdge[]): GraphEdge[] {
  let linked = [...edges];
  const depth = (name: string) => name.split("/").length;
  const systems = nodes.filter((node) => node.kind === "system").sort((a, b) => depth(a.name) - depth(b.name));
  for (const { name } of systems) {
    const inside = (one: string) => one.startsWith(`${name}/`) && depth(one) === depth(name) + 1;
    const members = nodes.filter((node) => inside(node.name)).map((node) => node.name);
    const forward = linked.filter((edge) => edge.loop === undefined && inside(edge.from) && inside(edge.to));
    const entries = members.filter((one) => !forward.some((edge) => edge.to === one));
    const last = members.filter((one) => !forward.some((edge) => edge.from === one && edge.outcome === "succeeded"));
    if (entries.length === 0) continue;
    linked = linked.flatMap((edge) => (edge.to === name ? entries.map((to) => ({ ...edge, to })) : [edge]));
    linked.push(...last.map((from) => ({ from, to: name, when: "", otherwise: false, outcome: "succeeded" })));
  }
  return linked;
}

/** What stands at an edge in a drawing: the end that it is for, its condition, how often it leads back. Empty for one that is always taken. */
export function edgeLabel({ outcome, when, otherwise, loop }: GraphEdge): string {
  const parts = [
    ...(outcome === "succeeded" ? [] : [outcome]),
    ...(when === "" ? [] : [`when ${when}`]),
    ...(otherwise ? ["otherwise"] : []),
    ...(loop === undefined ? [] : [loop.taken === undefined ? `loop ≤${loop.max}` : `loop ${loop.taken}/${loop.max}`]),
  ];
  return parts.join(" · ");
}

/** An edge as a line of its own. */
export function edgeLine({ from, to, outcome, when, otherwise, loop }: GraphEdge): string {
  const on = outcome === "succeeded" ? "" : `  on ${outcome}`;
  const condition = when === "" ? (otherwise ? "  otherwise" : "") : `  when ${when}`;
  const often =
    loop && `  at most ${loop.max} times, then it ${loop.onExhausted === "continue" ? "is not taken" : "fails"}`;
  const taken = loop?.taken === undefined ? "" : `; taken ${loop.taken} times`;
  return `${loop === undefined ? " " : "↺"} ${from} → ${to}${on}${condition}${often ?? ""}${taken}`;
}

/** How far a mapped node is; undefined before it has items. */
export function itemsOf({ map }: GraphNode): string | undefined {
  return map?.total ? `${map.ended}/${map.total} items` : undefined;
}

/** What a node runs and how, where its name does not say it. */
export function nodeDetail(node: GraphNode): string[] {
  const { name, kind, target, map, quorum } = node;
  const known = kind === "agent" && (target === "" || target === name.split("/").at(-1));
  const what = kind === "transform" || target === "" ? kind : `${kind} ${target}`;
  const items = itemsOf(node) ?? (map && `map, ${map.concurrency} at a time`);
  const join = quorum === 1 ? "join any" : `join ${quorum}`;
  return [...(known ? [] : [what]), ...(items === undefined ? [] : [items]), ...(quorum === 0 ? [] : [join])];
}
