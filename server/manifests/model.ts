// Reads and writes the model block of an agent, the script of a scripted model included.
// Called by agent.ts.
// Never holds a key: a model's key is named by secretRef or comes from the worker's own environment.

import type { Json, JsonObject } from "../../kit/json.ts";
import { MINUTE } from "../../kit/units.ts";
import { AGENT_VARIABLES } from "./agent_blocks.ts";
import type { Findings } from "./diagnostics.ts";
import { checkCondition, checkTemplate } from "./expressions.ts";
import { compact, Fields, readLabel } from "./fields.ts";
import { checkSecrets } from "./secret_rule.ts";
import type { ModelSpec, ScriptRule, SecretRef } from "./specs.ts";
import { readHeaders } from "./tool_address.ts";
import type { Tree } from "./tree.ts";

const KEYS = ["provider", "name", "baseUrl", "secretRef", "headers", "parameters", "script"];
const PROVIDERS = ["openai", "anthropic", "openai-compatible", "scripted"] as const;
const SCRIPT_VARIABLES = ["input", "turn", "results"];
const ANSWERS = ["text", "output", "toolCalls", "error"];
/** Headers that say who asks and what comes: the worker's, in lower case. A key is named by secretRef. */
const OWN_HEADERS = [
  ...["authorization", "proxy-authorization", "x-api-key", "anthropic-version", "cookie"],
  ...["content-type", "content-encoding", "accept", "accept-encoding", "expect", "keep-alive"],
];
const SECRET_HINT = "use secretRef: {name: …, key: …}";

/** Reads a model block. */
export function readModel(findings: Findings, tree: Tree, path: string): ModelSpec | undefined {
  // apiKey is known only to be refused as what it is: a credential.
  const fields = Fields.of(findings, tree, path, [...KEYS, "apiKey"]);
  if (fields === undefined) return undefined;
  const apiKey = fields.get("apiKey");
  if (apiKey !== undefined) {
    const message = "a model's key is never written in a manifest";
    findings.error("E-SECRET", apiKey.at, fields.at("apiKey"), message, SECRET_HINT);
  }
  const provider = fields.oneOf("provider", PROVIDERS);
  if (!fields.has("provider")) fields.missing("provider");
  const name = provider === "scripted" ? (fields.string("name") ?? "scripted") : fields.requiredString("name");
  checkUnion(fields, provider);
  const baseUrl = readBaseUrl(fields);
  const secretRef = readSecretRef(fields);
  const headersTree = fields.get("headers");
  const headers = headersTree && readHeaders(findings, headersTree, fields.at("headers"), AGENT_VARIABLES, OWN_HEADERS);
  const script = fields.has("script") ? readScript(fields) : undefined;
  const parameters = readParameters(fields, provider);
  if (provider === undefined || name === undefined) return undefined;
  return {
    provider,
    name,
    ...(baseUrl !== undefined && { baseUrl }),
    ...(secretRef && { secretRef }),
    ...(headers && { headers }),
    parameters,
    ...(script && { script }),
  };
}

function checkUnion(fields: Fields, provider: ModelSpec["provider"] | undefined): void {
  if (provider === undefined) return;
  const owned = { baseUrl: "openai-compatible", script: "scripted" } as const;
  for (const [key, owner] of Object.entries(owned)) {
    if (provider === owner && !fields.has(key)) fields.missing(key);
    if (provider === owner || !fields.has(key)) continue;
    const message = `"${key}" does not belong to provider "${provider}"`;
    fields.findings.error(
      "E-UNION",
      fields.positionOf(key),
      fields.at(key),
      message,
      `remove it or set provider: ${owner}`,
    );
  }
  for (const key of ["secretRef", "headers"]) {
    if (provider !== "scripted" || !fields.has(key)) continue;
    const message = `"${key}" does not belong to provider "scripted"`;
    fields.findings.error("E-UNION", fields.positionOf(key), fields.at(key), message, "remove it");
  }
}

