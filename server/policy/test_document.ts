// The schema of a policy test (*.policytest.yaml): requesters and targets as fixtures, a frozen time, cases with what is expected.
// Called by test_folder.ts with trees that passed the gate of manifests. Every error has its place; what is wrong is left out.
// Never looks at a manifest: test_fixtures.ts does.

import { isJsonObject, type JsonObject } from "../../kit/json.ts";
import { readInstant } from "../../language/time_window.ts";
import { didYouMean, type Findings, type Position } from "../manifests/diagnostics.ts";
import { Fields, readLabel, readString, readStringList } from "../manifests/fields.ts";
import { API_VERSION, DEFAULT_NAMESPACE } from "../manifests/kinds.ts";
import type { Tree } from "../manifests/tree.ts";
import type { DecisionReason, Requester } from "./types.ts";

/** A fixture with its name and place. */
export interface Fixture<Value> {
  readonly name: string;
  readonly at: Position;
  readonly value: Value;
}

/** What is asked for: a workflow, an agent in it, or a tool that the agent calls. */
export interface TestTarget {
  readonly workflow: string;
  readonly agent?: string;
  readonly tool?: string;
  /** Absent: the tool is decided whatever the arguments are, as before an agent starts. */
  readonly args?: JsonObject;
  /** As the caller sets them; those with another source come from it. */
  readonly tags: Readonly<Record<string, string>>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Reasons that a case may expect: all that a denial without a lease may have. */
export const TESTED_REASONS = [
  ...(["forbidden", "policy_error", "not_permitted", "policy_missing"] as const),
  ...(["limit_exceeded", "undeclared", "invalid_args"] as const),
] satisfies readonly DecisionReason[];

/** What a case expects. */
export interface Expected {
  readonly verdict: "allow" | "deny";
  /** Absent: any. */
  readonly reason?: DecisionReason;
  /** "namespace/name" of the deciding policy; absent: any. */
  readonly decidedBy?: string;
}

/** Every pair of its requesters and targets, with what is expected of each. */
export interface TestCase {
  readonly at: Position;
  readonly requesters: readonly string[];
  readonly targets: readonly string[];
  readonly nowMs: number;
  /** How often was counted before, by "policy/limit" or "namespace/policy/limit". */
  readonly used: Readonly<Record<string, number>>;
  readonly expected: Expected;
}

/** A policy test. */
export interface PolicyTest {
  readonly file: string;
  readonly name: string;
  readonly namespace: string;
  readonly nowMs: number;
  readonly requesters: readonly Fixture<Requester>[];
  readonly targets: readonly Fixture<TestTarget>[];
  readonly cases: readonly TestCase[];
}

/** Reads a document; undefined, with the reasons in findings, if it is no sound policy test. */
export function readPolicyTest(findings: Findings, tree: Tree): PolicyTest | undefined {
  const before = findings.errors;
  const fields = Fields.of(findings, tree, "", ["apiVersion", "kind", "metadata", "spec"]);
  if (fields === undefined) return undefined;
  for (const key of ["apiVersion", "kind"]) if (!fields.has(key)) fields.missing(key);
  fields.oneOf("apiVersion", [API_VERSION]);
  fields.oneOf("kind", ["PolicyTest"]);
  const metadata = mapAt(fields, "metadata", ["name", "namespace"]);
  const name = metadata && labelAt(metadata, "name", true);
  const namespace = (metadata && labelAt(metadata, "namespace")) ?? DEFAULT_NAMESPACE;
  const spec = mapAt(fields, "spec", ["description", "now", "requesters", "targets", "cases"]);
  if (spec === undefined) return undefined;
  spec.string("description");
  const nowMs = instantAt(spec, "now", true) ?? 0;
  const requesters = fixturesAt(spec, "requesters", readRequester);
  const targets = fixturesAt(spec, "targets", readTarget);
  const cases = readCases(spec, { nowMs, namespace, requesters, targets });
  if (name === undefined || findings.errors > before) return undefined;
  return { file: findings.file, name, namespace, nowMs, requesters, targets, cases };
}

function mapAt(parent: Fields, key: string, known: readonly string[]): Fields | undefined {
  const tree = parent.required(key);
  return tree && Fields.of(parent.findings, tree, parent.at(key), known);
}

function labelAt(fields: Fields, key: string, required = false): string | undefined {
  const tree = required ? fields.required(key) : fields.get(key);
  return tree && readLabel(fields.findings, tree, fields.at(key));
}

function instantAt(fields: Fields, key: string, required = false): number | undefined {
  const text = required ? fields.requiredString(key) : fields.string(key);
  if (text === undefined) return undefined;
  const ms = readInstant(text);
  if (ms === undefined) {
    const message = `"${text.slice(0, 80)}" is not a time with an offset`;
    fields.findings.error("E-VALUE", fields.positionOf(key), fields.at(key), message, "as in 2026-03-02T10:00:00Z");
  }
  return ms;
}

function fixturesAt<Value>(
  spec: Fields,
  key: string,
  read: (findings: Findings, tree: Tree, path: string, name: string) => Value | undefined,
): Fixture<Value>[] {
  const tree = spec.required(key);
  if (tree === undefined) return [];
  const path = spec.at(key);
  const entries = tree.kind === "map" ? tree.entries : [];
  if (entries.length === 0) {
    spec.findings.error("E-VALUE", tree.at, path, `"${key}" names none`, "write it as {name: {…}}");
  }
  return entries.flatMap((entry) => {
    const value = read(spec.findings, entry.value, `${path}.${entry.key}`, entry.key);
    return value === undefined ? [] : [{ name: entry.key, at: entry.at, value }];
  });
}

function readRequester(findings: Findings, tree: Tree, path: string, name: string): Requester | undefined {
  const fields = Fields.of(findings, tree, path, ["id", "kind", "groups", "claims"]);
  if (fields === undefined) return undefined;
  const groups = fields.get("groups");
  return {
    id: fields.string("id") ?? name,
    kind: fields.oneOf("kind", ["user", "service", "worker"], "user"),
    groups: groups === undefined ? [] : readStringList(findings, groups, fields.at("groups")),
    claims: fields.strings("claims"),
  };
}

function readTarget(findings: Findings, tree: Tree, path: string): TestTarget | undefined {
  const fields = Fields.of(findings, tree, path, ["workflow", "agent", "tool", "args", "tags", "metadata"]);
  if (fields === undefined) return undefined;
  for (const [key, other] of [
    ["tool", "agent"],
    ["args", "tool"],
  ] as const) {
    if (!fields.has(key) || fields.has(other)) continue;
    const message = `"${key}" needs "${other}"`;
    findings.error("E-MISSING", fields.positionOf(key), fields.at(other), message, `add the ${other}`);
  }
  const workflow = labelAt(fields, "workflow", true);
  const agent = labelAt(fields, "agent");
  const tool = fields.string("tool");
  const args = fields.json("args");
  if (args !== undefined && !isJsonObject(args)) {
    findings.error("E-TYPE", fields.positionOf("args"), fields.at("args"), "arguments are a map", "as in {amount: 5}");
  }
  return workflow === undefined
    ? undefined
    : {
        workflow,
        ...(agent !== undefined && { agent }),
        ...(tool !== undefined && { tool }),
        ...(isJsonObject(args) && { args }),
        tags: fields.strings("tags"),
        metadata: fields.strings("metadata"),
      };
}

type Context = Pick<PolicyTest, "nowMs" | "namespace" | "requesters" | "targets">;

const CASE_KEYS = ["requester", "target", "now", "used", "expect", "reason", "decidedBy", "description"];

function readCases(spec: Fields, context: Context): TestCase[] {
  spec.required("cases");
  const items = spec.list("cases");
  if (spec.get("cases")?.kind === "list" && items.length === 0) {
    spec.findings.error("E-VALUE", spec.positionOf("cases"), spec.at("cases"), "no case is listed", "list one");
  }
  const seen = new Map<string, Position>();
  return items.flatMap((item, index) => {
    const fields = Fields.of(spec.findings, item, `${spec.at("cases")}[${index}]`, CASE_KEYS);
    const found = fields && readCase(fields, context);
    if (fields === undefined || found === undefined) return [];
    reportTwice(fields, found, seen);
    return [found];
  });
}

function readCase(fields: Fields, context: Context): TestCase | undefined {
  fields.string("description");
  const requesters = namesAt(fields, "requester", context.requesters);
  const targets = namesAt(fields, "target", context.targets);
  if (!fields.has("expect")) fields.missing("expect");
  const verdict = fields.oneOf("expect", ["allow", "deny"]);
  const reason = fields.oneOf("reason", TESTED_REASONS);
  const decidedBy = fields.string("decidedBy");
  const excess = ["reason", "decidedBy"].find((key) => fields.has(key));
  if (verdict === "allow" && excess !== undefined) {
    const message = "what is allowed has no reason and no deciding policy";
    fields.findings.error("E-VALUE", fields.positionOf(excess), fields.at(excess), message, "remove it");
  }
  const nowMs = instantAt(fields, "now") ?? context.nowMs;
  const used = readUsed(fields);
  if (verdict === undefined) return undefined;
  const full = decidedBy?.includes("/") === false ? `${context.namespace}/${decidedBy}` : decidedBy;
  const expected = { verdict, ...(reason && { reason }), ...(full !== undefined && { decidedBy: full }) };
  return { at: fields.tree.at, requesters, targets, nowMs, used, expected };
}

function namesAt(fields: Fields, key: string, fixtures: readonly Fixture<unknown>[]): string[] {
  const tree = fields.required(key);
  if (tree === undefined) return [];
  const items = tree.kind === "list" ? tree.items : [tree];
  const known = fixtures.map(({ name }) => name);
  if (items.length === 0) {
    fields.findings.error("E-VALUE", tree.at, fields.at(key), `no ${key} is named`, `one of ${known.join(", ")}`);
  }
  return items.flatMap((item, index) => {
    const path = tree.kind === "list" ? `${fields.at(key)}[${index}]` : fields.at(key);
    const name = readString(fields.findings, item, path);
    if (name === undefined || known.includes(name)) return name ?? [];
    const hint = didYouMean(name, known) || `known: ${known.join(", ")}`;
    fields.findings.error("E-REFERENCE", item.at, path, `there is no ${key} "${name.slice(0, 80)}"`, hint);
    return [];
  });
}

function readUsed(fields: Fields): Record<string, number> {
  const used: Record<string, number> = {};
  const tree = fields.get("used");
  if (tree === undefined) return used;
  const path = fields.at("used");
  if (tree.kind !== "map") {
    fields.findings.error("E-TYPE", tree.at, path, "expected a map", "write it as {policy/limit: 3}");
    return used;
  }
  for (const { key, at, value } of tree.entries) {
    const count = value.kind === "scalar" ? value.value : undefined;
    if (!/^[^/]+(\/[^/]+){1,2}$/.test(key)) {
      fields.findings.error("E-NAME", at, `${path}.${key}`, `"${key}" is not a limit`, "write it as policy/limit");
    } else if (typeof count !== "number" || !Number.isInteger(count) || count < 0) {
      fields.findings.error("E-TYPE", value.at, `${path}.${key}`, "a count is a whole number from 0");
    } else used[key] = count;
  }
  return used;
}

function reportTwice(fields: Fields, found: TestCase, seen: Map<string, Position>): void {
  for (const requester of found.requesters) {
    for (const target of found.targets) {
      const key = JSON.stringify([requester, target, found.nowMs, found.used]);
      const first = seen.get(key);
      if (first === undefined) seen.set(key, found.at);
      else {
        const message = `${requester} × ${target} at this time is listed before, in line ${first.line}`;
        fields.findings.error("E-DUPLICATE", found.at, fields.path, message, "remove one");
      }
    }
  }
}
