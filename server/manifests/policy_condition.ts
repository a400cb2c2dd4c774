// Reads condition nodes of policies: exactly one member each, every name and value checked, every expression compiled once.
// Called by policy.ts. What a condition reads is listed by readsOf, for checkpoints and for warnings.
// Never decides: server/policy does.

import { type BoundCondition, compileBoundCondition, referencesOf } from "../../language/condition.ts";
import { compileWindow, type WindowText } from "../../language/time_window.ts";
import type { Findings } from "./diagnostics.ts";
import { Fields, LABEL, readLabel, readString, readStringList, readWord } from "./fields.ts";
import {
  celVariables,
  memberProblem,
  POLICY_VARIABLES,
  parsePath,
  SAMPLE_DOCUMENT,
  SAMPLE_NOW_MS,
} from "./policy_document.ts";
import type { ConditionSpec, MatchValue } from "./specs.ts";
import { describe, positionInside, type ScalarTree, type Tree } from "./tree.ts";

const CONDITION_KEYS = ["all", "any", "not", "match", "time", "cel", "exists", "policyRef"] as const;
const DEPTH_MAX = 16;

/** Matchers with a plain list of values; true: any string is a value, else only these words or names. */
export const LIST_MATCHERS: Readonly<Record<string, readonly string[] | "name" | "text">> = {
  "requester.ids": "text",
  "requester.kinds": ["user", "service", "worker"],
  "requester.groups": "text",
  "agent.names": "name",
  "tool.names": "name",
  "tool.types": ["http", "webhook", "database", "command", "mcp"],
  "tool.effects": ["read", "write", "destructive"],
  "workflow.names": "name",
};
/** Matchers with values by key. */
export const KEYED_MATCHERS = [
  "requester.claims",
  "agent.labels",
  "tool.labels",
  "workflow.labels",
  "context.tags",
  "context.labels",
  "context.metadata",
];
/** Every matcher path. */
export const MATCHERS: readonly string[] = [...Object.keys(LIST_MATCHERS), ...KEYED_MATCHERS];

/** Reads a condition; after errors the result only serves to find more of them. */
export function readCondition(
  findings: Findings,
  tree: Tree | undefined,
  path: string,
  depth = 0,
): ConditionSpec | undefined {
  if (tree === undefined) return undefined;
  if (depth > DEPTH_MAX) {
    findings.error("E-VALUE", tree.at, path, `conditions nest deeper than ${DEPTH_MAX}`, "flatten them");
    return undefined;
  }
  const fields = Fields.of(findings, tree, path, CONDITION_KEYS);
  if (fields === undefined) return undefined;
  const members = CONDITION_KEYS.filter((key) => fields.has(key));
  if (members.length !== 1) {
    const found = members.length === 0 ? "none" : members.join(", ");
    findings.error(
      "E-UNION",
      tree.at,
      path,
      `a condition has exactly one of ${CONDITION_KEYS.join(", ")}; found ${found}`,
      "combine several with all: [ … ]",
    );
  }
  const [member] = members;
  const value = member && fields.get(member);
  if (member === undefined || value === undefined) return undefined;
  const inner = fields.at(member);
  switch (member) {
    case "all":
    case "any":
      return readNodes(fields, member, depth);
    case "not": {
      const not = readCondition(findings, value, inner, depth + 1);
      return not && { not };
    }
    case "match":
      return { match: readMatch(findings, value, inner) };
    case "time":
      return { time: { in: readWindows(findings, value, inner) } };
    case "cel": {
      const cel = readCel(findings, value, inner);
      return cel === undefined ? undefined : { cel };
    }
    case "exists": {
      const exists = readPath(findings, value, inner);
      return exists === undefined ? undefined : { exists };
    }
    case "policyRef": {
      const policyRef = readLabel(findings, value, inner);
      return policyRef === undefined ? undefined : { policyRef };
    }
  }
}

