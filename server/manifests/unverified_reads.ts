// Warns of policies that read what anybody could have set: a tag that comes from the request, or the request's metadata.
// On a guarded tool it is an error: such a tool is meant to be safe.
// Called by validate.ts. Looks at the templates of this apply that a policy can reach, and at those it is attached to by name.

import { locate } from "./expressions.ts";
import type { ReadDocument } from "./kinds.ts";
import { type ConditionRead, readsOf } from "./policy_condition.ts";
import { parsePath } from "./policy_document.ts";
import { ANY_NAMESPACE, type Lookup, SYSTEM_NAMESPACE } from "./references.ts";
import type { Manifest } from "./specs.ts";
import { strings, type Tree } from "./tree.ts";

type Templates = readonly Manifest<"WorkflowTemplate">[];

/** Adds the findings to those of the policies. */
export function checkUnverifiedReads(documents: readonly ReadDocument[], lookup: Lookup): void {
  const manifests = documents.map(({ manifest }) => manifest);
  const templates = manifests.filter(({ kind }) => kind === "WorkflowTemplate") as Manifest<"WorkflowTemplate">[];
  for (const document of documents) {
    if (document.manifest.kind !== "Policy") continue;
    const policy = document.manifest as Manifest<"Policy">;
    const reads = [
      ...readsOf(policy.spec.allow, ["spec", "allow"]),
      ...readsOf(policy.spec.deny, ["spec", "deny"]),
      ...keysOf(policy),
    ];
    const reached = [...reachedOf(policy, templates), ...(attachedTo(policy, "WorkflowTemplate", lookup) as Templates)];
    const guarded = guards(policy, manifests, lookup);
    for (const read of reads) report(document, read, reached, guarded);
  }
}

// A limit by something that the caller sets afresh each time limits nobody.
function keysOf({ spec }: Manifest<"Policy">): ConditionRead[] {
  return spec.limits.flatMap(({ key }, limit) =>
    key.flatMap((text, index) => {
      const path = parsePath(text);
      return path.ok ? [{ members: path.members, at: ["spec", "limits", limit, "key", index] }] : [];
    }),
  );
}

function report(document: ReadDocument, read: ConditionRead, templates: Templates, guarded: boolean): void {
  const [part, member, key] = read.members;
  if (part !== "context" || key === undefined) return;
  const place = locate(document.tree, "", read.at);
  const at = keyPosition(place.tree, document);
  const add = (message: string, hint: string) => {
    const { findings } = document;
    if (guarded) findings.error("E-UNVERIFIED", at, place.path, `${message}, and the tool is guarded`, hint);
    else findings.warning("W-UNVERIFIED", at, place.path, message, hint);
  };
  if (member === "metadata") {
    const message = `the policy reads context.metadata "${key}", which anybody who invokes can set`;
    add(message, "read a tag that comes from a claim");
    return;
  }
  const fromRequest = ({ spec }: Manifest<"WorkflowTemplate">) =>
    Object.hasOwn(spec.tags, key) && spec.tags[key]?.from === "request";
  const template = member === "tags" ? templates.find(fromRequest) : undefined;
  if (template === undefined) return;
  const { namespace, name } = template.metadata;
  const message = `the policy reads the tag "${key}", which workflow ${namespace}/${name} takes from the request: anybody who invokes can set it`;
  add(message, "take the tag from a claim");
}

function keyPosition(tree: Tree, document: ReadDocument): { line: number; column: number } {
  for (const { tree: scalar } of strings(tree, "")) return scalar.at;
  return tree.at.line > 0 ? tree.at : document.at;
}

function reachedOf(policy: Manifest<"Policy">, templates: Templates): Templates {
  const { namespace } = policy.metadata;
  const names = policy.spec.attachTo.flatMap(({ kind, name }) => (kind === "WorkflowTemplate" ? [name] : []));
  const byName = names.length === policy.spec.attachTo.length && names.every((name) => name !== undefined);
  return templates.filter(
    ({ metadata }) =>
      (namespace === SYSTEM_NAMESPACE || metadata.namespace === namespace) &&
      (!byName || names.includes(metadata.name)),
  );
}

function attachedTo(policy: Manifest<"Policy">, wanted: "WorkflowTemplate" | "Tool", lookup: Lookup): Manifest[] {
  const namespace = policy.metadata.namespace === SYSTEM_NAMESPACE ? ANY_NAMESPACE : policy.metadata.namespace;
  return policy.spec.attachTo.flatMap(({ kind, name }) => {
    const found = kind === wanted && name !== undefined ? lookup(kind, namespace, name) : undefined;
    return found === undefined ? [] : [found];
  });
}

function guards(policy: Manifest<"Policy">, manifests: readonly Manifest[], lookup: Lookup): boolean {
  const named = attachedTo(policy, "Tool", lookup);
  const selectors = policy.spec.attachTo.flatMap(({ kind, selector }) =>
    kind === "Tool" && selector !== undefined ? [Object.entries(selector)] : [],
  );
  const selected = manifests.filter(
    ({ kind, metadata }) =>
      kind === "Tool" &&
      (policy.metadata.namespace === SYSTEM_NAMESPACE || policy.metadata.namespace === metadata.namespace) &&
      selectors.some((labels) => labels.every(([label, value]) => metadata.labels[label] === value)),
  );
  return [...named, ...selected].some((tool) => (tool as Manifest<"Tool">).spec.guarded);
}
