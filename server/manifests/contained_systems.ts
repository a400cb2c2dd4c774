// Whether the systems that a system contains ever end: none contains itself, and all together are not too large.
// Called by validate.ts; resolve.ts refuses at Invoke what two applies at the same time let through.

import { locate } from "./expressions.ts";
import { NODES_MAX } from "./graph_nodes.ts";
import type { ReadDocument } from "./kinds.ts";
import { type Lookup, resolveReference } from "./references.ts";
import type { Manifest } from "./specs.ts";

type System = Manifest<"AgentSystem">;

/** Nodes of a system with everything in it, or the way on which it contains itself. */
type Size = { readonly nodes: number } | { readonly circle: string };

/** Reports a node whose system contains the one that it stands in, or too much. */
export function checkContained(document: ReadDocument, lookup: Lookup): void {
  const root = document.manifest as System;
  let nodes = root.spec.nodes.length;
  for (const [index, node] of root.spec.nodes.entries()) {
    if (node.system === undefined) continue;
    const size = sizeOf(root, node.system, [], lookup);
    nodes += "nodes" in size ? size.nodes : 0;
    if ("nodes" in size && nodes <= NODES_MAX) continue;
    const place = locate(document.tree, "", ["spec", "nodes", index, "system"]);
    if ("circle" in size) {
      const message = `a system contains itself: ${size.circle}`;
      document.findings.error("E-CYCLE", place.tree.at, place.path, message, "take it out of one of them");
      continue;
    }
    const message = `with everything in it the system has more than ${NODES_MAX} nodes`;
    document.findings.error("E-VALUE", place.tree.at, place.path, message, "split it");
    return;
  }
}

function sizeOf(from: System, name: string, around: readonly string[], lookup: Lookup): Size {
  const found = resolveReference(from, { kind: "AgentSystem", name, path: [] }, lookup) as System | undefined;
  const inside = [...around, keyOf(from)];
  if (found === undefined) return { nodes: 0 };
  if (inside.includes(keyOf(found))) {
    return { circle: [...inside.slice(inside.indexOf(keyOf(found))), keyOf(found)].join(" → ") };
  }
  // One node more takes its input.
  let nodes = 1 + found.spec.nodes.length;
  for (const node of found.spec.nodes) {
    if (node.system === undefined || nodes > NODES_MAX) continue;
    const size = sizeOf(found, node.system, inside, lookup);
    if ("circle" in size) return size;
    nodes += size.nodes;
  }
  return { nodes };
}

function keyOf({ metadata }: System): string {
  return `${metadata.namespace}/${metadata.name}`;
}
