// What a decision is made of and what it says. Semantics: docs/policy.md.
// Built by commands from live resources and authenticated facts; decided by evaluate.ts of this room.

import type { Json } from "../../kit/json.ts";
import type { AttachmentKind, Checkpoint, PolicySpec } from "../manifests/specs.ts";

/** A policy as it is stored now. */
export interface LivePolicy {
  readonly namespace: string;
  readonly name: string;
  readonly generation: number;
  readonly digest: string;
  readonly spec: PolicySpec;
}

/** Authenticated asker. */
export interface Requester {
  readonly id: string;
  readonly kind: "user" | "service" | "worker";
  readonly groups: readonly string[];
  readonly claims: Readonly<Record<string, string>>;
}

/** The closed input document. agent is set from agent.run on, tool and args at tool.call only. */
export interface PolicyInput {
  readonly checkpoint: Checkpoint;
  readonly requester: Requester;
  readonly workflow: {
    readonly name: string;
    readonly namespace: string;
    readonly labels: Readonly<Record<string, string>>;
  };
  readonly system: { readonly name: string; readonly namespace: string };
  readonly run: { readonly id: string };
  readonly agent?: {
    readonly name: string;
    readonly namespace: string;
    readonly labels: Readonly<Record<string, string>>;
  };
  readonly tool?: {
    readonly name: string;
    readonly namespace: string;
    readonly type: string;
    readonly effect: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly guarded: boolean;
  };
  readonly args?: Json;
  readonly context: {
    readonly tags: Readonly<Record<string, string>>;
    readonly labels: Readonly<Record<string, string>>;
    readonly metadata: Readonly<Record<string, string>>;
  };
  /** Database time of the decision, ms since the epoch. */
  readonly nowMs: number;
}

/** Why something was refused; "allowed" when it was not. */
export type DecisionReason =
  | "allowed"
  | "forbidden"
  | "policy_error"
  | "not_permitted"
  | "policy_missing"
  | "undeclared"
  | "invalid_args"
  | "stale_lease";

/** How one policy judged. */
export interface PolicyVerdict {
  readonly namespace: string;
  readonly name: string;
  readonly generation: number;
  readonly digest: string;
  readonly mode: "enforce" | "observe";
  readonly passes: boolean;
  readonly reason: DecisionReason;
}

/** The decision, complete enough to be recorded and explained. */
export interface Decision {
  readonly checkpoint: Checkpoint;
  readonly allowed: boolean;
  readonly reason: DecisionReason;
  /** Policy that decided a denial, "namespace/name"; empty otherwise. */
  readonly decidedBy: string;
  /** The deciding policy's message for the requester; empty if none. */
  readonly message: string;
  /** Every policy evaluated, sorted by namespace and name. */
  readonly verdicts: readonly PolicyVerdict[];
  /** Digest of the input document. */
  readonly inputDigest: string;
  readonly policyRevision: string;
  readonly nowMs: number;
}

/** Value of a condition: true, false, or undefined for Unknown (Kleene's third value). */
export type Truth = boolean | undefined;

/** A condition, compiled: parsed once, evaluated many times. */
export type CompiledCondition = (input: PolicyInput) => Truth;

/** A policy with its conditions compiled. */
export interface CompiledPolicy {
  readonly policy: LivePolicy;
  readonly enforcing: boolean;
  /** Absent condition: allow counts as true, deny as false. */
  readonly allow: CompiledCondition;
  readonly deny: CompiledCondition;
}

/** Policies, compiled and indexed by what they are attached to. Made once for each policy revision; see compile.ts. */
export interface PolicySet {
  readonly revision: string;
  /** Number of policies in the set, library policies included. */
  readonly size: number;
  /** By attachmentKey(checkpoint, target); the key of a policy in `system` has "*" for the namespace. */
  readonly attached: ReadonlyMap<string, readonly CompiledPolicy[]>;
  /** Policies whose attachment cannot be read, by the namespace that they reach ("*": all). They deny there. */
  readonly unreadable: ReadonlyMap<string, readonly CompiledPolicy[]>;
}

/** A thing that a policy may be attached to. */
export interface AttachmentTarget {
  readonly kind: AttachmentKind;
  readonly namespace: string;
  readonly name: string;
}
