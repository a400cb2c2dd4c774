// Decides: collects the policies attached to the targets, evaluates all of them, and says allow or why not.
// Called by commands (invoke, claim, authorize_tool_call) inside the transaction that records the decision.
// Pure: equal set, input and targets give an equal decision, whatever the order of anything. Never throws: an error denies.
// A policy passes iff allow is true and deny is false; a denial's reason is forbidden > policy_error > not_permitted.

import { type Json, jsonDigest } from "../../kit/json.ts";
import { COUNTED } from "../manifests/policy.ts";
import { valueAt } from "../manifests/policy_document.ts";
import type { Checkpoint } from "../manifests/specs.ts";
import { attachmentKey, EVERYWHERE, selectionKey } from "./compile.ts";
import { documentOf, scopeOf } from "./scope.ts";
import type {
  AttachmentTarget,
  CompiledPolicy,
  Decision,
  DecisionReason,
  LimitCount,
  LimitUse,
  PolicyInput,
  PolicySet,
  PolicyVerdict,
  Scope,
} from "./types.ts";

const PRECEDENCE: readonly DecisionReason[] = ["forbidden", "policy_error", "not_permitted"];

/**
 * Decides one input document against the policies attached to its targets (see targets.ts).
 * No policy attached and the tool not guarded: allowed, with no verdicts, unless the set says otherwise.
 */
export function decide(set: PolicySet, input: PolicyInput, targets: readonly AttachmentTarget[]): Decision {
  const base = { checkpoint: input.checkpoint, policyRevision: set.revision, nowMs: input.nowMs, counts: [] };
  try {
    const inputDigest = jsonDigest(inputDocument(input));
    const scope = scopeOf(input);
    const policies = policiesFor(set, input.checkpoint, targets);
    const judged = policies.map((compiled) => ({ compiled, verdict: judge(compiled, scope) }));
    const enforcing = judged.filter(({ compiled }) => compiled.enforcing);
    const verdicts = judged.map(({ verdict }) => verdict);
    if (isUnguarded(set, input, targets) || (set.unattached === "deny" && enforcing.length === 0)) {
      return { ...base, ...denial("policy_missing"), verdicts, inputDigest };
    }
    for (const reason of PRECEDENCE) {
      const found = enforcing.find(({ verdict }) => verdict.reason === reason);
      if (found !== undefined) return { ...base, ...denial(reason, found.compiled), verdicts, inputDigest };
    }
    const counts = COUNTED.includes(input.checkpoint) ? enforcing.map(({ compiled }) => countsOf(compiled, input)) : [];
    const unkeyed = counts.indexOf(undefined);
    if (unkeyed >= 0) {
      return { ...base, ...denial("policy_error", enforcing[unkeyed]?.compiled), verdicts, inputDigest };
    }
    const allowed = { allowed: true, reason: "allowed", decidedBy: "", message: "" } as const;
    return { ...base, ...allowed, verdicts, inputDigest, counts: counts.flatMap((uses) => uses ?? []) };
  } catch {
    return { ...base, ...denial("policy_error"), verdicts: [], inputDigest: "" };
  }
}

// What a policy counts of an allowed thing; undefined if the value of a key is absent.
function countsOf({ policy, limits }: CompiledPolicy, input: PolicyInput): LimitUse[] | undefined {
  if (input.argsDeferred === true) return [];
  const uses: LimitUse[] = [];
  for (const { name, paths, max, windowMs } of limits) {
    const values = paths.map((members) => valueAt(input, members));
    if (values.includes(undefined)) return undefined;
    uses.push({
      ...{ policy: `${policy.namespace}/${policy.name}`, limit: name, max, windowMs },
      keyDigest: jsonDigest(values as Json),
      windowStartMs: Math.floor(input.nowMs / windowMs) * windowMs,
      message: policy.spec.message,
    });
  }
  return uses;
}

/** The denial of what a limit forbids, after everything else allowed it. */
export function limitDenial(decision: Decision, exceeded: LimitCount): Decision {
  const { policy, message } = exceeded;
  const denied = { allowed: false, reason: "limit_exceeded", decidedBy: policy, message } as const;
  return { ...decision, ...denied, counts: [], counted: [exceeded] };
}

