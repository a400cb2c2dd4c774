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
  readonly workflow: { readonly name: string; readonly namespace: string; readonly labels: Readonly<Record<string, string>> };
  readonly system: { readonly name: string; readonly namespace: string };
  readonly run: { readonly id: string };
  readonly agent?: { readonly name: string; readonly namespace: string; readonly labels: Readonly<Record<string, string>> };
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

/** Policies, compiled and indexed by what they are attached to. Made once for each policy revision. */
export interface PolicySet {
  readonly revision: string;
  /** Policies attached to a target and evaluated at a checkpoint; see evaluate.ts. */
  readonly size: number;
}

/** A thing that a policy may be attached to. */
export interface AttachmentTarget {
  readonly kind: AttachmentKind;
  readonly namespace: string;
  readonly name: string;
}
