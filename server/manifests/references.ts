// Which resources a manifest names, whether they exist, and who names a resource that is to be deleted.
// Called by validate.ts (against this apply and the stored catalog), resolve.ts, and the delete command.
// A name is looked for in the manifest's own namespace, then in `system`, which every namespace may read.
// A policy reaches its own namespace only; a policy of `system` reaches all.

import type { JsonPath } from "../../language/template.ts";
import { didYouMean, type Findings } from "./diagnostics.ts";
import { locate } from "./expressions.ts";
import type { ReadDocument } from "./kinds.ts";
import { policyRefsOf } from "./policy_condition.ts";
import { type Kind, type Manifest, manifestKey } from "./specs.ts";

/** Namespace that every other one may read, and whose policies reach every other one. */
export const SYSTEM_NAMESPACE = "system";
/** In a lookup: any namespace. Only policies of `system` ask so. */
export const ANY_NAMESPACE = "*";

/** Finds a manifest by kind, namespace (or ANY_NAMESPACE) and name. */
export type Lookup = (kind: Kind, namespace: string, name: string) => Manifest | undefined;

/** Identity of a resource. */
export interface ResourceKey {
  readonly kind: Kind;
  readonly namespace: string;
  readonly name: string;
}

/** A name in a manifest, and where it stands in its document. */
export interface ManifestReference {
  readonly kind: Kind;
  readonly name: string;
  readonly path: JsonPath;
}

/** Names of other resources in a manifest, in file order. */
export function referencesOfManifest(manifest: Manifest): ManifestReference[] {
  if (manifest.kind === "Agent") {
    const { tools } = (manifest as Manifest<"Agent">).spec;
    return tools.map(({ ref }, index) => ({ kind: "Tool", name: ref, path: ["spec", "tools", index, "ref"] }));
  }
  if (manifest.kind === "AgentSystem") {
    const { nodes } = (manifest as Manifest<"AgentSystem">).spec;
    return nodes.flatMap(({ agent, tool, system }, index): ManifestReference[] => {
      const path = (key: string) => ["spec", "nodes", index, key];
      if (system !== undefined) return [{ kind: "AgentSystem", name: system, path: path("system") }];
      if (tool !== undefined) return [{ kind: "Tool", name: tool, path: path("tool") }];
      return agent === undefined ? [] : [{ kind: "Agent", name: agent, path: path("agent") }];
    });
  }
  if (manifest.kind === "WorkflowTemplate") {
    const { system } = (manifest as Manifest<"WorkflowTemplate">).spec;
    return [{ kind: "AgentSystem", name: system, path: ["spec", "system"] }];
  }
  if (manifest.kind === "Tool") return [];
  const { attachTo, allow, deny } = (manifest as Manifest<"Policy">).spec;
  const attached = attachTo.flatMap(({ kind, name }, index): ManifestReference[] =>
    kind === "Namespace" || name === undefined ? [] : [{ kind, name, path: ["spec", "attachTo", index, "name"] }],
  );
  const used = [...policyRefsOf(allow, ["spec", "allow"]), ...policyRefsOf(deny, ["spec", "deny"])];
  return [...attached, ...used.map(({ name, path }) => ({ kind: "Policy" as const, name, path }))];
}

/** Namespaces in which what a manifest names is looked for, in order. What a policy is attached to differs from what it uses. */
export function namespacesSeenFrom(manifest: Manifest, kind: Kind): readonly string[] {
  const { namespace } = manifest.metadata;
  if (manifest.kind === "Policy" && kind !== "Policy")
    return namespace === SYSTEM_NAMESPACE ? [ANY_NAMESPACE] : [namespace];
  return namespace === SYSTEM_NAMESPACE ? [SYSTEM_NAMESPACE] : [namespace, SYSTEM_NAMESPACE];
}

