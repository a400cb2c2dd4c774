// The schema of kind Policy, first form: match, all, any, not; attached by name; enforced. Reads and writes its spec.
// Called by kinds.ts. Features of later versions are refused (E-NOT-YET): a policy that is only partly understood is no policy.
// Never decides: server/policy does.

import type { JsonObject } from "../../kit/json.ts";
import type { Findings } from "./diagnostics.ts";
import { compact, Fields, LABEL, notYet, readLabel, readStringList, readWord } from "./fields.ts";
import {
  type AttachmentKind,
  CHECKPOINTS,
  type Checkpoint,
  type ConditionSpec,
  type MatchValue,
  type PolicySpec,
} from "./specs.ts";
import { describe, type Tree } from "./tree.ts";

const KEYS = ["mode", "attachTo", "checkpoints", "allow", "deny", "limits", "message", "description"];
const CONDITION_KEYS = ["all", "any", "not", "match", "time", "cel", "exists", "policyRef"] as const;
const ATTACHMENT_KINDS = ["Tool", "Agent", "AgentSystem", "WorkflowTemplate", "Namespace"] as const;
const DEPTH_MAX = 16;

/** Matchers with a plain list of values; true: any string is a value, else only these words or names. */
const LIST_MATCHERS: Readonly<Record<string, readonly string[] | "name" | "text">> = {
  "requester.ids": "text",
  "requester.kinds": ["user", "service", "worker"],
  "requester.groups": "text",
  "agent.names": "name",
  "tool.names": "name",
  "tool.types": ["http", "webhook", "database", "command", "mcp"],
  "tool.effects": ["read", "write", "destructive"],
  "workflow.names": "name",
};
const KEYED_MATCHERS = [
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

/** Checkpoints at which the first part of a matcher path exists. */
const EXISTS_AT: Readonly<Record<string, readonly Checkpoint[]>> = {
  requester: CHECKPOINTS,
  workflow: CHECKPOINTS,
  context: CHECKPOINTS,
  agent: ["agent.run", "tool.call"],
  tool: ["tool.call"],
};
/** Checkpoints that an attachment reaches. */
const REACHES: Readonly<Record<AttachmentKind, readonly Checkpoint[]>> = {
  Tool: ["tool.call"],
  Agent: ["agent.run", "tool.call"],
  AgentSystem: CHECKPOINTS,
  WorkflowTemplate: CHECKPOINTS,
  Namespace: CHECKPOINTS,
};

/** Reads the spec of a Policy; after errors the result only serves to find more of them. */
export function readPolicy(findings: Findings, tree: Tree, path: string): PolicySpec | undefined {
  const fields = Fields.of(findings, tree, path, KEYS);
  if (fields === undefined) return undefined;
  if (fields.oneOf("mode", ["enforce", "observe"], "enforce") === "observe") fields.notYet("mode", "mode: observe");
  fields.notYet("limits");
  const attachTo = readAttachments(fields);
  const allow = readCondition(findings, fields.get("allow"), fields.at("allow"));
  const deny = readCondition(findings, fields.get("deny"), fields.at("deny"));
  if (!fields.has("allow") && !fields.has("deny")) {
    findings.error("E-MISSING", tree.at, path, "a policy needs `allow` or `deny`", "add one of them");
  }
  const reads = [...matchersOf(allow), ...matchersOf(deny)];
  return {
    description: fields.string("description") ?? "",
    mode: "enforce",
    attachTo,
    checkpoints: readCheckpoints(fields, attachTo, reads),
    ...(allow && { allow }),
    ...(deny && { deny }),
    message: fields.string("message") ?? "",
  };
}

function readAttachments(parent: Fields): PolicySpec["attachTo"] {
  const tree = parent.get("attachTo");
  const path = parent.at("attachTo");
  if (!parent.has("attachTo")) parent.missing("attachTo");
  if (tree?.kind === "list" && tree.items.length === 0)
    notYet(parent.findings, tree.at, path, "a library policy (attachTo: [])");
  const attachments: { kind: AttachmentKind; name: string }[] = [];
  for (const [index, item] of parent.list("attachTo").entries()) {
    const fields = Fields.of(parent.findings, item, `${path}[${index}]`, ["kind", "name", "selector"]);
    if (fields === undefined) continue;
    fields.notYet("selector", "attachment by selector");
    if (!fields.has("kind")) fields.missing("kind");
    const kind = fields.oneOf("kind", ATTACHMENT_KINDS);
    const nameTree = fields.has("selector") ? undefined : fields.required("name");
    const name = nameTree && readLabel(parent.findings, nameTree, fields.at("name"));
    if (kind !== undefined && name !== undefined) attachments.push({ kind, name });
  }
  return attachments;
}

/** Checkpoints of a policy that declares none: all that its attachments reach and at which everything it reads exists. */
export function defaultCheckpoints(attachTo: PolicySpec["attachTo"], reads: readonly string[]): Checkpoint[] {
  return CHECKPOINTS.filter(
    (checkpoint) =>
      reads.every((matcher) => existsAt(matcher, checkpoint)) &&
      (attachTo.length === 0 || attachTo.some(({ kind }) => REACHES[kind].includes(checkpoint))),
  );
}

function existsAt(matcher: string, checkpoint: Checkpoint): boolean {
  return EXISTS_AT[matcher.split(".")[0] as string]?.includes(checkpoint) ?? true;
}

function readCheckpoints(
  fields: Fields,
  attachTo: PolicySpec["attachTo"],
  reads: readonly string[],
): readonly Checkpoint[] {
  const tree = fields.get("checkpoints");
  const path = fields.at("checkpoints");
  if (tree === undefined) return defaultCheckpoints(attachTo, reads);
  const items = fields.list("checkpoints");
  if (tree.kind === "list" && items.length === 0)
    fields.findings.error(
      "E-CHECKPOINT",
      tree.at,
      path,
      "the policy is decided at no checkpoint",
      `name one of ${CHECKPOINTS.join(", ")}`,
    );
  const checkpoints = new Set<Checkpoint>();
  for (const [index, item] of items.entries()) {
    const inner = `${path}[${index}]`;
    const checkpoint = readWord(fields.findings, item, inner, CHECKPOINTS);
    if (checkpoint === undefined) continue;
    checkpoints.add(checkpoint);
    const unreached = attachTo.find(({ kind }) => !REACHES[kind].includes(checkpoint));
    if (unreached !== undefined) {
      const message = `${checkpoint} is out of reach of an attachment to ${unreached.kind} ${unreached.name}`;
      fields.findings.error(
        "E-CHECKPOINT",
        item.at,
        inner,
        message,
        `it reaches ${REACHES[unreached.kind].join(", ")}`,
      );
    }
    const absent = reads.find((matcher) => !existsAt(matcher, checkpoint));
    if (absent !== undefined) {
      const message = `the policy reads ${absent}, which does not exist at ${checkpoint}`;
      fields.findings.error(
        "E-CHECKPOINT",
        item.at,
        inner,
        message,
        `it exists at ${EXISTS_AT[absent.split(".")[0] as string]?.join(", ")}`,
      );
    }
  }
  return CHECKPOINTS.filter((checkpoint) => checkpoints.has(checkpoint));
}

function readCondition(findings: Findings, tree: Tree | undefined, path: string, depth = 0): ConditionSpec | undefined {
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
  for (const key of ["time", "cel", "exists", "policyRef"]) fields.notYet(key, `the condition "${key}"`);
  const [member] = members;
  if (member === "all" || member === "any") {
    const items = fields.list(member);
    const list = fields.get(member);
    if (list?.kind === "list" && items.length === 0)
      findings.error("E-VALUE", list.at, fields.at(member), `"${member}" lists no condition`, "add one");
    const conditions = items.flatMap(
      (item, index) => readCondition(findings, item, `${fields.at(member)}[${index}]`, depth + 1) ?? [],
    );
    return member === "all" ? { all: conditions } : { any: conditions };
  }
  if (member === "not") {
    const inner = readCondition(findings, fields.get("not"), fields.at("not"), depth + 1);
    return inner && { not: inner };
  }
  const matchTree = fields.get("match");
  return member === "match" && matchTree !== undefined
    ? { match: readMatch(findings, matchTree, fields.at("match")) }
    : undefined;
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

/** Matcher paths that a condition reads. */
export function matchersOf(condition: ConditionSpec | undefined): string[] {
  if (condition === undefined) return [];
  const inner = [...(condition.all ?? []), ...(condition.any ?? []), ...(condition.not ? [condition.not] : [])];
  return [...Object.keys(condition.match ?? {}), ...inner.flatMap(matchersOf)];
}

/** Spec of a Policy as its manifest would say it; checkpoints only where they are not the default. */
export function policyJson(spec: PolicySpec): JsonObject {
  const fallback = defaultCheckpoints(spec.attachTo, [...matchersOf(spec.allow), ...matchersOf(spec.deny)]);
  const declared = fallback.join() === spec.checkpoints.join() ? undefined : [...spec.checkpoints];
  return compact({
    description: spec.description,
    mode: spec.mode,
    attachTo: spec.attachTo.map(({ kind, name }) => ({ kind, name })),
    checkpoints: declared,
    allow: spec.allow as JsonObject | undefined,
    deny: spec.deny as JsonObject | undefined,
    message: spec.message,
  });
}