/** Reasons that need no policy: the lease is stale, the agent does not declare the tool, the arguments do not fit. */
export type StructuralReason = "undeclared" | "invalid_args" | "stale_lease";

/** The denial of what is structurally impossible, decided before any policy is looked at. */
export function structuralDenial(
  reason: StructuralReason,
  of: {
    readonly checkpoint: Checkpoint;
    readonly policyRevision: string;
    readonly nowMs: number;
    readonly input?: PolicyInput;
  },
): Decision {
  return {
    checkpoint: of.checkpoint,
    ...denial(reason),
    verdicts: [],
    inputDigest: of.input === undefined ? "" : safeDigest(of.input),
    policyRevision: of.policyRevision,
    nowMs: of.nowMs,
    counts: [],
  };
}

function denial(reason: DecisionReason, by?: CompiledPolicy) {
  const decidedBy = by === undefined ? "" : `${by.policy.namespace}/${by.policy.name}`;
  const message: unknown = by?.policy.spec?.message;
  return { allowed: false, reason, decidedBy, message: typeof message === "string" ? message : "" };
}

/** Every policy that is attached to one of the targets at a checkpoint, sorted by namespace and name. */
export function policiesFor(
  set: PolicySet,
  checkpoint: Checkpoint,
  targets: readonly AttachmentTarget[],
): CompiledPolicy[] {
  const found = new Set<CompiledPolicy>(set.unreadable.get(EVERYWHERE));
  for (const target of targets) {
    for (const policy of attachedTo(set, checkpoint, target)) found.add(policy);
    for (const policy of set.unreadable.get(target.namespace) ?? []) found.add(policy);
  }
  return [...found].sort(
    (a, b) => compare(a.policy.namespace, b.policy.namespace) || compare(a.policy.name, b.policy.name),
  );
}

function attachedTo(set: PolicySet, checkpoint: Checkpoint, target: AttachmentTarget): CompiledPolicy[] {
  const { kind, name, labels = {} } = target;
  return [target.namespace, EVERYWHERE].flatMap((namespace) => {
    const named = set.attached.get(attachmentKey(checkpoint, { kind, namespace, name })) ?? [];
    const selected = (set.selected.get(selectionKey(checkpoint, kind, namespace)) ?? []).filter(
      (entry) =>
        (entry.name === undefined || entry.name === name) &&
        entry.labels.every(([label, value]) => Object.hasOwn(labels, label) && labels[label] === value),
    );
    return [...named, ...selected.map(({ policy }) => policy)];
  });
}

// An attachment to the agent or the namespace does not guard a tool: someone must have thought of the tool itself.
function isUnguarded(set: PolicySet, input: PolicyInput, targets: readonly AttachmentTarget[]): boolean {
  if (input.tool?.guarded !== true) return false;
  const tools = targets.filter(({ kind }) => kind === "Tool");
  return !tools.some((target) => attachedTo(set, input.checkpoint, target).some((policy) => policy.enforcing));
}

function judge(compiled: CompiledPolicy, scope: Scope): PolicyVerdict {
  const { namespace, name, generation, digest } = compiled.policy;
  const reason = reasonOf(compiled, scope);
  const mode = compiled.enforcing ? "enforce" : "observe";
  return { namespace, name, generation, digest, mode, passes: reason === "allowed", reason };
}

// While arguments are deferred, each condition gives the policy the benefit of them: what is denied then is denied whatever they are.
function reasonOf(compiled: CompiledPolicy, scope: Scope): DecisionReason {
  try {
    const deny = compiled.deny.evaluate(scope, false);
    const allow = compiled.allow.evaluate(scope, true);
    if (deny === true) return "forbidden";
    if (deny === undefined || allow === undefined) return "policy_error";
    return allow === true && deny === false ? "allowed" : "not_permitted";
  } catch {
    return "policy_error";
  }
}

// Only the fields of the closed schema, and not the time, which is recorded beside the digest.
function inputDocument(input: PolicyInput): Json {
  const { checkpoint, system, argsDeferred } = input;
  return { ...documentOf(input), checkpoint, system, ...(argsDeferred && { argsDeferred }) } as unknown as Json;
}

function safeDigest(input: PolicyInput): string {
  try {
    return jsonDigest(inputDocument(input));
  } catch {
    return "";
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
