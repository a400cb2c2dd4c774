// The schema of kind Agent: reads its spec with defaults, and writes it back as a manifest's spec.
// Called by kinds.ts. All errors in one pass; what is not known is refused, never ignored.
// Never resolves the tools it names: references.ts does.

import type { Json, JsonObject } from "../../kit/json.ts";
import { HOUR, KIB, MIB, MINUTE } from "../../kit/units.ts";
import { compileSchema } from "../../language/json_schema.ts";
import { checkLimits, checkRuntime, readRuntimeBlock, runtimeJson, takesTurns } from "./agent_blocks.ts";
import { AGENT_RUNTIMES } from "./agent_spec.ts";
import type { Findings } from "./diagnostics.ts";
import { checkSchema, checkTemplate } from "./expressions.ts";
import { compact, Fields, formatDuration, readLabel, readString } from "./fields.ts";
import { modelJson, readModel } from "./model.ts";
import { readRetry, retryJson, TASK_CLASSES, TASK_RETRY } from "./retry.ts";
import { checkSecrets } from "./secret_rule.ts";
import type { AgentSpec, AgentTool } from "./specs.ts";
import type { Tree } from "./tree.ts";

const KEYS = [
  "description",
  "runtime",
  "model",
  "http",
  "command",
  "handler",
  "systemPrompt",
  "prompt",
  "tools",
  "inputSchema",
  "outputSchema",
  "repairAttempts",
  "limits",
  "errorHandling",
  "requirements",
];
const ALIAS = /^[a-z][a-z0-9_-]{0,62}$/;
/** Limits of an agent that declares none. */
export const AGENT_LIMITS: AgentSpec["limits"] = {
  maxTurns: 8,
  maxToolCalls: 16,
  timeoutMs: 2 * MINUTE,
  maxOutputBytes: 64 * KIB,
};

/** Reads the spec of an Agent; after errors the result only serves to find more of them. */
export function readAgent(findings: Findings, tree: Tree, path: string): AgentSpec | undefined {
  const fields = Fields.of(findings, tree, path, KEYS);
  if (fields === undefined) return undefined;
  const runtime = readRuntime(fields);
  const modelTree = fields.get("model");
  const model = modelTree === undefined ? undefined : readModel(findings, modelTree, fields.at("model"));
  const prompt = fields.string("prompt");
  const promptTree = fields.get("prompt");
  if (prompt !== undefined && promptTree !== undefined)
    checkTemplate(findings, promptTree, fields.at("prompt"), ["input"]);
  const systemPrompt = fields.string("systemPrompt") ?? "";
  if (systemPrompt.includes("${{")) {
    const hint = "put it into prompt";
    findings.warning(
      "W-NOT-TEMPLATE",
      fields.positionOf("systemPrompt"),
      fields.at("systemPrompt"),
      "systemPrompt is not a template: ${{ stays as it is",
      hint,
    );
  }
  const schemas = readSchemas(fields);
  const repairAttempts = fields.integer("repairAttempts", { min: 0, max: 10 }, 0);
  return {
    description: fields.string("description") ?? "",
    runtime,
    ...(model && { model }),
    ...readRuntimeBlock(fields, runtime),
    systemPrompt,
    ...(prompt !== undefined && { prompt }),
    tools: readTools(fields),
    ...schemas,
    repairAttempts,
    limits: readLimits(fields, runtime),
    errorHandling: readErrorHandling(fields, schemas.outputSchema),
    requirements: readRequirements(fields),
  };
}

function readRuntime(fields: Fields): AgentSpec["runtime"] {
  const runtime = fields.oneOf("runtime", AGENT_RUNTIMES, "model");
  checkRuntime(fields, runtime);
  return runtime;
}

function readSchemas(fields: Fields): Pick<AgentSpec, "inputSchema" | "outputSchema"> {
  const schemas: Record<string, JsonObject> = {};
  for (const key of ["inputSchema", "outputSchema"]) {
    const tree = fields.get(key);
    const schema = tree && checkSchema(fields.findings, tree, fields.at(key));
    if (schema !== undefined) schemas[key] = schema;
  }
  return schemas;
}

function readTools(fields: Fields): AgentTool[] {
  const seen = new Set<string>();
  const tools: AgentTool[] = [];
  for (const [index, item] of fields.list("tools").entries()) {
    const path = `${fields.at("tools")}[${index}]`;
    const tool =
      item.kind === "map" ? readToolEntry(fields.findings, item, path) : readToolName(fields.findings, item, path);
    if (tool === undefined) continue;
    if (seen.has(tool.as)) {
      fields.findings.error(
        "E-DUPLICATE",
        item.at,
        path,
        `two tools have the name "${tool.as}"`,
        "give one another name with `as`",
      );
    }
    seen.add(tool.as);
    tools.push(tool);
  }
  return tools;
}

function readToolName(findings: Findings, tree: Tree, path: string): AgentTool | undefined {
  const ref = readLabel(findings, tree, path);
  return ref === undefined ? undefined : { ref, as: ref, onDenied: "fail" };
}

