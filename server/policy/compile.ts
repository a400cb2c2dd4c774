// Compiles the stored policies of one revision and indexes them by checkpoint and attachment.
// Called by commands when policy_revision changed; the set is then shared by every decision of that revision.
// Reach: a policy of namespace X is attached to targets of X only, a policy of `system` to targets of every namespace.
// Never throws: a policy that cannot be read denies everywhere in its reach.

import { isJsonObject } from "../../kit/json.ts";
import { type AttachmentKind, CHECKPOINTS, type Checkpoint } from "../manifests/specs.ts";
import { compileCondition, UNKNOWN } from "./condition.ts";
import type { AttachmentTarget, CompiledPolicy, LivePolicy, PolicySet } from "./types.ts";

/** Namespace whose policies reach every other one. */
export const SYSTEM_NAMESPACE = "system";
/** Stands for every namespace in keys of a PolicySet. */
export const EVERYWHERE = "*";

const ATTACHMENT_KINDS = new Set<unknown>(["Tool", "Agent", "AgentSystem", "WorkflowTemplate", "Namespace"]);

/** Key of PolicySet.attached. A namespace is its own namespace: Namespace/X lies in X. */
export function attachmentKey(checkpoint: Checkpoint, target: AttachmentTarget): string {
  return `${checkpoint}|${target.kind}|${target.namespace}|${target.name}`;
}

/**
 * Compiles and indexes policies; order does not matter.
 *
 * @param revision the policy_revision at which the policies were read.
 */
export function compilePolicies(policies: readonly LivePolicy[], revision: string): PolicySet {
  const attached = new Map<string, CompiledPolicy[]>();
  const unreadable = new Map<string, CompiledPolicy[]>();
  for (const policy of policies) {
    const scope = policy.namespace === SYSTEM_NAMESPACE ? EVERYWHERE : policy.namespace;
    const keys = keysOf(policy, scope);
    if (keys === undefined) push(unreadable, scope, { policy, enforcing: true, allow: UNKNOWN, deny: UNKNOWN });
    else {
      const compiled = compile(policy);
      for (const key of keys) push(attached, key, compiled);
    }
  }
  return { revision, size: policies.length, attached, unreadable };
}

// A condition that is there but null is unreadable, not absent; a policy with neither would pass everybody.
function compile(policy: LivePolicy): CompiledPolicy {
  const { allow, deny, mode } = policy.spec;
  const enforcing = mode !== "observe";
  if (allow === undefined && deny === undefined) return { policy, enforcing, allow: UNKNOWN, deny: UNKNOWN };
  return {
    policy,
    enforcing,
    allow: allow === undefined ? () => true : compileCondition(allow),
    deny: deny === undefined ? () => false : compileCondition(deny),
  };
}

/** Keys under which the policy is found; undefined if its attachment or checkpoints cannot be read. */
function keysOf(policy: LivePolicy, scope: string): string[] | undefined {
  const spec: unknown = policy.spec;
  if (!isJsonObject(spec) || !Array.isArray(spec["attachTo"]) || !Array.isArray(spec["checkpoints"])) return undefined;
  const keys = new Set<string>();
  for (const checkpoint of spec["checkpoints"] as unknown[]) {
    if (!(CHECKPOINTS as readonly unknown[]).includes(checkpoint)) return undefined;
    for (const entry of spec["attachTo"] as unknown[]) {
      if (!isJsonObject(entry) || !ATTACHMENT_KINDS.has(entry["kind"]) || typeof entry["name"] !== "string")
        return undefined;
      const target = { kind: entry["kind"] as AttachmentKind, namespace: scope, name: entry["name"] };
      keys.add(attachmentKey(checkpoint as Checkpoint, target));
    }
  }
  return [...keys];
}

function push<Value>(map: Map<string, Value[]>, key: string, value: Value): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
