// Compiles a condition of a policy into a tree of functions that answer true, false or Unknown (undefined).
// Called by compile.ts, once a policy and revision; evaluated by evaluate.ts, walked by explain.ts.
// Kleene: Unknown never becomes true by negation. Absent key, wrong type, or error is Unknown; membership in a present list is not.
// What cannot be read (an unknown matcher, an empty node, two members at once) compiles to Unknown, never to a throw.

import { isJsonObject } from "../../kit/json.ts";
import { compileBoundCondition } from "../../language/condition.ts";
import { compileWindow, type WindowText } from "../../language/time_window.ts";
import { isOptional, POLICY_VARIABLES, parsePath, valueAt } from "../manifests/policy_document.ts";
import type { ConditionSpec } from "../manifests/specs.ts";
import type { CompiledCondition, PolicyInput, Scope, Truth } from "./types.ts";

type Place = readonly (string | number)[];

/** Where conditions are compiled: the policy they are written in, and the library policies it may use. */
export interface CompileContext {
  /** "namespace/name". */
  readonly policy: string;
  /** allow ∧ ¬deny of a library policy; undefined if there is none, or if it uses itself. */
  library(name: string): Library | undefined;
}

/** A library policy, compiled. */
export interface Library {
  readonly allow: CompiledCondition;
  readonly deny: CompiledCondition;
}

// Matchers that list values, with the path that they read. An attribute with one value counts as a list of one.
const LISTED = new Map<string, readonly [string, (input: PolicyInput) => unknown]>([
  ["requester.ids", ["requester.id", (input) => input.requester.id]],
  ["requester.kinds", ["requester.kind", (input) => input.requester.kind]],
  ["requester.groups", ["requester.groups", (input) => input.requester.groups]],
  ["agent.names", ["agent.name", (input) => input.agent?.name]],
  ["tool.names", ["tool.name", (input) => input.tool?.name]],
  ["tool.types", ["tool.type", (input) => input.tool?.type]],
  ["tool.effects", ["tool.effect", (input) => input.tool?.effect]],
  ["workflow.names", ["workflow.name", (input) => input.workflow.name]],
]);

// Matchers that list values a key.
const KEYED = new Map<string, (input: PolicyInput) => unknown>([
  ["requester.claims", (input) => input.requester.claims],
  ["agent.labels", (input) => input.agent?.labels],
  ["tool.labels", (input) => input.tool?.labels],
  ["workflow.labels", (input) => input.workflow.labels],
  ["context.tags", (input) => input.context.tags],
  ["context.labels", (input) => input.context.labels],
  ["context.metadata", (input) => input.context.metadata],
]);

/** A condition of one value. */
export function constant(
  value: Truth,
  policy = "",
  at: Place = [],
  whyUnknown = "it cannot be read",
): CompiledCondition {
  const base = { how: "leaf", policy, at, reads: [], nodes: [], evaluate: () => value } as const;
  return value === undefined ? { ...base, whyUnknown: () => whyUnknown } : base;
}

/** True if a leaf reads arguments, which nobody knows yet while they are deferred. */
export function readsArgs({ reads }: Pick<CompiledCondition, "reads">): boolean {
  return reads.some((path) => path === "args" || path.startsWith("args."));
}

/** allow or deny of a policy: what is absent is true of allow and false of deny. */
export function compileRoot(
  spec: { readonly allow?: ConditionSpec; readonly deny?: ConditionSpec },
  member: "allow" | "deny",
  context: CompileContext,
): CompiledCondition {
  const written = spec[member];
  if (written === undefined) return constant(member === "allow", context.policy, ["spec"]);
  return compileCondition(written, context, ["spec", member]);
}

