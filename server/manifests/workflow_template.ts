// The schema of kind WorkflowTemplate: reads its spec with defaults, and writes it back as a manifest's spec.
// Called by kinds.ts. Its block `concurrency` is read by concurrency.ts.
// Never checks a run's parameters or tags: invoke does.

import type { JsonObject } from "../../kit/json.ts";
import { DAY, HOUR, MINUTE, SECOND } from "../../kit/units.ts";
import { concurrencyJson, readConcurrency } from "./concurrency.ts";
import type { Findings } from "./diagnostics.ts";
import { checkSchema, checkTemplate } from "./expressions.ts";
import { compact, Fields, formatDuration, readLabel } from "./fields.ts";
import { readRetry, retryJson, TASK_CLASSES, TASK_RETRY } from "./retry.ts";
import { checkSecrets } from "./secret_rule.ts";
import type { TagSource, WorkflowTemplateSpec } from "./specs.ts";
import type { Tree } from "./tree.ts";

const KEYS = [
  "description",
  "system",
  "parameters",
  "input",
  "output",
  "tags",
  "timeout",
  "cancellation",
  "retry",
  "priority",
  "concurrency",
  "retention",
];
const TAG_NAME = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;
/** What a template's input may read. */
export const INPUT_VARIABLES: readonly string[] = ["params", "tags"];
/** Timeout of a run, from RUNNING, in ms. */
export const RUN_TIMEOUT_MS = 15 * MINUTE;
/** Grace of a cancelled run, in ms. */
export const GRACE_MS = 10 * SECOND;
/** Least grace, in ms. */
export const GRACE_MS_MIN = 3 * SECOND;

/** Bounds of everything that is kept for a time, in ms. */
export const RETENTION_MS = { min: 1 * HOUR, max: 3_650 * DAY } as const;

/** Reads the spec of a WorkflowTemplate; after errors the result only serves to find more of them. */
export function readWorkflowTemplate(findings: Findings, tree: Tree, path: string): WorkflowTemplateSpec | undefined {
  const fields = Fields.of(findings, tree, path, KEYS);
  if (fields === undefined) return undefined;
  const systemTree = fields.required("system");
  const system = systemTree && readLabel(findings, systemTree, fields.at("system"));
  const parameters = readParameters(fields);
  const inputTree = fields.get("input");
  if (inputTree !== undefined) checkTemplate(findings, inputTree, fields.at("input"), INPUT_VARIABLES);
  const input = fields.json("input");
  const concurrency = readConcurrency(fields);
  const retention = readRetention(fields);
  return {
    description: fields.string("description") ?? "",
    system: system ?? "",
    parameters,
    ...(input !== undefined && { input }),
    output: readOutput(fields),
    tags: readTags(fields),
    timeoutMs: fields.duration("timeout", { min: 1 * SECOND, max: 30 * DAY }, RUN_TIMEOUT_MS),
    cancellation: { graceMs: readGrace(fields) },
    retry: readRetry(fields, "retry", TASK_CLASSES, TASK_RETRY),
    priority: fields.oneOf("priority", ["low", "normal", "high"], "normal"),
    ...(concurrency !== undefined && { concurrency }),
    ...(retention !== undefined && { retention }),
  };
}

function readParameters(fields: Fields): JsonObject {
  const tree = fields.get("parameters");
  if (tree === undefined) return { type: "object" };
  const schema = checkSchema(fields.findings, tree, fields.at("parameters"));
  if (schema !== undefined && schema["type"] !== "object") {
    const message = "parameters are an object";
    fields.findings.error("E-SCHEMA", tree.at, fields.at("parameters"), message, "add type: object");
  }
  return schema ?? { type: "object" };
}

function readOutput(parent: Fields): WorkflowTemplateSpec["output"] {
  const tree = parent.get("output");
  const fields = tree && Fields.of(parent.findings, tree, parent.at("output"), ["schema"]);
  const schemaTree = fields?.get("schema");
  const schema = fields && schemaTree && checkSchema(parent.findings, schemaTree, fields.at("schema"));
  return schema === undefined ? {} : { schema };
}

