// Compiles the templated fields of a tool or an agent once, and lists the secrets that they read.
// Called by render.ts and render_agent.ts; kept as long as the spec object lives (a compiled bundle holds it).
// A secret is read as secret.NAME.KEY with constant names only: which secrets a call needs never depends on its arguments.

import { isJsonObject, type Json } from "../../kit/json.ts";
import type { ExpressionOptions } from "../../language/condition.ts";
import {
  type CompiledTemplate,
  compileStringTemplate,
  compileTemplate,
  type StringTemplate,
  type TemplateResult,
} from "../../language/template.ts";
import type { AgentSpec, SecretRef, ToolSpec } from "../manifests/specs.ts";

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

/** The compiled fields of an agent that is an endpoint or a program, or that asks a model with headers of its own. */
export interface AgentTemplates {
  readonly http?: Pick<NonNullable<ToolTemplates["http"]>, "url" | "headers">;
  readonly command?: Pick<NonNullable<ToolTemplates["command"]>, "env">;
  readonly model?: Pick<NonNullable<ToolTemplates["http"]>, "headers">;
  /** Secrets read, each once. */
  readonly secrets: readonly ToolSecret[];
}

/** A secret that a tool or an agent reads. */
export interface ToolSecret extends SecretRef {
  /** False if every read of it is guarded by has(). */
  readonly required: boolean;
  /** False if it only signs: then it is in no means. */
  readonly leaves: boolean;
}

/** Compiled fields, or what is wrong with them. */
export type Compiled<Templates> =
  | { readonly ok: true; readonly value: Templates }
  | { readonly ok: false; readonly error: string };

const tools = new WeakMap<ToolSpec, Compiled<ToolTemplates>>();
const agents = new WeakMap<AgentSpec, Compiled<AgentTemplates>>();

/** Compiles a tool; the same spec object is compiled once. */
export function toolTemplates(tool: ToolSpec): Compiled<ToolTemplates> {
  let result = tools.get(tool);
  if (result === undefined) {
    result = compileTool(tool);
    tools.set(tool, result);
  }
  return result;
}

/** Compiles an agent; the same spec object is compiled once. */
export function agentTemplates(agent: AgentSpec): Compiled<AgentTemplates> {
  let result = agents.get(agent);
  if (result === undefined) {
    result = compileAgent(agent);
    agents.set(agent, result);
  }
  return result;
}

/** Secrets that a tool's calls read, by name and key. Empty if its fields do not compile. */
export function secretsOf(tool: ToolSpec): readonly SecretRef[] {
  return namesOf(toolTemplates(tool));
}

/** Secrets that reaching an agent reads, as secretsOf says those of a tool. */
export function agentSecretsOf(agent: AgentSpec): readonly SecretRef[] {
  return namesOf(agentTemplates(agent));
}

function namesOf(compiled: Compiled<{ readonly secrets: readonly ToolSecret[] }>): readonly SecretRef[] {
  return compiled.ok ? compiled.value.secrets.map(({ name, key }) => ({ name, key })) : [];
}

class FieldError extends Error {}

/** Compiles fields, and keeps each, so that what all of them read is known in the end. */
class FieldCompiler {
  readonly all: CompiledTemplate[] = [];
  readonly #options: ExpressionOptions;

  constructor(options: ExpressionOptions) {
    this.#options = options;
  }

  text(field: string, value: string): StringTemplate {
    return this.#keep(field, compileStringTemplate(value, this.#options));
  }

  json(field: string, value: Json): CompiledTemplate {
    return this.#keep(field, compileTemplate(value, this.#options));
  }

  texts(field: string, map: Readonly<Record<string, string>>): (readonly [string, StringTemplate])[] {
    return Object.entries(map).map(([name, value]) => [name, this.text(`${field}.${name}`, value)]);
  }

  #keep<T extends CompiledTemplate>(field: string, result: TemplateResult<T>): T {
    if (!result.ok) throw new FieldError(`${field}: ${result.errors[0]?.message ?? "does not compile"}`);
    this.all.push(result.value);
    return result.value;
  }
}

function compiled<Templates>(compile: () => Templates): Compiled<Templates> {
  try {
    return { ok: true, value: compile() };
  } catch (error) {
    if (error instanceof FieldError) return { ok: false, error: error.message };
    throw error;
  }
}

function compileAgent({ http, command, model }: AgentSpec): Compiled<AgentTemplates> {
  const fields = new FieldCompiler({ variables: ["secret"] });
  return compiled(() => ({
    ...(http && {
      http: { url: fields.text("http.url", http.url), headers: fields.texts("http.headers", http.headers) },
    }),
    ...(command && { command: { env: fields.texts("command.env", command.env) } }),
    ...(model?.headers && { model: { headers: fields.texts("model.headers", model.headers) } }),
    secrets: readSecrets(fields.all, undefined),
  }));
}

function compileTool(tool: ToolSpec): Compiled<ToolTemplates> {
  const fields = new FieldCompiler({ variables: ["args", "secret"], schemas: { args: tool.inputSchema } });
  return compiled(() => {
    const http = tool.http && {
      url: fields.text("http.url", tool.http.url),
      headers: fields.texts("http.headers", tool.http.headers),
      ...(tool.http.body !== undefined && { body: fields.json("http.body", tool.http.body) }),
    };
    const command = tool.command && {
      argv: tool.command.argv.map((value, index) => fields.text(`command.argv[${index}]`, value)),
      env: fields.texts("command.env", tool.command.env),
      ...(tool.command.stdin !== undefined && { stdin: fields.json("command.stdin", tool.command.stdin) }),
    };
    const webhook = tool.webhook && {
      url: fields.text("webhook.url", tool.webhook.url),
      signingSecret: fields.text("webhook.signingSecret", tool.webhook.signingSecret),
      ...(tool.webhook.data !== undefined && { data: fields.json("webhook.data", tool.webhook.data) }),
    };
    const database = tool.database && {
      ...(tool.database.dsn !== undefined && { dsn: fields.text("database.dsn", tool.database.dsn) }),
      parameters: tool.database.parameters.map((value, index) => fields.json(`database.parameters[${index}]`, value)),
    };
    const mcp = tool.mcp && {
      ...(tool.mcp.remote && {
        url: fields.text("mcp.url", tool.mcp.remote.url),
        headers: fields.texts("mcp.headers", tool.mcp.remote.headers),
      }),
      ...(tool.mcp.local && { env: fields.texts("mcp.env", tool.mcp.local.env) }),
      ...(tool.mcp.arguments !== undefined && { arguments: fields.json("mcp.arguments", tool.mcp.arguments) }),
    };
    const requests = { ...(http && { http }), ...(webhook && { webhook }) };
    const blocks = { ...requests, ...(command && { command }), ...(database && { database }), ...(mcp && { mcp }) };
    return { ...blocks, secrets: readSecrets(fields.all, webhook?.signingSecret) };
  });
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

/** What is said of secrets that are nowhere. */
export function secretsMissing(missing: readonly SecretRef[]): string {
  const names = missing.map(({ name, key }) => `${name}/${key}`).join(", ");
  return `secret ${names} is not provided; mount it or set its variable`;
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