/** The resource that a reference means. */
export function resolveReference(
  manifest: Manifest,
  reference: ManifestReference,
  lookup: Lookup,
): Manifest | undefined {
  for (const namespace of namespacesSeenFrom(manifest, reference.kind)) {
    const found = lookup(reference.kind, namespace, reference.name);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Everything that the checks of these manifests may look up in the catalog. */
export function keysNeeded(manifests: readonly Manifest[]): ResourceKey[] {
  const keys = new Map<string, ResourceKey>();
  for (const manifest of manifests) {
    for (const { kind, name } of referencesOfManifest(manifest)) {
      for (const namespace of namespacesSeenFrom(manifest, kind))
        keys.set(manifestKey(kind, namespace, name), { kind, namespace, name });
    }
  }
  return [...keys.values()];
}

/** A lookup over a list of manifests; the first of equal identity wins. */
export function lookupIn(manifests: readonly Manifest[]): Lookup {
  const byKey = new Map<string, Manifest>();
  for (const manifest of manifests) {
    const { namespace, name } = manifest.metadata;
    for (const space of [namespace, ANY_NAMESPACE]) {
      const key = manifestKey(manifest.kind, space, name);
      if (!byKey.has(key)) byKey.set(key, manifest);
    }
  }
  return (kind, namespace, name) => byKey.get(manifestKey(kind, namespace, name));
}

/** Reports references of a document that mean nothing. */
export function checkReferences(
  document: ReadDocument,
  exists: (kind: Kind, namespace: string, name: string) => boolean,
  namesOf: (kind: Kind) => readonly string[],
): void {
  const { manifest, tree, findings } = document;
  for (const reference of referencesOfManifest(manifest)) {
    const spaces = namespacesSeenFrom(manifest, reference.kind);
    // An empty name was already reported where it is missing.
    if (reference.name === "" || spaces.some((space) => exists(reference.kind, space, reference.name))) continue;
    const place = locate(tree, "", reference.path);
    const where = spaces.map((space) => (space === ANY_NAMESPACE ? "any namespace" : `namespace ${space}`));
    const message = `there is no ${reference.kind} "${reference.name}" in ${where.join(" or ")}`;
    const hint = didYouMean(reference.name, namesOf(reference.kind)) || "apply it before or together with this one";
    findings.error("E-REFERENCE", place.tree.at, place.path, message, hint);
  }
  if (manifest.kind === "Policy") checkNamespaces(manifest as Manifest<"Policy">, document, findings);
}

function checkNamespaces(manifest: Manifest<"Policy">, { tree }: ReadDocument, findings: Findings): void {
  const { namespace } = manifest.metadata;
  for (const [index, { kind, name }] of manifest.spec.attachTo.entries()) {
    if (kind !== "Namespace" || name === undefined || name === namespace || namespace === SYSTEM_NAMESPACE) continue;
    const place = locate(tree, "", ["spec", "attachTo", index, "name"]);
    const message = `a policy of namespace ${namespace} does not reach namespace ${name}`;
    findings.error(
      "E-REFERENCE",
      place.tree.at,
      place.path,
      message,
      `put the policy into namespace ${name} or ${SYSTEM_NAMESPACE}`,
    );
  }
}

/**
 * Who would lose a reference if a resource were deleted, sorted by key.
 *
 * @param manifests every stored manifest that may refer to it: its namespace, and all namespaces for one of `system`.
 */
export function referrersOf(target: ResourceKey, manifests: readonly Manifest[]): ResourceKey[] {
  const lookup = lookupIn(manifests.filter((manifest) => !isAt(manifest, target)));
  const referrers: ResourceKey[] = [];
  for (const manifest of manifests) {
    if (isAt(manifest, target)) continue;
    const spaces = namespacesSeenFrom(manifest, target.kind);
    if (!spaces.includes(target.namespace) && !spaces.includes(ANY_NAMESPACE)) continue;
    const means = (reference: ManifestReference) => {
      if (reference.kind !== target.kind || reference.name !== target.name) return false;
      const other = resolveReference(manifest, reference, lookup);
      // Falling back to another resource of that name would silently change what the referrer means, except for policies of system.
      return (
        other === undefined || (!spaces.includes(ANY_NAMESPACE) && target.namespace === manifest.metadata.namespace)
      );
    };
    if (referencesOfManifest(manifest).some(means)) {
      const { namespace, name } = manifest.metadata;
      referrers.push({ kind: manifest.kind, namespace, name });
    }
  }
  const keyOf = ({ kind, namespace, name }: ResourceKey) => manifestKey(kind, namespace, name);
  return referrers.sort((left, right) => (keyOf(left) < keyOf(right) ? -1 : 1));
}

function isAt(manifest: Manifest, key: ResourceKey): boolean {
  return (
    manifest.kind === key.kind && manifest.metadata.namespace === key.namespace && manifest.metadata.name === key.name
  );
}
