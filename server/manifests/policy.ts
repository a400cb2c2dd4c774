// The schema of kind Policy: reads its spec with defaults, and writes it back as a manifest's spec.
// Called by kinds.ts. Conditions are read by policy_condition.ts. A policy that is only partly understood is refused.
// Never decides: server/policy does.

import type { JsonObject } from "../../kit/json.ts";
import { DAY, MINUTE } from "../../kit/units.ts";
import type { Findings } from "./diagnostics.ts";
import { compact, Fields, formatDuration, readLabel, readString, readWord } from "./fields.ts";
import { readCondition, readsOf } from "./policy_condition.ts";
import { checkpointsOf, parsePath } from "./policy_document.ts";
import {
  type AttachmentKind,
  type AttachmentSpec,
  CHECKPOINTS,
  type Checkpoint,
  type LimitSpec,
  type PolicySpec,
} from "./specs.ts";
import type { Tree } from "./tree.ts";

const KEYS = ["mode", "attachTo", "checkpoints", "allow", "deny", "limits", "message", "description"];
const ATTACHMENT_KINDS = ["Tool", "Agent", "AgentSystem", "WorkflowTemplate", "Namespace"] as const;
/** Limits of one policy at most. */
const LIMITS_MAX = 8;
/** Paths of one limit's key at most. */
const KEY_PATHS_MAX = 8;
/** Checkpoints at which something is counted. */
export const COUNTED: readonly Checkpoint[] = ["workflow.run", "tool.call"];

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
  const attachTo = readAttachments(fields);
  const allow = readCondition(findings, fields.get("allow"), fields.at("allow"));
  const deny = readCondition(findings, fields.get("deny"), fields.at("deny"));
  if (!fields.has("allow") && !fields.has("deny")) {
    findings.error("E-MISSING", tree.at, path, "a policy needs `allow` or `deny`", "add one of them");
  }
  const limits = readLimits(fields);
  const conditions = { ...(allow && { allow }), ...(deny && { deny }), limits };
  const checkpoints = readCheckpoints(fields, attachTo, pathsReadBy(conditions));
  checkLimits(fields, { attachTo, checkpoints, limits });
  return {
    description: fields.string("description") ?? "",
    mode: fields.oneOf("mode", ["enforce", "observe"], "enforce"),
    attachTo,
    checkpoints,
    ...conditions,
    message: fields.string("message") ?? "",
  };
}

function readAttachments(parent: Fields): AttachmentSpec[] {
  const path = parent.at("attachTo");
  if (!parent.has("attachTo")) parent.missing("attachTo");
  const attachments: AttachmentSpec[] = [];
  for (const [index, item] of parent.list("attachTo").entries()) {
    const fields = Fields.of(parent.findings, item, `${path}[${index}]`, ["kind", "name", "selector"]);
    if (fields === undefined) continue;
    if (!fields.has("kind")) fields.missing("kind");
    const kind = fields.oneOf("kind", ATTACHMENT_KINDS);
    const selector = fields.has("selector") ? readSelector(fields, kind) : undefined;
    const nameTree = selector === undefined ? fields.required("name") : fields.get("name");
    const name = nameTree && readLabel(parent.findings, nameTree, fields.at("name"));
    if (kind !== undefined && (name !== undefined || selector !== undefined))
      attachments.push({ kind, ...(name !== undefined && { name }), ...(selector && { selector }) });
  }
  return attachments;
}

// An empty selector would fit everything, which a Namespace says better.
function readSelector(fields: Fields, kind: AttachmentKind | undefined): Record<string, string> {
  const at = fields.positionOf("selector");
  const path = fields.at("selector");
  const selector = fields.strings("selector");
  if (kind === "Namespace") {
    fields.findings.error("E-VALUE", at, path, "namespaces have no labels to select by", "give the name");
  } else if (fields.get("selector")?.kind === "map" && Object.keys(selector).length === 0) {
    fields.findings.error("E-VALUE", at, path, "the selector names no label", "for example {risk: high}");
  }
  return selector;
}

function readLimits(parent: Fields): LimitSpec[] {
  const names = new Set<string>();
  const items = parent.list("limits");
  if (items.length > LIMITS_MAX) {
    const message = `a policy has at most ${LIMITS_MAX} limits`;
    parent.findings.error("E-VALUE", parent.positionOf("limits"), parent.at("limits"), message, "split it");
  }
  return items.flatMap((item, index) => {
    const fields = Fields.of(parent.findings, item, `${parent.at("limits")}[${index}]`, [
      "name",
      "key",
      "max",
      "window",
    ]);
    if (fields === undefined) return [];
    for (const key of ["max", "window"]) if (!fields.has(key)) fields.missing(key);
    const nameTree = fields.required("name");
    const name = nameTree && readLabel(parent.findings, nameTree, fields.at("name"));
    if (name !== undefined && names.has(name)) {
      const message = `the limit "${name}" is given twice`;
      parent.findings.error("E-DUPLICATE", fields.positionOf("name"), fields.at("name"), message, "rename one");
    }
    if (name !== undefined) names.add(name);
    const max = fields.integer("max", { min: 1, max: 1_000_000_000 }, 1);
    const windowMs = fields.duration("window", { min: MINUTE, max: 31 * DAY }, MINUTE);
    return name === undefined ? [] : [{ name, key: readKey(fields), max, windowMs }];
  });
}

