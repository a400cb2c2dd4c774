// Explains a decision: the tree of every policy with the value of each node, what it reads and what it finds there, and the node
// that decides. Called by commands (explain, can) and by the runner of policy tests. Pure; takes the decision from decide.
// Evaluates every node, also those that a decision need not look at. A library policy is told once, where it is used first.

import { isJsonObject, type Json, jsonDigest } from "../../kit/json.ts";
import { parsePath, valueAt } from "../manifests/policy_document.ts";
import { readsArgs } from "./condition.ts";
import { decide, limitDenial, policiesFor } from "./evaluate.ts";
import { documentOf, scopeOf } from "./scope.ts";
import type {
  AttachmentTarget,
  CompiledCondition,
  CompiledPolicy,
  Decision,
  LimitUse,
  PolicyInput,
  PolicySet,
  PolicyVerdict,
  Scope,
} from "./types.ts";

/** Longest value that an explanation shows, in characters of JSON; a longer one is replaced by its digest and length. */
export const FOUND_CHARS_MAX = 2_000;

/** Value of a node; open: it depends on arguments that nobody knows yet, and counts as what lets the policy pass. */
export type NodeValue = "true" | "false" | "unknown" | "open";

/** A place in a manifest, as keys and indexes. */
export type ManifestPlace = readonly (string | number)[];

/** A field of the document that a node reads. */
export interface FieldRead {
  readonly path: string;
  /** Absent: the document has nothing there. */
  readonly found?: Json;
}

/** A condition with its value. */
export interface ExplainedNode {
  readonly how: CompiledCondition["how"];
  readonly value: NodeValue;
  /** Policy that it is written in, "namespace/name", and where. */
  readonly policy: string;
  readonly at: ManifestPlace;
  readonly path: string;
  /** What the manifest says there; absent for nodes that only combine others. */
  readonly written?: Json;
  readonly reads: readonly FieldRead[];
  /** Why it is unknown; empty otherwise. */
  readonly why: string;
  readonly nodes: readonly ExplainedNode[];
  /** True for a use of a library policy that was told before; its nodes are left out. */
  readonly toldBefore: boolean;
  /** True for a leaf that is never unknown where it may be decided. */
  readonly sure: boolean;
}

/** A limit of a policy with its key. */
export interface ExplainedLimit {
  readonly name: string;
  readonly path: string;
  readonly max: number;
  readonly windowMs: number;
  readonly key: readonly FieldRead[];
  /** How often it was counted in the window of the decision; absent if nothing is counted or nobody knows. */
  readonly used?: number;
}

/** Where a policy says no. */
export interface DecidingPlace {
  readonly policy: string;
  readonly at: ManifestPlace;
  readonly path: string;
  /** Absent for a limit, and for a policy that cannot be read at all. */
  readonly node?: ExplainedNode;
}

/** A policy with its verdict and the values that it comes from. */
export interface ExplainedPolicy {
  readonly verdict: PolicyVerdict;
  readonly allow?: ExplainedNode;
  readonly deny?: ExplainedNode;
  readonly limits: readonly ExplainedLimit[];
  /** Absent if it passes. */
  readonly because?: DecidingPlace;
}

/** A decision with everything that it comes from. */
export interface Explanation {
  readonly decision: Decision;
  /** Every policy evaluated, sorted by namespace and name. */
  readonly policies: readonly ExplainedPolicy[];
  /** Where the policy that decided a denial says so; absent when no policy did. */
  readonly deciding?: DecidingPlace;
}

/**
 * Decides and explains; see the file header. Nothing is counted.
 *
 * @param used how often something was counted before; undefined if nobody knows, which leaves limits out of the decision.
 */
export function explain(
  set: PolicySet,
  input: PolicyInput,
  targets: readonly AttachmentTarget[],
  used: (use: LimitUse) => number | undefined = () => undefined,
): Explanation {
  const judged = decide(set, input, targets);
  const counts = judged.counts.map((use) => ({ ...use, count: used(use) ?? 0 }));
  const exceeded = counts.find(({ count, max }) => count >= max);
  const decision = exceeded === undefined ? judged : limitDenial(judged, exceeded);
  const teller = new Teller(input);
  const policies = policiesFor(set, input.checkpoint, targets).map((compiled) => {
    const name = nameOf(compiled);
    const verdict = judged.verdicts.find((each) => `${each.namespace}/${each.name}` === name);
    const own = judged.counts.filter((use) => use.policy === name);
    const told = teller.policy(compiled, verdict ?? unreadable(compiled), (limit) => {
      const use = own.find((each) => each.limit === limit);
      return use && used(use);
    });
    const refusing =
      exceeded?.policy === name
        ? exceeded.limit
        : decision.decidedBy === name && verdict?.passes === true
          ? unkeyed(told.limits)
          : undefined;
    return refusing === undefined ? told : { ...told, because: limitPlace(compiled, refusing) };
  });
  const deciding = policies.find(
    ({ verdict }) => decision.decidedBy === `${verdict.namespace}/${verdict.name}`,
  )?.because;
  return { decision, policies, ...(deciding && { deciding }) };
}

/** Text of a place: spec.allow.any[0].match.requester.groups */
export function placeText(at: ManifestPlace): string {
  return at.map((part, index) => (typeof part === "number" ? `[${part}]` : `${index > 0 ? "." : ""}${part}`)).join("");
}

class Teller {
  readonly #input: PolicyInput;
  readonly #scope: Scope;
  readonly #document: object;
  readonly #toldLibraries = new Set<object>();

  constructor(input: PolicyInput) {
    this.#input = input;
    this.#scope = scopeOf(input);
    this.#document = documentOf(input);
  }

