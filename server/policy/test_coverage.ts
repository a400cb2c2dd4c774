// Counts which values the leaves of policies took in policy tests: each can be true, false and, where something may be absent, unknown.
// Called by test_folder.ts with every explanation. Pure.
// A leaf that stays open, because arguments are deferred, took no value.

import type { Position } from "../manifests/diagnostics.ts";
import { compileRoot } from "./condition.ts";
import type { ExplainedNode, Explanation, ManifestPlace } from "./explain.ts";
import { placeText } from "./explain.ts";
import type { CompiledCondition, LivePolicy } from "./types.ts";

/** A value that a leaf can take. */
export type LeafValue = "true" | "false" | "unknown";

/** A place in a file. */
export interface FilePlace extends Position {
  readonly file: string;
}

/** A leaf and what it took. */
export interface LeafCoverage {
  readonly policy: string;
  readonly path: string;
  readonly place?: FilePlace;
  readonly seen: readonly LeafValue[];
  readonly missing: readonly LeafValue[];
}

/** Finds the place of a node of a policy, "namespace/name". */
export type PlaceOf = (policy: string, at: ManifestPlace) => FilePlace | undefined;

/** See the file header. */
export class TestCoverage {
  readonly #leaves = new Map<string, { leaf: CompiledCondition; seen: Set<LeafValue> }>();

  constructor(policies: readonly LivePolicy[]) {
    for (const { namespace, name, spec } of policies) {
      // Each policy by itself: a library policy is covered by whatever uses it, and not at all when nothing does.
      const context = { policy: `${namespace}/${name}`, library: () => undefined };
      for (const member of ["allow", "deny"] as const) {
        for (const leaf of leavesOf(compileRoot(spec, member, context))) {
          this.#leaves.set(keyOf(leaf.policy, leaf.at), { leaf, seen: new Set() });
        }
      }
    }
  }

  /** Notes the values of an explanation. */
  note({ policies }: Explanation): void {
    for (const { allow, deny } of policies) for (const root of [allow, deny]) if (root !== undefined) this.#note(root);
  }

  /** Every leaf, in the order of policies and places. */
  leaves(placeOf: PlaceOf): LeafCoverage[] {
    return [...this.#leaves.values()].map(({ leaf, seen }) => {
      const possible: readonly LeafValue[] = leaf.sure === true ? ["true", "false"] : ["true", "false", "unknown"];
      const place = placeOf(leaf.policy, leaf.at);
      return {
        ...{ policy: leaf.policy, path: placeText(leaf.at), ...(place && { place }) },
        seen: possible.filter((value) => seen.has(value)),
        missing: possible.filter((value) => !seen.has(value)),
      };
    });
  }

  #note(node: ExplainedNode): void {
    if (node.how === "leaf" && node.value !== "open") {
      this.#leaves.get(keyOf(node.policy, node.at))?.seen.add(node.value);
    }
    for (const child of node.nodes) this.#note(child);
  }
}

/** Values that were taken, and those that can be. */
export function coverageOf(leaves: readonly LeafCoverage[]): { readonly covered: number; readonly possible: number } {
  let [covered, missing] = [0, 0];
  for (const leaf of leaves) {
    covered += leaf.seen.length;
    missing += leaf.missing.length;
  }
  return { covered, possible: covered + missing };
}

// What a manifest leaves out is a constant at its spec; a library policy has leaves of its own.
function leavesOf(node: CompiledCondition): CompiledCondition[] {
  if (node.how !== "leaf") return node.nodes.flatMap(leavesOf);
  return node.at.length === 1 || node.at.at(-1) === "policyRef" ? [] : [node];
}

function keyOf(policy: string, at: ManifestPlace): string {
  return JSON.stringify([policy, ...at]);
}
