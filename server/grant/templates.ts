// Compiles the templated fields of a tool once, and lists the secrets that they read.
// Called by render.ts; kept as long as the spec object lives (a compiled bundle holds it).
// A secret is read as secret.NAME.KEY with constant names only: which secrets a call needs never depends on its arguments.

import { isJsonObject, type Json } from "../../kit/json.ts";
import {
  type CompiledTemplate,
  compileStringTemplate,
  compileTemplate,
  type StringTemplate,
  type TemplateResult,
} from "../../language/template.ts";
import type { SecretRef, ToolSpec } from "../manifests/specs.ts";

/** The compiled fields of a tool. */
export interface ToolTemplates {
  readonly http?: {
    readonly url: StringTemplate;
    readonly headers: readonly (readonly [string, StringTemplate])[];
    readonly body?: CompiledTemplate;
  };
  readonly command?: {
    readonly argv: readonly StringTemplate[];
    readonly stdin?: CompiledTemplate;
    readonly env: readonly (readonly [string, StringTemplate])[];
  };
  readonly webhook?: {
    readonly url: StringTemplate;
    readonly signingSecret: StringTemplate;
    /** Absent: the arguments. */
    readonly data?: CompiledTemplate;
  };
  readonly database?: { readonly dsn?: StringTemplate; readonly parameters: readonly CompiledTemplate[] };
  readonly mcp?: {
    readonly url?: StringTemplate;
    readonly headers?: readonly (readonly [string, StringTemplate])[];
    readonly env?: readonly (readonly [string, StringTemplate])[];
    /** Absent: the arguments as they are. */
    readonly arguments?: CompiledTemplate;
  };
  /** Secrets read, each once. */
  readonly secrets: readonly ToolSecret[];
}

/** A secret that a tool reads. */
export interface ToolSecret extends SecretRef {
  /** False if every read of it is guarded by has(). */
  readonly required: boolean;
  /** False if it only signs: then it is in no means. */
  readonly leaves: boolean;
}

/** Compiled fields, or what is wrong with them. */
export type CompiledTool =
  | { readonly ok: true; readonly value: ToolTemplates }
  | { readonly ok: false; readonly error: string };

const compiled = new WeakMap<ToolSpec, CompiledTool>();

/** Compiles a tool; the same spec object is compiled once. */
export function toolTemplates(tool: ToolSpec): CompiledTool {
  let result = compiled.get(tool);
  if (result === undefined) {
    result = compileTool(tool);
    compiled.set(tool, result);
  }
  return result;
}

/** Secrets that a tool's calls read, by name and key. Empty if its fields do not compile. */
export function secretsOf(tool: ToolSpec): readonly SecretRef[] {
  const templates = toolTemplates(tool);
  return templates.ok ? templates.value.secrets.map(({ name, key }) => ({ name, key })) : [];
}

class FieldError extends Error {}

function compileTool(tool: ToolSpec): CompiledTool {
  const options = { variables: ["args", "secret"], schemas: { args: tool.inputSchema } };
  const all: CompiledTemplate[] = [];
  const keep = <T extends CompiledTemplate>(field: string, result: TemplateResult<T>): T => {
    if (!result.ok) throw new FieldError(`${field}: ${result.errors[0]?.message ?? "does not compile"}`);
    all.push(result.value);
    return result.value;
  };
  const text = (field: string, value: string) => keep(field, compileStringTemplate(value, options));
  const json = (field: string, value: Json) => keep(field, compileTemplate(value, options));
  const texts = (field: string, map: Readonly<Record<string, string>>) =>
    Object.entries(map).map(([name, value]) => [name, text(`${field}.${name}`, value)] as const);
  try {
    const http = tool.http && {
      url: text("http.url", tool.http.url),
      headers: texts("http.headers", tool.http.headers),
      ...(tool.http.body !== undefined && { body: json("http.body", tool.http.body) }),
    };
    const command = tool.command && {
      argv: tool.command.argv.map((value, index) => text(`command.argv[${index}]`, value)),
      env: texts("command.env", tool.command.env),
      ...(tool.command.stdin !== undefined && { stdin: json("command.stdin", tool.command.stdin) }),
    };
    const webhook = tool.webhook && {
      url: text("webhook.url", tool.webhook.url),
      signingSecret: text("webhook.signingSecret", tool.webhook.signingSecret),
      ...(tool.webhook.data !== undefined && { data: json("webhook.data", tool.webhook.data) }),
    };
    const database = tool.database && {
      ...(tool.database.dsn !== undefined && { dsn: text("database.dsn", tool.database.dsn) }),
      parameters: tool.database.parameters.map((value, index) => json(`database.parameters[${index}]`, value)),
    };
    const mcp = tool.mcp && {
      ...(tool.mcp.remote && {
        url: text("mcp.url", tool.mcp.remote.url),
        headers: texts("mcp.headers", tool.mcp.remote.headers),
      }),
      ...(tool.mcp.local && { env: texts("mcp.env", tool.mcp.local.env) }),
      ...(tool.mcp.arguments !== undefined && { arguments: json("mcp.arguments", tool.mcp.arguments) }),
    };
    const requests = { ...(http && { http }), ...(webhook && { webhook }) };
    const blocks = { ...requests, ...(command && { command }), ...(database && { database }), ...(mcp && { mcp }) };
    return { ok: true, value: { ...blocks, secrets: readSecrets(all, webhook?.signingSecret) } };
  } catch (error) {
    if (error instanceof FieldError) return { ok: false, error: error.message };
    throw error;
  }
}

function readSecrets(templates: readonly CompiledTemplate[], signing: CompiledTemplate | undefined): ToolSecret[] {
  const found = new Map<string, ToolSecret>();
  const reads = templates.flatMap((template) => {
    return secretReads(template).map((reference) => ({ ...reference, leaves: template !== signing }));
  });
  for (const { path, tested, known, leaves } of reads) {
    const [, name, key] = path;
    if (name === undefined || key === undefined) {
      throw new FieldError("secret is read other than as secret.NAME.KEY; name both as constants");
    }
    const required = !tested && known < 3;
    const id = JSON.stringify([name, key]);
    const before = found.get(id) ?? { required: false, leaves: false };
    found.set(id, { name, key, required: required || before.required, leaves: leaves || before.leaves });
  }
  return [...found.values()];
}

function secretReads(template: CompiledTemplate) {
  return template.insertions.flatMap(({ references }) => references.filter(({ path }) => path[0] === "secret"));
}

/** True if anything in the template reads a secret: then nothing of its evaluation may be quoted. */
export function readsSecret(template: CompiledTemplate): boolean {
  return secretReads(template).length > 0;
}

/** The value of `secret` for an evaluation, in which one that is nowhere is absent; and the values that may leave with the means. */
export function secretBinding(
  secrets: readonly ToolSecret[],
  read: (name: string, key: string) => string | undefined,
): { readonly binding: Json; readonly values: readonly string[]; readonly missing: readonly SecretRef[] } {
  const names = new Map<string, [string, Json][]>();
  const values = new Set<string>();
  const missing: SecretRef[] = [];
  for (const { name, key, required, leaves } of secrets) {
    const keys = names.get(name) ?? [];
    names.set(name, keys);
    const value = read(name, key);
    if (value !== undefined) {
      keys.push([key, value]);
      if (leaves) values.add(value);
    } else if (required) missing.push({ name, key });
  }
  const binding = Object.fromEntries([...names].map(([name, keys]) => [name, Object.fromEntries(keys)]));
  return { binding: isJsonObject(binding) ? binding : {}, values: [...values], missing };
}
