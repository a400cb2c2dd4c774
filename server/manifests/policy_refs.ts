// Checks how policies use library policies: only those that are attached to nothing, never in a circle, and only where everything that
// they read exists. Called by validate.ts, with what is applied and what is stored. Pure.

import { locate } from "./expressions.ts";
import type { ReadDocument } from "./kinds.ts";
import { pathsReadBy } from "./policy.ts";
import { policyRefsOf } from "./policy_condition.ts";
import { checkpointsOf } from "./policy_document.ts";
import { type Lookup, resolveReference } from "./references.ts";
import type { Manifest } from "./specs.ts";

type PolicyManifest = Manifest<"Policy">;

/** Adds the findings of a policy's references to others. */
export function checkPolicyRefs(document: ReadDocument, lookup: Lookup): void {
  const policy = document.manifest as PolicyManifest;
  for (const { name, path } of refsOf(policy)) {
    const place = locate(document.tree, "", path);
    const report = (code: string, message: string, hint: string) =>
      document.findings.error(code, place.tree.at, place.path, message, hint);
    const used = find(policy, name, lookup);
    if (used === undefined) continue;
    if (used.spec.attachTo.length > 0) {
      const hint = "move its condition into a policy with attachTo: []";
      report("E-REFERENCE", `policy "${name}" is no library policy: it is attached itself`, hint);
      continue;
    }
    const circle = circleFrom(policy, used, lookup);
    if (circle !== undefined) {
      report("E-CYCLE", `policies use each other in a circle: ${circle.join(" → ")}`, "break the circle");
      continue;
    }
    for (const checkpoint of policy.spec.checkpoints) {
      const absent = readsThrough(used, lookup).find((read) => !checkpointsOf(read).includes(checkpoint));
      if (absent === undefined) continue;
      const message = `policy "${name}" reads ${absent}, which does not exist at ${checkpoint}`;
      report("E-CHECKPOINT", message, `set checkpoints: [${checkpointsOf(absent).join(", ")}]`);
      break;
    }
  }
}

function refsOf({ spec }: PolicyManifest) {
  return [...policyRefsOf(spec.allow, ["spec", "allow"]), ...policyRefsOf(spec.deny, ["spec", "deny"])];
}

function find(from: PolicyManifest, name: string, lookup: Lookup): PolicyManifest | undefined {
  return resolveReference(from, { kind: "Policy", name, path: [] }, lookup) as PolicyManifest | undefined;
}

function keyOf({ metadata }: PolicyManifest): string {
  return `${metadata.namespace}/${metadata.name}`;
}

// The way from a policy back to itself, as names; undefined if there is none.
function circleFrom(start: PolicyManifest, next: PolicyManifest, lookup: Lookup): string[] | undefined {
  const seen = new Set<string>();
  const walk = (policy: PolicyManifest, path: readonly string[]): string[] | undefined => {
    const key = keyOf(policy);
    if (key === keyOf(start)) return [...path, key];
    if (seen.has(key)) return undefined;
    seen.add(key);
    for (const { name } of refsOf(policy)) {
      const used = find(policy, name, lookup);
      const found = used && walk(used, [...path, key]);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  return walk(next, [keyOf(start)]);
}

function readsThrough(start: PolicyManifest, lookup: Lookup): string[] {
  const seen = new Map<string, PolicyManifest>();
  const visit = (policy: PolicyManifest) => {
    if (seen.has(keyOf(policy))) return;
    seen.set(keyOf(policy), policy);
    for (const { name } of refsOf(policy)) {
      const used = find(policy, name, lookup);
      if (used !== undefined) visit(used);
    }
  };
  visit(start);
  return [...seen.values()].flatMap(({ spec }) => pathsReadBy(spec));
}