/** Compiles one condition node; what is not exactly one known, non-empty member is Unknown. */
export function compileCondition(spec: ConditionSpec, context: CompileContext, at: Place): CompiledCondition {
  const unknown = constant(undefined, context.policy, at);
  const stored: unknown = spec;
  if (!isJsonObject(stored)) return unknown;
  const [member, ...more] = Object.keys(spec).filter((key) => spec[key as keyof ConditionSpec] !== undefined);
  if (member === undefined || more.length > 0) return unknown;
  const inner = [...at, member];
  const nodes = (list: readonly ConditionSpec[]) =>
    list.map((node, index) => compileCondition(node, context, [...inner, index]));
  if (member === "all" && isFilled(spec.all)) return every(nodes(spec.all), context.policy, inner);
  if (member === "any" && isFilled(spec.any)) return some(nodes(spec.any), context.policy, inner);
  if (member === "not" && spec.not !== undefined) {
    return negation(compileCondition(spec.not, context, inner), context.policy, inner);
  }
  if (member === "match" && isJsonObject(spec.match)) {
    const leaves = Object.entries(spec.match).flatMap(([path, values]) => compileMatcher(path, values, context, inner));
    return leaves.length === 0 ? unknown : every(leaves, context.policy, inner);
  }
  if (member === "time") return compileTime(spec.time, context, inner);
  if (member === "cel" && typeof spec.cel === "string") return compileCel(spec.cel, context, inner);
  if (member === "exists" && typeof spec.exists === "string") return compileExists(spec.exists, context, inner);
  if (member === "policyRef" && typeof spec.policyRef === "string") return compileRef(spec.policyRef, context, inner);
  return unknown;
}

function leaf(
  context: CompileContext,
  at: Place,
  of: Pick<CompiledCondition, "reads" | "written" | "sure" | "whyUnknown">,
  evaluate: (scope: Scope) => Truth,
): CompiledCondition {
  const base = { how: "leaf", policy: context.policy, at, nodes: [], ...of } as const;
  const deferrable = readsArgs(of);
  return {
    ...base,
    evaluate(scope, want) {
      if (deferrable && scope.input.argsDeferred === true) return want;
      try {
        return evaluate(scope);
      } catch {
        return undefined;
      }
    },
  };
}

function compileMatcher(path: string, values: unknown, context: CompileContext, at: Place): CompiledCondition[] {
  const place = [...at, path];
  const unknown = constant(undefined, context.policy, place);
  const listed = LISTED.get(path);
  if (listed !== undefined) {
    const wanted = stringSet(values);
    if (wanted === undefined) return [unknown];
    const [reads, read] = listed;
    const of = { reads: [reads], written: values, sure: true };
    return [leaf(context, place, of, ({ input }) => isListed(read(input), wanted))];
  }
  const readKeyed = KEYED.get(path);
  if (readKeyed === undefined || !isJsonObject(values)) return [unknown];
  const leaves = Object.entries(values).map(([key, list]): CompiledCondition => {
    const wanted = stringSet(list);
    const inner = [...place, key];
    if (wanted === undefined) return constant(undefined, context.policy, inner);
    const of = { reads: [`${path}.${key}`], written: list };
    return leaf(context, inner, of, ({ input }) => isListed(ownValue(readKeyed(input), key), wanted));
  });
  return leaves.length === 0 ? [unknown] : leaves;
}

function compileTime(time: unknown, context: CompileContext, at: Place): CompiledCondition {
  const windows = isJsonObject(time) && Array.isArray(time["in"]) ? time["in"] : [];
  const leaves = windows.map((window: unknown, index) => {
    const place = [...at, "in", index];
    const compiled = isJsonObject(window) ? compileWindow(window as WindowText) : undefined;
    if (compiled?.ok !== true) return constant(undefined, context.policy, place);
    const of = { reads: ["now"], written: window, sure: true };
    return leaf(context, place, of, ({ input }) => compiled.value.contains(input.nowMs));
  });
  return leaves.length === 0 ? constant(undefined, context.policy, at) : some(leaves, context.policy, at);
}