function readNodes(fields: Fields, member: "all" | "any", depth: number): ConditionSpec {
  const items = fields.list(member);
  const list = fields.get(member);
  if (list?.kind === "list" && items.length === 0)
    fields.findings.error("E-VALUE", list.at, fields.at(member), `"${member}" lists no condition`, "add one");
  const conditions = items.flatMap(
    (item, index) => readCondition(fields.findings, item, `${fields.at(member)}[${index}]`, depth + 1) ?? [],
  );
  return member === "all" ? { all: conditions } : { any: conditions };
}

function readMatch(findings: Findings, tree: Tree, path: string): Record<string, MatchValue> {
  const match: Record<string, MatchValue> = {};
  const fields = Fields.of(findings, tree, path, MATCHERS);
  if (fields === undefined) return match;
  if (fields.tree.entries.length === 0)
    findings.error(
      "E-VALUE",
      tree.at,
      path,
      "match names no attribute",
      "for example {requester.groups: [engineering]}",
    );
  for (const entry of fields.tree.entries) {
    const inner = fields.at(entry.key);
    const value = fields.get(entry.key);
    if (value === undefined || !MATCHERS.includes(entry.key)) continue;
    const kind = LIST_MATCHERS[entry.key];
    match[entry.key] =
      kind === undefined ? readKeyed(findings, value, inner) : readValues(findings, value, inner, kind);
  }
  return match;
}

function readValues(findings: Findings, tree: Tree, path: string, kind: readonly string[] | "name" | "text"): string[] {
  if (tree.kind === "list" && tree.items.length === 0) {
    findings.error("E-VALUE", tree.at, path, "no value is listed, so this never matches", "list one");
  }
  const values = readStringList(findings, tree, path);
  if (tree.kind !== "list" || kind === "text") return values;
  for (const [index, item] of tree.items.entries()) {
    if (item.kind !== "scalar" || typeof item.value !== "string") continue;
    if (kind !== "name") readWord(findings, item, `${path}[${index}]`, kind);
    else if (!LABEL.test(item.value)) readLabel(findings, item, `${path}[${index}]`);
  }
  return values;
}

function readKeyed(findings: Findings, tree: Tree, path: string): Record<string, readonly string[]> {
  const values: Record<string, readonly string[]> = {};
  if (tree.kind !== "map") {
    findings.error("E-TYPE", tree.at, path, `expected a map, found ${describe(tree)}`, 'write it as {key: ["value"]}');
    return values;
  }
  if (tree.entries.length === 0)
    findings.error("E-VALUE", tree.at, path, "no key is listed", 'write it as {key: ["value"]}');
  for (const entry of tree.entries)
    values[entry.key] = readValues(findings, entry.value, `${path}.${entry.key}`, "text");
  return values;
}

function readWindows(findings: Findings, tree: Tree, path: string): WindowText[] {
  const fields = Fields.of(findings, tree, path, ["in"]);
  if (fields === undefined) return [];
  if (!fields.has("in")) fields.missing("in");
  const items = fields.list("in");
  if (fields.get("in")?.kind === "list" && items.length === 0)
    findings.error("E-VALUE", tree.at, fields.at("in"), "no window is listed, so this is never true", "list one");
  return items.flatMap((item, index) => readWindow(findings, item, `${fields.at("in")}[${index}]`) ?? []);
}

function readWindow(findings: Findings, tree: Tree, path: string): WindowText | undefined {
  const recurring = tree.kind === "map" && !tree.entries.some(({ key }) => key === "from" || key === "to");
  const keys = recurring ? (["cron", "duration", "timeZone"] as const) : (["from", "to"] as const);
  const fields = Fields.of(findings, tree, path, keys);
  if (fields === undefined) return undefined;
  const before = findings.errors;
  const window: { -readonly [Key in keyof WindowText]: WindowText[Key] } = {};
  for (const key of keys) window[key] = fields.requiredString(key) ?? "";
  if (findings.errors > before || findings.trusted) return window;
  const compiled = compileWindow(window);
  if (!compiled.ok) {
    const { member, error, hint } = compiled;
    findings.error("E-VALUE", fields.get(member)?.at ?? tree.at, fields.at(member), error, hint);
  }
  return window;
}

