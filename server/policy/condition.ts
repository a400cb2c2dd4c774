// Compiles a condition of a policy into a function that answers true, false or Unknown (undefined).
// Called by compile.ts, once a policy and revision; the functions are called by evaluate.ts.
// Kleene: Unknown never becomes true by negation. Absent key or wrong type is Unknown; membership in a present list is not.
// What cannot be read (an unknown matcher, an empty node, two members at once) compiles to Unknown, never to a throw.

import { isJsonObject } from "../../kit/json.ts";
import type { ConditionSpec } from "../manifests/specs.ts";
import type { CompiledCondition, PolicyInput, Truth } from "./types.ts";

/** The condition nobody can read. */
export const UNKNOWN: CompiledCondition = () => undefined;

// Matchers that list values. An attribute with one value counts as a list of one.
const LISTED = new Map<string, (input: PolicyInput) => unknown>([
  ["requester.ids", (input) => input.requester.id],
  ["requester.kinds", (input) => input.requester.kind],
  ["requester.groups", (input) => input.requester.groups],
  ["agent.names", (input) => input.agent?.name],
  ["tool.names", (input) => input.tool?.name],
  ["tool.types", (input) => input.tool?.type],
  ["tool.effects", (input) => input.tool?.effect],
  ["workflow.names", (input) => input.workflow.name],
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

/** Compiles one condition node; what is not exactly one known, non-empty member compiles to UNKNOWN. */
export function compileCondition(spec: ConditionSpec): CompiledCondition {
  const stored: unknown = spec;
  if (!isJsonObject(stored)) return UNKNOWN;
  const [member, ...more] = Object.keys(spec).filter((key) => spec[key as keyof ConditionSpec] !== undefined);
  if (more.length > 0) return UNKNOWN;
  if (member === "all" && isFilled(spec.all)) return every(spec.all.map(compileCondition));
  if (member === "any" && isFilled(spec.any)) return some(spec.any.map(compileCondition));
  if (member === "not" && spec.not !== undefined) return negation(compileCondition(spec.not));
  if (member === "match" && isJsonObject(spec.match)) {
    const leaves = Object.entries(spec.match).map(([path, values]) => compileMatcher(path, values));
    return leaves.length === 0 ? UNKNOWN : every(leaves);
  }
  return UNKNOWN;
}

function compileMatcher(path: string, values: unknown): CompiledCondition {
  const readListed = LISTED.get(path);
  if (readListed !== undefined) {
    const wanted = stringSet(values);
    return wanted === undefined ? UNKNOWN : (input) => isListed(readListed(input), wanted);
  }
  const readKeyed = KEYED.get(path);
  if (readKeyed === undefined || !isJsonObject(values)) return UNKNOWN;
  const leaves = Object.entries(values).map(([key, listed]): CompiledCondition => {
    const wanted = stringSet(listed);
    return wanted === undefined ? UNKNOWN : (input) => isListed(ownValue(readKeyed(input), key), wanted);
  });
  return leaves.length === 0 ? UNKNOWN : every(leaves);
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

function every(nodes: readonly CompiledCondition[]): CompiledCondition {
  if (nodes.length === 1) return nodes[0] as CompiledCondition;
  return (input) => {
    let unknown = false;
    for (const node of nodes) {
      const value = node(input);
      if (value === false) return false;
      if (value === undefined) unknown = true;
    }
    return unknown ? undefined : true;
  };
}

function some(nodes: readonly CompiledCondition[]): CompiledCondition {
  return (input) => {
    let unknown = false;
    for (const node of nodes) {
      const value = node(input);
      if (value === true) return true;
      if (value === undefined) unknown = true;
    }
    return unknown ? undefined : false;
  };
}

function negation(node: CompiledCondition): CompiledCondition {
  return (input) => {
    const value = node(input);
    return value === undefined ? undefined : !value;
  };
}
