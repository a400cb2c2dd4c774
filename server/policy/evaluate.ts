// Decides: collects the policies attached to the targets, evaluates all of them, and says allow or why not.
// Called by commands (invoke, claim, authorize_tool_call) inside the transaction that records the decision.
// Pure: equal set, input and targets give an equal decision, whatever the order of anything. Never throws: an error denies.
// A policy passes iff allow is true and deny is false; a denial's reason is forbidden > policy_error > not_permitted.

import { type Json, jsonDigest } from "../../kit/json.ts";
import type { Checkpoint } from "../manifests/specs.ts";
import { attachmentKey, EVERYWHERE } from "./compile.ts";
import type {
  AttachmentTarget,
  CompiledPolicy,
  Decision,
  DecisionReason,
  PolicyInput,
  PolicySet,
  PolicyVerdict,
} from "./types.ts";

const PRECEDENCE: readonly DecisionReason[] = ["forbidden", "policy_error", "not_permitted"];

/**
 * Decides one input document against the policies attached to its targets (see targets.ts).
 * No policy attached and the tool not guarded: allowed, with no verdicts.
 */
export function decide(set: PolicySet, input: PolicyInput, targets: readonly AttachmentTarget[]): Decision {
  const base = { checkpoint: input.checkpoint, policyRevision: set.revision, nowMs: input.nowMs };
  try {
    const inputDigest = jsonDigest(inputDocument(input));
    const policies = collect(set, input.checkpoint, targets);
    const judged = policies.map((compiled) => ({ compiled, verdict: judge(compiled, input) }));
    const verdicts = judged.map(({ verdict }) => verdict);
    if (input.tool?.guarded === true && !hasGuard(set, input.checkpoint, input.tool)) {
      return { ...base, ...denial("policy_missing"), verdicts, inputDigest };
    }
    for (const reason of PRECEDENCE) {
      const found = judged.find(({ compiled, verdict }) => compiled.enforcing && verdict.reason === reason);
      if (found !== undefined) return { ...base, ...denial(reason, found.compiled), verdicts, inputDigest };
    }
    return { ...base, allowed: true, reason: "allowed", decidedBy: "", message: "", verdicts, inputDigest };
  } catch {
    return { ...base, ...denial("policy_error"), verdicts: [], inputDigest: "" };
  }
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
  };
}

function denial(reason: DecisionReason, by?: CompiledPolicy) {
  const decidedBy = by === undefined ? "" : `${by.policy.namespace}/${by.policy.name}`;
  const message: unknown = by?.policy.spec?.message;
  return { allowed: false, reason, decidedBy, message: typeof message === "string" ? message : "" };
}

function collect(set: PolicySet, checkpoint: Checkpoint, targets: readonly AttachmentTarget[]): CompiledPolicy[] {
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
  const own = set.attached.get(attachmentKey(checkpoint, target)) ?? [];
  return own.concat(set.attached.get(attachmentKey(checkpoint, { ...target, namespace: EVERYWHERE })) ?? []);
}

// An attachment to the agent or the namespace does not guard a tool: someone must have thought of the tool itself.
function hasGuard(set: PolicySet, checkpoint: Checkpoint, tool: { namespace: string; name: string }): boolean {
  const target = { kind: "Tool", namespace: tool.namespace, name: tool.name } as const;
  return attachedTo(set, checkpoint, target).some((policy) => policy.enforcing);
}

function judge(compiled: CompiledPolicy, input: PolicyInput): PolicyVerdict {
  const { namespace, name, generation, digest } = compiled.policy;
  const reason = reasonOf(compiled, input);
  const mode = compiled.enforcing ? "enforce" : "observe";
  return { namespace, name, generation, digest, mode, passes: reason === "allowed", reason };
}

function reasonOf(compiled: CompiledPolicy, input: PolicyInput): DecisionReason {
  try {
    const deny = compiled.deny(input);
    const allow = compiled.allow(input);
    if (deny === true) return "forbidden";
    if (deny === undefined || allow === undefined) return "policy_error";
    return allow === true && deny === false ? "allowed" : "not_permitted";
  } catch {
    return "policy_error";
  }
}

// Only the fields of the closed schema, and not the time, which is recorded beside the digest.
function inputDocument(input: PolicyInput): Json {
  const { checkpoint, requester, workflow, system, run, agent, tool, args, context } = input;
  const document = { checkpoint, requester, workflow, system, run, context };
  const optional = { ...(agent && { agent }), ...(tool && { tool }), ...(args !== undefined && { args }) };
  return { ...document, ...optional } as unknown as Json;
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