function compileCel(text: string, context: CompileContext, at: Place): CompiledCondition {
  const compiled = compileBoundCondition(text, POLICY_VARIABLES);
  if (!compiled.ok) return constant(undefined, context.policy, at);
  const reads = [...new Set(compiled.value.references.map(({ path }) => path.join(".")))];
  const evaluate = (scope: Scope) => compiled.value.evaluate(scope.variables());
  const whyUnknown = (scope: Scope) => {
    const result = evaluate(scope);
    return result.ok ? "" : result.error;
  };
  const sure = !compiled.value.references.some(
    ({ tested, known, path }) => !tested && known < path.length && isOptional(path),
  );
  return leaf(context, at, { reads, written: text, sure, whyUnknown }, (scope) => {
    const result = evaluate(scope);
    return result.ok ? result.value : undefined;
  });
}

function compileExists(path: string, context: CompileContext, at: Place): CompiledCondition {
  const parsed = parsePath(path);
  if (!parsed.ok) return constant(undefined, context.policy, at);
  const of = { reads: [path], written: path, sure: true };
  return leaf(context, at, of, ({ input }) => valueAt(input, parsed.members) !== undefined);
}

// What a library policy says is kept for the decision: many that use many would otherwise take for ever.
function compileRef(name: string, context: CompileContext, at: Place): CompiledCondition {
  const library = context.library(name);
  if (library === undefined) {
    const why = `no library policy "${name}" can be used: it is missing, attached itself, or part of a circle`;
    return constant(undefined, context.policy, at, why);
  }
  const passes = [library.allow, negation(library.deny, library.deny.policy, library.deny.at)];
  const both = every(passes, context.policy, at);
  return {
    ...both,
    how: "policyRef",
    written: name,
    nodes: passes,
    evaluate(scope, want) {
      const key = want ? library.allow : library.deny;
      if (!scope.libraries.has(key)) scope.libraries.set(key, both.evaluate(scope, want));
      return scope.libraries.get(key);
    },
  };
}

function isListed(value: unknown, wanted: ReadonlySet<string>): Truth {
  if (typeof value === "string") return wanted.has(value);
  if (!Array.isArray(value)) return undefined;
  return value.some((item) => typeof item === "string" && wanted.has(item));
}

// Own keys only: a claim named "constructor" that nobody has must be absent, not a function.
function ownValue(map: unknown, key: string): unknown {
  if (!isJsonObject(map) || !Object.hasOwn(map, key)) return undefined;
  const value = map[key];
  return typeof value === "string" ? value : undefined;
}

function stringSet(values: unknown): ReadonlySet<string> | undefined {
  if (!Array.isArray(values) || !values.every((value) => typeof value === "string")) return undefined;
  return new Set(values);
}

function isFilled(nodes: unknown): nodes is readonly ConditionSpec[] {
  return Array.isArray(nodes) && nodes.length > 0;
}

function every(nodes: readonly CompiledCondition[], policy: string, at: Place): CompiledCondition {
  return {
    ...{ how: "all", policy, at, reads: [], nodes },
    evaluate(scope, want) {
      let unknown = false;
      for (const node of nodes) {
        const value = node.evaluate(scope, want);
        if (value === false) return false;
        if (value === undefined) unknown = true;
      }
      return unknown ? undefined : true;
    },
  };
}

function some(nodes: readonly CompiledCondition[], policy: string, at: Place): CompiledCondition {
  return {
    ...{ how: "any", policy, at, reads: [], nodes },
    evaluate(scope, want) {
      let unknown = false;
      for (const node of nodes) {
        const value = node.evaluate(scope, want);
        if (value === true) return true;
        if (value === undefined) unknown = true;
      }
      return unknown ? undefined : false;
    },
  };
}

function negation(node: CompiledCondition, policy: string, at: Place): CompiledCondition {
  return {
    ...{ how: "not", policy, at, reads: [], nodes: [node] },
    evaluate(scope, want) {
      const value = node.evaluate(scope, !want);
      return value === undefined ? undefined : !value;
    },
  };
}