  policy(
    compiled: CompiledPolicy,
    verdict: PolicyVerdict,
    usedOf: (limit: string) => number | undefined,
  ): ExplainedPolicy {
    const allow = isWritten(compiled.allow) ? this.#node(compiled.allow, true) : undefined;
    const deny = isWritten(compiled.deny) ? this.#node(compiled.deny, false) : undefined;
    const limits = compiled.limits.map(({ name, key, max, windowMs }, index): ExplainedLimit => {
      const used = usedOf(name);
      const path = placeText(["spec", "limits", index]);
      return {
        name,
        path,
        max,
        windowMs,
        key: key.map((each) => this.#read(each)),
        ...(used !== undefined && { used }),
      };
    });
    const because = verdict.passes ? undefined : becauseOf(verdict, allow, deny);
    return { verdict, ...(allow && { allow }), ...(deny && { deny }), limits, ...(because && { because }) };
  }

  #node(node: CompiledCondition, want: boolean): ExplainedNode {
    const toldBefore = node.how === "policyRef" && this.#wasTold(node);
    const inner = node.how === "not" ? !want : want;
    const nodes = toldBefore ? [] : node.nodes.filter(isTold).map((child) => this.#node(child, inner));
    const value = this.#value(node, want);
    const reads = node.reads.map((path) => this.#read(path));
    return {
      ...{ how: node.how, value, policy: node.policy, at: node.at, path: placeText(node.at) },
      ...(node.written !== undefined && { written: shown(node.written as Json) }),
      ...{ reads, why: value === "unknown" ? this.#why(node, reads) : "", nodes, toldBefore },
      sure: node.sure === true,
    };
  }

  // Uses of one library policy share its compiled conditions.
  #wasTold({ nodes: [library] }: CompiledCondition): boolean {
    if (library === undefined) return false;
    const told = this.#toldLibraries.has(library);
    this.#toldLibraries.add(library);
    return told;
  }

  #value(node: CompiledCondition, want: boolean): NodeValue {
    if (node.how === "leaf" && this.#input.argsDeferred === true && readsArgs(node)) return "open";
    const value = node.evaluate(this.#scope, want);
    return value === undefined ? "unknown" : value ? "true" : "false";
  }

  #read(path: string): FieldRead {
    const found = this.#find(path);
    return found === undefined ? { path } : { path, found: shown(found) };
  }

  #find(path: string): Json | undefined {
    if (path === "now") return new Date(this.#input.nowMs).toISOString();
    const parsed = parsePath(path);
    const value = valueAt(this.#document, parsed.ok ? parsed.members : path.split("."));
    return value as Json | undefined;
  }

  #why(node: CompiledCondition, reads: readonly FieldRead[]): string {
    if (node.how !== "leaf") return "";
    try {
      if (node.whyUnknown !== undefined) return node.whyUnknown(this.#scope);
    } catch (error) {
      return (error as Error).message;
    }
    const absent = reads.find(({ found }) => found === undefined);
    return absent === undefined ? "what it reads is of the wrong type" : `${absent.path} is absent`;
  }
}

// What a manifest leaves out is a constant at its `spec`.
function isWritten({ at }: CompiledCondition): boolean {
  return at.length !== 1;
}

// allow ∧ ¬deny of a library policy, as far as it says them.
function isTold(node: CompiledCondition): boolean {
  return isWritten(node.how === "not" && node.nodes[0] !== undefined ? node.nodes[0] : node);
}

function becauseOf(verdict: PolicyVerdict, allow?: ExplainedNode, deny?: ExplainedNode): DecidingPlace {
  const policy = `${verdict.namespace}/${verdict.name}`;
  const wanted = verdict.reason === "forbidden" ? "true" : verdict.reason === "policy_error" ? "unknown" : "false";
  const root = [deny, allow].find((node) => node?.value === wanted && (wanted !== "false" || node === allow));
  if (root === undefined) return { policy, at: ["spec"], path: "spec" };
  const node = responsible(root);
  return { policy: node.policy || policy, at: node.at, path: node.path, node };
}

/** The innermost node that a value comes from; a node whose value takes several of its nodes is that itself. */
function responsible(node: ExplainedNode): ExplainedNode {
  const [first, ...others] = node.nodes;
  if (first === undefined) return node;
  if (others.length === 0) return responsible(first);
  const decisive = node.how === "any" ? "true" : "false";
  if (node.value !== decisive && node.value !== "unknown") return node;
  const found = node.nodes.find((child) => child.value === node.value);
  return found === undefined ? node : responsible(found);
}

// The value of a key that is absent makes the limit, and so the policy, an error.
function unkeyed(limits: readonly ExplainedLimit[]): string | undefined {
  return limits.find(({ key }) => key.some(({ found }) => found === undefined))?.name;
}

function limitPlace(compiled: CompiledPolicy, limit: string): DecidingPlace {
  const at = ["spec", "limits", compiled.limits.findIndex(({ name }) => name === limit)];
  return { policy: nameOf(compiled), at, path: placeText(at) };
}

function nameOf({ policy }: CompiledPolicy): string {
  return `${policy.namespace}/${policy.name}`;
}

function unreadable({ policy, enforcing }: CompiledPolicy): PolicyVerdict {
  const { namespace, name, generation, digest } = policy;
  const mode = enforcing ? "enforce" : "observe";
  return { namespace, name, generation, digest, mode, passes: false, reason: "policy_error" };
}

function shown(value: Json): Json {
  const text = JSON.stringify(value);
  if (text.length <= FOUND_CHARS_MAX) return value;
  const kind = Array.isArray(value) ? "list" : isJsonObject(value) ? "map" : typeof value;
  return { omitted: kind, characters: text.length, digest: jsonDigest(value) };
}