function readPath(findings: Findings, tree: Tree, path: string): string | undefined {
  const text = readString(findings, tree, path);
  if (text === undefined) return undefined;
  const parsed = parsePath(text);
  if (!parsed.ok) findings.error("E-VALUE", tree.at, path, parsed.error, parsed.hint);
  return text;
}

function readCel(findings: Findings, tree: Tree, path: string): string | undefined {
  const text = readString(findings, tree, path);
  if (text === undefined || findings.trusted) return text;
  const scalar = tree as ScalarTree;
  const compiled = compileBoundCondition(text, POLICY_VARIABLES);
  if (!compiled.ok) {
    const hint = text.includes("${{") ? "remove ${{ and }}: it is bare CEL" : "";
    findings.error("E-EXPRESSION", positionInside(scalar, compiled.offset), path, compiled.error, hint);
    return text;
  }
  checkMembers(findings, scalar, path, compiled.value);
  const result = compiled.value.evaluate(celVariables(SAMPLE_DOCUMENT, SAMPLE_NOW_MS));
  // Keys that the sample lacks say nothing; a result of the wrong type is wrong whatever the values.
  if (!result.ok && result.error.endsWith("not true or false"))
    findings.error("E-CONDITION", scalar.at, path, result.error, 'compare it, as in requester.kind == "user"');
  return text;
}

function checkMembers(findings: Findings, tree: ScalarTree, path: string, { references }: BoundCondition): void {
  for (const { path: members, offset } of references) {
    const problem = memberProblem(members);
    if (problem !== undefined)
      findings.error("E-EXPRESSION", positionInside(tree, offset), path, problem.error, problem.hint);
  }
}

/** Something that a condition reads, and the place of the node that does. */
export interface ConditionRead {
  /** A matcher (requester.groups) or a path (args.amount); the key of a map is its third member. */
  readonly members: readonly string[];
  readonly at: readonly (string | number)[];
}

/** Everything that a condition reads of the document, in file order; library policies are not followed. */
export function readsOf(
  condition: ConditionSpec | undefined,
  at: readonly (string | number)[] = [],
): readonly ConditionRead[] {
  if (condition === undefined) return [];
  const { match, cel, exists } = condition;
  const matched = Object.entries(match ?? {}).flatMap(([matcher, values]): ConditionRead[] => {
    const members = matcher.split(".");
    const place = [...at, "match", matcher];
    if (Array.isArray(values)) return [{ members, at: place }];
    return Object.keys(values).map((key) => ({ members: [...members, key], at: [...place, key] }));
  });
  const read = cel === undefined ? [] : referencesOf(cel).map(({ path }) => ({ members: path, at: [...at, "cel"] }));
  const path = exists === undefined ? undefined : parsePath(exists);
  const tested = path?.ok ? [{ members: path.members, at: [...at, "exists"] }] : [];
  return [
    ...matched,
    ...read,
    ...tested,
    ...childrenOf(condition).flatMap(([key, node]) => readsOf(node, [...at, ...key])),
  ];
}

/** Names of library policies that a condition uses, with the places where it does. */
export function policyRefsOf(
  condition: ConditionSpec | undefined,
  at: readonly (string | number)[] = [],
): readonly { readonly name: string; readonly path: readonly (string | number)[] }[] {
  if (condition === undefined) return [];
  const own = condition.policyRef === undefined ? [] : [{ name: condition.policyRef, path: [...at, "policyRef"] }];
  return [...own, ...childrenOf(condition).flatMap(([key, node]) => policyRefsOf(node, [...at, ...key]))];
}

function childrenOf(condition: ConditionSpec): [readonly (string | number)[], ConditionSpec][] {
  const listed = (["all", "any"] as const).flatMap((member) =>
    (condition[member] ?? []).map((node, index): [(string | number)[], ConditionSpec] => [[member, index], node]),
  );
  return condition.not === undefined ? listed : [...listed, [["not"], condition.not]];
}