function readToolEntry(findings: Findings, tree: Tree, path: string): AgentTool | undefined {
  const fields = Fields.of(findings, tree, path, ["ref", "as", "onDenied", "onError"]) as Fields;
  const refTree = fields.required("ref");
  const ref = refTree && readLabel(findings, refTree, fields.at("ref"));
  const asTree = fields.get("as");
  const as = asTree === undefined ? ref : readString(findings, asTree, fields.at("as"));
  if (asTree !== undefined && as !== undefined && !ALIAS.test(as)) {
    findings.error(
      "E-NAME",
      asTree.at,
      fields.at("as"),
      `"${as}" is not a tool name: lower-case letters, digits, _ and -, beginning with a letter`,
    );
  }
  const onDenied = fields.oneOf("onDenied", ["fail", "withhold"], "fail");
  const onError = fields.oneOf("onError", ["tell", "fail"]);
  if (ref === undefined || as === undefined) return undefined;
  return { ref, as, onDenied: onDenied ?? "fail", ...(onError && { onError }) };
}

function readLimits(parent: Fields, runtime: AgentSpec["runtime"]): AgentSpec["limits"] {
  const tree = parent.get("limits");
  const fields =
    tree &&
    Fields.of(parent.findings, tree, parent.at("limits"), ["maxTurns", "maxToolCalls", "timeout", "maxOutputBytes"]);
  if (fields === undefined) return AGENT_LIMITS;
  checkLimits(fields, runtime);
  return {
    maxTurns: fields.integer("maxTurns", { min: 1, max: 1_000 }, AGENT_LIMITS.maxTurns),
    maxToolCalls: fields.integer("maxToolCalls", { min: 0, max: 10_000 }, AGENT_LIMITS.maxToolCalls),
    timeoutMs: fields.duration("timeout", { min: 100, max: 24 * HOUR }, AGENT_LIMITS.timeoutMs),
    maxOutputBytes: fields.integer("maxOutputBytes", { min: 1, max: 1 * MIB }, AGENT_LIMITS.maxOutputBytes),
  };
}

function readErrorHandling(parent: Fields, outputSchema: JsonObject | undefined): AgentSpec["errorHandling"] {
  const tree = parent.get("errorHandling");
  const fields =
    tree && Fields.of(parent.findings, tree, parent.at("errorHandling"), ["retry", "onExhausted", "fallback"]);
  if (fields === undefined) return { onExhausted: "deadLetter" };
  const onExhausted = fields.oneOf("onExhausted", ["deadLetter", "fail", "continue"], "deadLetter");
  const fallback = onExhausted === "continue" ? readFallback(fields, outputSchema) : undefined;
  if (onExhausted !== "continue" && fields.has("fallback")) {
    const message = `"fallback" does not belong to onExhausted: ${onExhausted}`;
    const hint = "remove it or set onExhausted: continue";
    fields.findings.error("E-UNION", fields.positionOf("fallback"), fields.at("fallback"), message, hint);
  }
  const retry = fields.has("retry") ? readRetry(fields, "retry", TASK_CLASSES, TASK_RETRY) : undefined;
  return { ...(retry && { retry }), onExhausted, ...(fallback !== undefined && { fallback }) };
}

// It stands for an output, so it must be one.
function readFallback(fields: Fields, outputSchema: JsonObject | undefined): Json | undefined {
  const tree = fields.required("fallback");
  const fallback = fields.json("fallback");
  const compiled = outputSchema === undefined ? undefined : compileSchema(outputSchema);
  if (tree === undefined || fallback === undefined || compiled?.ok !== true) return fallback;
  const filled = compiled.value.fill(fallback);
  const problem = compiled.value.check(filled);
  if (problem === undefined) return filled;
  fields.findings.error("E-INPUT", tree.at, fields.at("fallback"), `it does not fit the outputSchema: ${problem}`);
  return fallback;
}

function readRequirements(parent: Fields): AgentSpec["requirements"] {
  const tree = parent.get("requirements");
  const fields = tree && Fields.of(parent.findings, tree, parent.at("requirements"), ["labels"]);
  const labelsTree = fields?.get("labels");
  if (fields && labelsTree) checkSecrets(parent.findings, labelsTree, fields.at("labels"), "labels are public");
  return { labels: fields?.strings("labels") ?? {} };
}

/** Spec of an Agent as its manifest would say it, defaults filled in. What does not belong to its runtime is left out. */
export function agentJson(spec: AgentSpec): JsonObject {
  const { limits, errorHandling, runtime } = spec;
  const asksModel = runtime === "model";
  const turns = takesTurns(runtime);
  return compact({
    description: spec.description,
    runtime,
    model: spec.model && modelJson(spec.model),
    ...runtimeJson(spec),
    systemPrompt: asksModel ? spec.systemPrompt : undefined,
    prompt: spec.prompt,
    tools: turns
      ? spec.tools.map(({ ref, as, onDenied, onError }) => compact({ ref, as, onDenied, onError }))
      : undefined,
    inputSchema: spec.inputSchema,
    outputSchema: spec.outputSchema,
    repairAttempts: asksModel ? spec.repairAttempts : undefined,
    limits: compact({
      maxTurns: turns ? limits.maxTurns : undefined,
      maxToolCalls: turns ? limits.maxToolCalls : undefined,
      timeout: formatDuration(limits.timeoutMs),
      maxOutputBytes: limits.maxOutputBytes,
    }),
    errorHandling: compact({
      retry: errorHandling.retry && retryJson(errorHandling.retry),
      onExhausted: errorHandling.onExhausted,
      fallback: errorHandling.fallback,
    }),
    requirements: { labels: { ...spec.requirements.labels } as Record<string, Json> },
  });
}