function readBaseUrl(fields: Fields): string | undefined {
  const tree = fields.get("baseUrl");
  const text = fields.string("baseUrl");
  if (tree === undefined || text === undefined) return undefined;
  if (!/^https?:\/\/[^/\s?#]+[^\s?#]*$/.test(text) || !URL.canParse(text)) {
    const hint = "write it as https://host/v1, without query";
    fields.findings.error(
      "E-URL",
      tree.at,
      fields.at("baseUrl"),
      `"${text.slice(0, 80)}" is not an http or https address`,
      hint,
    );
  } else checkSecrets(fields.findings, tree, fields.at("baseUrl"), SECRET_HINT);
  return text;
}

function readSecretRef(parent: Fields): SecretRef | undefined {
  const tree = parent.get("secretRef");
  const fields = tree && Fields.of(parent.findings, tree, parent.at("secretRef"), ["name", "key"]);
  if (fields === undefined) return undefined;
  const nameTree = fields.required("name");
  const name = nameTree && readLabel(parent.findings, nameTree, fields.at("name"));
  const key = fields.requiredString("key");
  return name === undefined || key === undefined ? undefined : { name, key };
}

function readParameters(parent: Fields, provider: ModelSpec["provider"] | undefined): ModelSpec["parameters"] {
  const tree = parent.get("parameters");
  const fields = tree && Fields.of(parent.findings, tree, parent.at("parameters"), ["temperature", "maxOutputTokens"]);
  if (fields === undefined) return {};
  // Anthropic's API takes no temperature above 1.
  const temperature = fields.number("temperature", { min: 0, max: provider === "anthropic" ? 1 : 2 });
  const maxOutputTokens = fields.has("maxOutputTokens")
    ? fields.integer("maxOutputTokens", { min: 1, max: 1_000_000 }, 1)
    : undefined;
  return {
    ...(temperature !== undefined && { temperature }),
    ...(maxOutputTokens !== undefined && { maxOutputTokens }),
  };
}

function readScript(fields: Fields): ScriptRule[] {
  const items = fields.list("script");
  const tree = fields.get("script");
  if (tree?.kind === "list" && items.length === 0) {
    fields.findings.error(
      "E-VALUE",
      tree.at,
      fields.at("script"),
      "a script needs at least one rule",
      "add one, such as {text: hello}",
    );
  }
  return items.flatMap((item, index) => readRule(fields.findings, item, `${fields.at("script")}[${index}]`) ?? []);
}

function readRule(findings: Findings, tree: Tree, path: string): ScriptRule | undefined {
  const fields = Fields.of(findings, tree, path, ["when", ...ANSWERS, "delayMs"]);
  if (fields === undefined) return undefined;
  const answers = ANSWERS.filter((key) => fields.has(key));
  const textWithCalls = answers.length === 2 && answers.includes("text") && answers.includes("toolCalls");
  if (answers.length !== 1 && !textWithCalls) {
    const found = answers.length === 0 ? "none" : answers.join(", ");
    findings.error(
      "E-UNION",
      tree.at,
      path,
      `a rule answers with exactly one of ${ANSWERS.join(", ")}; found ${found}`,
    );
  }
  const whenTree = fields.get("when");
  const when = whenTree && checkCondition(findings, whenTree, fields.at("when"), SCRIPT_VARIABLES)?.text;
  const text = fields.string("text");
  for (const key of ["text", "output"]) {
    const value = fields.get(key);
    if (value !== undefined) checkTemplate(findings, value, fields.at(key), SCRIPT_VARIABLES);
  }
  const output = fields.json("output");
  const error = fields.string("error");
  if (error !== undefined && !/^[A-Z][A-Za-z0-9]{0,63}$/.test(error)) {
    findings.error(
      "E-VALUE",
      fields.positionOf("error"),
      fields.at("error"),
      `"${error}" is not an error class`,
      "for example ModelUnavailable",
    );
  }
  const delayMs = fields.has("delayMs") ? fields.integer("delayMs", { min: 0, max: 1 * MINUTE }, 0) : undefined;
  return {
    ...(when !== undefined && { when }),
    ...(text !== undefined && { text }),
    ...(output !== undefined && { output }),
    ...(fields.has("toolCalls") && { toolCalls: readCalls(fields) }),
    ...(error !== undefined && { error }),
    ...(delayMs !== undefined && { delayMs }),
  };
}

function readCalls(parent: Fields): { name: string; arguments: Json }[] {
  const calls: { name: string; arguments: Json }[] = [];
  for (const [index, item] of parent.list("toolCalls").entries()) {
    const fields = Fields.of(parent.findings, item, `${parent.at("toolCalls")}[${index}]`, ["name", "arguments"]);
    const name = fields?.requiredString("name");
    const tree = fields?.get("arguments");
    if (fields && tree) checkTemplate(parent.findings, tree, fields.at("arguments"), SCRIPT_VARIABLES);
    if (name !== undefined) calls.push({ name, arguments: fields?.json("arguments") ?? {} });
  }
  return calls;
}

/** Model block as a manifest would say it. */
export function modelJson(model: ModelSpec): JsonObject {
  return compact({
    provider: model.provider,
    name: model.name,
    baseUrl: model.baseUrl,
    secretRef: model.secretRef && { name: model.secretRef.name, key: model.secretRef.key },
    headers: model.headers && { ...model.headers },
    parameters: compact({ ...model.parameters }),
    script: model.script?.map((rule) =>
      compact({
        when: rule.when,
        text: rule.text,
        output: rule.output,
        toolCalls: rule.toolCalls?.map((call) => ({ name: call.name, arguments: call.arguments })),
        error: rule.error,
        delayMs: rule.delayMs,
      }),
    ),
  });
}
