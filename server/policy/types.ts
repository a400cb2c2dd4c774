// What a decision is made of and what it says. Semantics: docs/policy.md.
// Built by commands from live resources and authenticated facts; decided by evaluate.ts of this room.

import type { Json } from "../../kit/json.ts";
import type { Activation } from "../../language/condition.ts";
import type { AttachmentKind, Checkpoint, LimitSpec, PolicySpec } from "../manifests/specs.ts";

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
  readonly system: {
    readonly name: string;
    readonly namespace: string;
    readonly labels: Readonly<Record<string, string>>;
  };
  /** Systems that the system contains: their policies count for the whole run. Conditions do not see them. */
  readonly systems?: readonly {
    readonly name: string;
    readonly namespace: string;
    readonly labels: Readonly<Record<string, string>>;
  }[];
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
  /** Set when a tool is decided before anybody calls it: what depends on args is left open. */
  readonly argsDeferred?: true;
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
  | "limit_exceeded"
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
  /** What an allowed workflow or tool call counts against; empty for denials and while args are deferred. */
  readonly counts: readonly LimitUse[];
  /** Once the limits were looked at: what was counted, or the limit that was full. */
  readonly counted?: readonly LimitCount[];
}

/** One count of one limit. */
export interface LimitUse {
  /** "namespace/name". */
  readonly policy: string;
  readonly limit: string;
  /** Digest of the values at the limit's key. */
  readonly keyDigest: string;
  readonly max: number;
  /** Begin of the window, ms since the epoch. */
  readonly windowStartMs: number;
  readonly windowMs: number;
  /** The policy's message for the requester. */
  readonly message: string;
}

/** A limit with what its counter shows after the decision. */
export type LimitCount = LimitUse & { readonly count: number };

/** Value of a condition: true, false, or undefined for Unknown (Kleene's third value). */
export type Truth = boolean | undefined;

/** What conditions are evaluated on. */
export interface Scope {
  readonly input: PolicyInput;
  /** Bound variables of CEL, made at the first use. @throws RangeError if a list of the document is too long */
  variables(): Activation;
  /** Values of library policies that were evaluated already. */
  readonly libraries: Map<object, Truth>;
}

/** A condition, compiled: parsed once, evaluated many times. */
export interface CompiledCondition {
  readonly how: "all" | "any" | "not" | "leaf" | "policyRef";
  /** Policy that it is written in, "namespace/name", and its place in that manifest. */
  readonly policy: string;
  readonly at: readonly (string | number)[];
  /** Paths of the document that a leaf reads. */
  readonly reads: readonly string[];
  readonly nodes: readonly CompiledCondition[];
  /** What the manifest says there: listed values, a window, an expression, a path, the name of a library policy. */
  readonly written?: unknown;
  /** True for a leaf that is never Unknown at the checkpoints at which it may be decided. */
  readonly sure?: boolean;
  /** Why a leaf is Unknown, where it is not for what it reads being absent. @throws RangeError as Scope.variables */
  whyUnknown?(scope: Scope): string;
  /**
   * @param want what a leaf answers that depends on arguments nobody knows yet: the value that helps the policy to pass.
   */
  evaluate(scope: Scope, want: boolean): Truth;
}

/** A policy with its conditions compiled. */
export interface CompiledPolicy {
  readonly policy: LivePolicy;
  readonly enforcing: boolean;
  /** Absent condition: allow counts as true, deny as false. */
  readonly allow: CompiledCondition;
  readonly deny: CompiledCondition;
  readonly limits: readonly CompiledLimit[];
}

/** A limit with its paths read. */
export interface CompiledLimit extends LimitSpec {
  readonly paths: readonly (readonly string[])[];
}

/** A policy that is attached by labels. */
export interface SelectedPolicy {
  readonly policy: CompiledPolicy;
  readonly name?: string;
  readonly labels: readonly (readonly [string, string])[];
}

/** Policies, compiled and indexed by what they are attached to. Made once for each policy revision; see compile.ts. */
export interface PolicySet {
  readonly revision: string;
  /** Number of policies in the set, library policies included. */
  readonly size: number;
  /** By attachmentKey(checkpoint, target); the key of a policy in `system` has "*" for the namespace. */
  readonly attached: ReadonlyMap<string, readonly CompiledPolicy[]>;
  /** By selectionKey(checkpoint, kind, namespace): policies that are attached by labels. */
  readonly selected: ReadonlyMap<string, readonly SelectedPolicy[]>;
  /** Policies whose attachment cannot be read, by the namespace that they reach ("*": all). They deny there. */
  readonly unreadable: ReadonlyMap<string, readonly CompiledPolicy[]>;
  /** Checkpoints at which some policy is decided; what cannot be read is decided at all of them. */
  readonly decidedAt: ReadonlySet<Checkpoint>;
  /** What becomes of something that no enforcing policy decides. */
  readonly unattached: "allow" | "deny";
}

/** A thing that a policy may be attached to. */
export interface AttachmentTarget {
  readonly kind: AttachmentKind;
  readonly namespace: string;
  readonly name: string;
  /** Labels that it has now; namespaces have none. */
  readonly labels?: Readonly<Record<string, string>>;
}
