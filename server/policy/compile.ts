// Compiles the stored policies of one revision and indexes them by checkpoint and attachment.
// Called by commands when policy_revision changed; the set is then shared by every decision of that revision.
// Reach: a policy of namespace X is attached to targets of X only, a policy of `system` to targets of every namespace.
// Never throws: a policy that cannot be read denies everywhere in its reach.

import { isJsonObject } from "../../kit/json.ts";
import { parsePath } from "../manifests/policy_document.ts";
import { type AttachmentKind, type AttachmentSpec, CHECKPOINTS, type Checkpoint } from "../manifests/specs.ts";
import { compileRoot, constant } from "./condition.ts";
import { Libraries } from "./libraries.ts";
import type {
  AttachmentTarget,
  CompiledLimit,
  CompiledPolicy,
  LivePolicy,
  PolicySet,
  SelectedPolicy,
} from "./types.ts";

/** Namespace whose policies reach every other one. */
export const SYSTEM_NAMESPACE = "system";
/** Stands for every namespace in keys of a PolicySet. */
export const EVERYWHERE = "*";

const ATTACHMENT_KINDS = new Set<unknown>(["Tool", "Agent", "AgentSystem", "WorkflowTemplate", "Namespace"]);
const UNKNOWN = constant(undefined);

/** Key of PolicySet.attached. A namespace is its own namespace: Namespace/X lies in X. */
export function attachmentKey(checkpoint: Checkpoint, target: Omit<AttachmentTarget, "labels">): string {
  return `${checkpoint}|${target.kind}|${target.namespace}|${target.name}`;
}

/** Key of PolicySet.selected. */
export function selectionKey(checkpoint: Checkpoint, kind: AttachmentKind, namespace: string): string {
  return `${checkpoint}|${kind}|${namespace}`;
}

/**
 * Compiles and indexes policies; order does not matter.
 *
 * @param revision the policy_revision at which the policies were read.
 * @param unattached what becomes of something that no enforcing policy decides.
 */
export function compilePolicies(
  policies: readonly LivePolicy[],
  revision: string,
  unattached: PolicySet["unattached"] = "allow",
): PolicySet {
  const attached = new Map<string, CompiledPolicy[]>();
  const selected = new Map<string, SelectedPolicy[]>();
  const unreadable = new Map<string, CompiledPolicy[]>();
  const decidedAt = new Set<Checkpoint>();
  const libraries = new Libraries(policies);
  for (const policy of policies) {
    const scope = policy.namespace === SYSTEM_NAMESPACE ? EVERYWHERE : policy.namespace;
    const places = placesOf(policy);
    if (places === undefined) {
      const compiled = { policy, enforcing: true, allow: UNKNOWN, deny: UNKNOWN, limits: [] };
      push(unreadable, scope, compiled);
      for (const checkpoint of CHECKPOINTS) decidedAt.add(checkpoint);
      continue;
    }
    const compiled = compile(policy, libraries);
    for (const { checkpoint, kind, name, selector } of places) {
      decidedAt.add(checkpoint);
      if (selector === undefined && name !== undefined) {
        const key = attachmentKey(checkpoint, { kind, namespace: scope, name });
        if (attached.get(key)?.includes(compiled) !== true) push(attached, key, compiled);
      } else if (selector !== undefined) {
        const labels = Object.entries(selector);
        const entry = { policy: compiled, ...(name !== undefined && { name }), labels };
        push(selected, selectionKey(checkpoint, kind, scope), entry);
      }
    }
  }
  return { revision, size: policies.length, attached, selected, unreadable, decidedAt, unattached };
}

/** False if every decision at this checkpoint is an allowance with no verdict, but for guarded tools. */
export function isDecidedAt(set: PolicySet, checkpoint: Checkpoint): boolean {
  return set.unattached === "deny" || set.decidedAt.has(checkpoint);
}

// A condition that is there but null is unreadable, not absent; a policy with neither would pass everybody.
function compile(policy: LivePolicy, libraries: Libraries): CompiledPolicy {
  const { allow, deny, mode } = policy.spec;
  const enforcing = mode !== "observe";
  const limits = compileLimits(policy);
  const name = `${policy.namespace}/${policy.name}`;
  if ((allow === undefined && deny === undefined) || limits === undefined) {
    return { policy, enforcing, allow: UNKNOWN, deny: UNKNOWN, limits: [] };
  }
  const context = { policy: name, library: (used: string) => libraries.find(policy.namespace, used) };
  const [allowed, denied] = [compileRoot(policy.spec, "allow", context), compileRoot(policy.spec, "deny", context)];
  return { policy, enforcing, allow: allowed, deny: denied, limits };
}

// Undefined if one of them cannot be read.
function compileLimits({ spec }: LivePolicy): CompiledLimit[] | undefined {
  const compiled: CompiledLimit[] = [];
  for (const limit of spec.limits ?? []) {
    const paths = limit.key.map(parsePath);
    const members = paths.flatMap((path) => (path.ok ? [path.members] : []));
    if (members.length < paths.length || !(limit.max > 0) || !(limit.windowMs > 0)) return undefined;
    compiled.push({ ...limit, paths: members });
  }
  return compiled;
}

type AttachedAt = AttachmentSpec & { readonly checkpoint: Checkpoint };

/** What the policy is attached to and when; undefined if that cannot be read. */
function placesOf(policy: LivePolicy): AttachedAt[] | undefined {
  const spec: unknown = policy.spec;
  if (!isJsonObject(spec) || !Array.isArray(spec["attachTo"]) || !Array.isArray(spec["checkpoints"])) return undefined;
  const places: AttachedAt[] = [];
  for (const checkpoint of new Set(spec["checkpoints"] as unknown[])) {
    if (!(CHECKPOINTS as readonly unknown[]).includes(checkpoint)) return undefined;
    for (const entry of spec["attachTo"] as unknown[]) {
      if (!isAttachment(entry)) return undefined;
      places.push({ ...entry, checkpoint: checkpoint as Checkpoint });
    }
  }
  return places;
}

function isAttachment(entry: unknown): entry is AttachmentSpec {
  if (!isJsonObject(entry) || !ATTACHMENT_KINDS.has(entry["kind"])) return false;
  const { name, selector } = entry;
  if (name !== undefined && typeof name !== "string") return false;
  if (selector === undefined) return name !== undefined;
  return isJsonObject(selector) && Object.values(selector).every((value) => typeof value === "string");
}

function push<Value>(map: Map<string, Value[]>, key: string, value: Value): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