function readKey(fields: Fields): string[] {
  if (!fields.has("key")) fields.missing("key");
  const items = fields.list("key");
  if (items.length > KEY_PATHS_MAX) {
    const message = `a key has at most ${KEY_PATHS_MAX} paths`;
    fields.findings.error("E-VALUE", fields.positionOf("key"), fields.at("key"), message, "leave some out");
  }
  return items.flatMap((item, index) => {
    const inner = `${fields.at("key")}[${index}]`;
    const text = readString(fields.findings, item, inner);
    const parsed = text === undefined ? undefined : parsePath(text);
    if (parsed?.ok === false) fields.findings.error("E-VALUE", item.at, inner, parsed.error, parsed.hint);
    return text === undefined || parsed?.ok !== true ? [] : [text];
  });
}

function checkLimits(fields: Fields, spec: Pick<PolicySpec, "attachTo" | "checkpoints" | "limits">): void {
  if (spec.limits.length === 0) return;
  const refuse = (message: string, hint: string) =>
    fields.findings.error("E-CHECKPOINT", fields.positionOf("limits"), fields.at("limits"), message, hint);
  if (fields.get("attachTo")?.kind === "list" && fields.list("attachTo").length === 0)
    refuse("a library policy counts nothing", "put the limits into the policies that use it");
  else if (spec.checkpoints.length > 0 && !spec.checkpoints.some((checkpoint) => COUNTED.includes(checkpoint)))
    refuse("nothing is counted at the checkpoints of this policy", `limits count at ${COUNTED.join(", ")}`);
}

/** Checkpoints of a policy that declares none: all that its attachments reach and at which everything it reads exists. */
export function defaultCheckpoints(attachTo: PolicySpec["attachTo"], reads: readonly string[]): Checkpoint[] {
  return CHECKPOINTS.filter(
    (checkpoint) =>
      reads.every((path) => checkpointsOf(path).includes(checkpoint)) &&
      (attachTo.length === 0 || attachTo.some(({ kind }) => REACHES[kind].includes(checkpoint))),
  );
}

/** Paths that a policy reads: matchers, and paths of the document. */
export function pathsReadBy(spec: Pick<PolicySpec, "allow" | "deny" | "limits">): string[] {
  const reads = [...readsOf(spec.allow), ...readsOf(spec.deny)].map(({ members }) => members.join("."));
  return [...reads, ...spec.limits.flatMap(({ key }) => key)];
}

function readCheckpoints(
  fields: Fields,
  attachTo: PolicySpec["attachTo"],
  reads: readonly string[],
): readonly Checkpoint[] {
  const tree = fields.get("checkpoints");
  const path = fields.at("checkpoints");
  if (tree === undefined) return withoutCheckpoint(fields, defaultCheckpoints(attachTo, reads), reads);
  const items = fields.list("checkpoints");
  if (tree.kind === "list" && items.length === 0) {
    const hint = `name one of ${CHECKPOINTS.join(", ")}`;
    fields.findings.error("E-CHECKPOINT", tree.at, path, "the policy is decided at no checkpoint", hint);
  }
  const checkpoints = new Set<Checkpoint>();
  for (const [index, item] of items.entries()) {
    const inner = `${path}[${index}]`;
    const checkpoint = readWord(fields.findings, item, inner, CHECKPOINTS);
    if (checkpoint === undefined) continue;
    checkpoints.add(checkpoint);
    const unreached = attachTo.find(({ kind }) => !REACHES[kind].includes(checkpoint));
    if (unreached !== undefined) {
      const message = `${checkpoint} is out of reach of an attachment to ${nameOf(unreached)}`;
      const hint = `it reaches ${REACHES[unreached.kind].join(", ")}`;
      fields.findings.error("E-CHECKPOINT", item.at, inner, message, hint);
    }
    const absent = reads.find((read) => !checkpointsOf(read).includes(checkpoint));
    if (absent !== undefined) {
      const message = `the policy reads ${absent}, which does not exist at ${checkpoint}`;
      const hint = `it exists at ${checkpointsOf(absent).join(", ")}`;
      fields.findings.error("E-CHECKPOINT", item.at, inner, message, hint);
    }
  }
  return CHECKPOINTS.filter((checkpoint) => checkpoints.has(checkpoint));
}

// A policy that is never decided would look like one that guards.
function withoutCheckpoint(fields: Fields, checkpoints: Checkpoint[], reads: readonly string[]): Checkpoint[] {
  if (checkpoints.length > 0 || reads.length === 0) return checkpoints;
  const message = `the policy is decided nowhere: what it reads (${[...new Set(reads)].join(", ")}) does not exist where it is attached`;
  fields.findings.error(
    "E-CHECKPOINT",
    fields.positionOf("attachTo"),
    fields.at("attachTo"),
    message,
    "attach it elsewhere",
  );
  return checkpoints;
}

function nameOf({ kind, name, selector }: AttachmentSpec): string {
  return `${kind} ${name ?? JSON.stringify(selector)}`;
}

/** Spec of a Policy as its manifest would say it; checkpoints only where they are not the default. */
export function policyJson(spec: PolicySpec): JsonObject {
  const fallback = defaultCheckpoints(spec.attachTo, pathsReadBy(spec));
  const declared = fallback.join() === spec.checkpoints.join() ? undefined : [...spec.checkpoints];
  const limits = spec.limits.map(({ windowMs, ...limit }) => ({ ...limit, window: formatDuration(windowMs) }));
  return compact({
    description: spec.description,
    mode: spec.mode,
    attachTo: spec.attachTo.map(({ kind, name, selector }) =>
      compact({ kind, name, selector: selector && { ...selector } }),
    ),
    checkpoints: declared,
    allow: spec.allow as JsonObject | undefined,
    deny: spec.deny as JsonObject | undefined,
    limits: limits.length === 0 ? undefined : (limits as unknown as JsonObject[]),
    message: spec.message,
  });
}
