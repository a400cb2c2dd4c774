// Warns of policies that read what anybody could have set: a tag that comes from the request, or the request's metadata.
// Called by validate.ts. Looks at the templates of this apply that a policy can reach, and at those it is attached to by name.

import { locate } from "./expressions.ts";
import type { ReadDocument } from "./kinds.ts";
import { ANY_NAMESPACE, type Lookup, SYSTEM_NAMESPACE } from "./references.ts";
import type { ConditionSpec, Manifest } from "./specs.ts";
import { strings, type Tree } from "./tree.ts";

interface KeyRead {
  readonly matcher: string;
  readonly key: string;
  readonly path: readonly (string | number)[];
}

/** Adds the warnings to the findings of the policies. */
export function checkUnverifiedReads(documents: readonly ReadDocument[], lookup: Lookup): void {
  const templates = documents
    .map(({ manifest }) => manifest)
    .filter((manifest) => manifest.kind === "WorkflowTemplate") as Manifest<"WorkflowTemplate">[];
  for (const document of documents) {
    if (document.manifest.kind !== "Policy") continue;
    const policy = document.manifest as Manifest<"Policy">;
    const reads = [...keysOf(policy.spec.allow, ["spec", "allow"]), ...keysOf(policy.spec.deny, ["spec", "deny"])];
    const reached = [...reachedOf(policy, templates), ...attachedTo(policy, lookup)];
    for (const read of reads) report(document, read, reached);
  }
}

function report(document: ReadDocument, read: KeyRead, templates: readonly Manifest<"WorkflowTemplate">[]): void {
  const place = locate(document.tree, "", read.path);
  const at = keyPosition(place.tree, document);
  if (read.matcher === "context.metadata") {
    const message = `the policy reads context.metadata "${read.key}", which anybody who invokes can set`;
    document.findings.warning("W-UNVERIFIED", at, place.path, message, "read a tag that comes from a claim");
    return;
  }
  const template = templates.find(
    ({ spec }) => Object.hasOwn(spec.tags, read.key) && spec.tags[read.key]?.from === "request",
  );
  if (template === undefined) return;
  const { namespace, name } = template.metadata;
  const message = `the policy reads the tag "${read.key}", which workflow ${namespace}/${name} takes from the request: anybody who invokes can set it`;
  document.findings.warning("W-UNVERIFIED", at, place.path, message, "take the tag from a claim");
}

function keyPosition(tree: Tree, document: ReadDocument): { line: number; column: number } {
  for (const { tree: scalar } of strings(tree, "")) return scalar.at;
  return tree.at.line > 0 ? tree.at : document.at;
}

function keysOf(condition: ConditionSpec | undefined, path: readonly (string | number)[]): KeyRead[] {
  if (condition === undefined) return [];
  const reads: KeyRead[] = [];
  for (const matcher of ["context.tags", "context.metadata"]) {
    const keyed = condition.match?.[matcher];
    if (keyed === undefined || Array.isArray(keyed)) continue;
    for (const key of Object.keys(keyed)) reads.push({ matcher, key, path: [...path, "match", matcher, key] });
  }
  for (const member of ["all", "any"] as const) {
    for (const [index, inner] of (condition[member] ?? []).entries())
      reads.push(...keysOf(inner, [...path, member, index]));
  }
  return [...reads, ...keysOf(condition.not, [...path, "not"])];
}

function reachedOf(
  policy: Manifest<"Policy">,
  templates: readonly Manifest<"WorkflowTemplate">[],
): readonly Manifest<"WorkflowTemplate">[] {
  const { namespace } = policy.metadata;
  const names = policy.spec.attachTo.flatMap(({ kind, name }) => (kind === "WorkflowTemplate" ? [name] : []));
  const byName = names.length === policy.spec.attachTo.length;
  return templates.filter(
    ({ metadata }) =>
      (namespace === SYSTEM_NAMESPACE || metadata.namespace === namespace) &&
      (!byName || names.includes(metadata.name)),
  );
}

function attachedTo(policy: Manifest<"Policy">, lookup: Lookup): Manifest<"WorkflowTemplate">[] {
  const namespace = policy.metadata.namespace === SYSTEM_NAMESPACE ? ANY_NAMESPACE : policy.metadata.namespace;
  return policy.spec.attachTo.flatMap(({ kind, name }) => {
    const found = kind === "WorkflowTemplate" ? lookup(kind, namespace, name) : undefined;
    return found === undefined ? [] : [found as Manifest<"WorkflowTemplate">];
  });
}