function readGrace(parent: Fields): number {
  const tree = parent.get("cancellation");
  const fields = tree && Fields.of(parent.findings, tree, parent.at("cancellation"), ["grace"]);
  return fields?.duration("grace", { min: GRACE_MS_MIN, max: 1 * HOUR }, GRACE_MS) ?? GRACE_MS;
}

function readRetention(parent: Fields): WorkflowTemplateSpec["retention"] {
  const tree = parent.get("retention");
  const fields = tree && Fields.of(parent.findings, tree, parent.at("retention"), ["runs", "deadLetters"]);
  if (fields === undefined) return undefined;
  const read = (key: string) => (fields.has(key) ? fields.duration(key, RETENTION_MS, RETENTION_MS.min) : undefined);
  const runsMs = read("runs");
  const deadLettersMs = read("deadLetters");
  return { ...(runsMs !== undefined && { runsMs }), ...(deadLettersMs !== undefined && { deadLettersMs }) };
}

function readTags(parent: Fields): Record<string, TagSource> {
  const tags: Record<string, TagSource> = {};
  const tree = parent.get("tags");
  if (tree === undefined) return tags;
  if (tree.kind !== "map") {
    parent.findings.error(
      "E-TYPE",
      tree.at,
      parent.at("tags"),
      "expected a map of tags",
      "write it as {ticket: {from: request}}",
    );
    return tags;
  }
  for (const entry of tree.entries) {
    const path = `${parent.at("tags")}.${entry.key}`;
    if (!TAG_NAME.test(entry.key)) {
      const message = `"${entry.key.slice(0, 80)}" is not a tag name: letters, digits, dots, dashes and _, at most 63`;
      parent.findings.error("E-NAME", entry.at, path, message);
    }
    const tag = readTag(parent.findings, entry.value, path);
    if (tag !== undefined) tags[entry.key] = tag;
  }
  return tags;
}

function readTag(findings: Findings, tree: Tree, path: string): TagSource | undefined {
  const fields = Fields.of(findings, tree, path, ["from", "claim", "value", "required"]);
  if (fields === undefined) return undefined;
  if (!fields.has("from")) fields.missing("from");
  const from = fields.oneOf("from", ["claim", "template", "request"]);
  const owned = { claim: "claim", value: "template", required: undefined } as const;
  for (const [key, owner] of Object.entries(owned)) {
    const wrong = owner === undefined ? from === "template" : owner !== from;
    if (from === undefined || !wrong || !fields.has(key)) continue;
    findings.error(
      "E-UNION",
      fields.positionOf(key),
      fields.at(key),
      `"${key}" does not belong to from: ${from}`,
      "remove it",
    );
  }
  if (from === "claim") {
    const claim = fields.requiredString("claim");
    return claim === undefined ? undefined : { from, claim, required: fields.boolean("required", false) };
  }
  if (from === "template") {
    const value = fields.requiredString("value");
    const valueTree = fields.get("value");
    if (valueTree !== undefined) checkSecrets(findings, valueTree, fields.at("value"), "tags are public");
    return value === undefined ? undefined : { from, value };
  }
  return from === undefined ? undefined : { from, required: fields.boolean("required", false) };
}

/** Spec of a WorkflowTemplate as its manifest would say it, defaults filled in. */
export function workflowTemplateJson(spec: WorkflowTemplateSpec): JsonObject {
  return compact({
    description: spec.description,
    system: spec.system,
    parameters: spec.parameters,
    input: spec.input,
    output: compact({ schema: spec.output.schema }),
    tags: Object.fromEntries(Object.entries(spec.tags).map(([name, tag]) => [name, { ...tag }])),
    timeout: formatDuration(spec.timeoutMs),
    cancellation: { grace: formatDuration(spec.cancellation.graceMs) },
    retry: retryJson(spec.retry),
    priority: spec.priority,
    concurrency: spec.concurrency && concurrencyJson(spec.concurrency),
    retention: spec.retention && retentionJson(spec.retention),
  });
}

function retentionJson({ runsMs, deadLettersMs }: NonNullable<WorkflowTemplateSpec["retention"]>): JsonObject {
  return {
    ...(runsMs !== undefined && { runs: formatDuration(runsMs) }),
    ...(deadLettersMs !== undefined && { deadLetters: formatDuration(deadLettersMs) }),
  };
}
