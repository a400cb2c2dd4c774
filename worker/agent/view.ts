// The worker view: what a worker may know of a bundle's agents and tools, and the check of its JSON at the edge.
// Parsed by worker/session/views.ts when a view arrives; read by the agent loop and the model adapters.
// Checks the shape of what is read and nothing more: the server validated the manifests. Never holds an endpoint or a secret.

import type { Backoff } from "../../kit/backoff.ts";
import { DomainError } from "../../kit/errors.ts";
import { isJsonObject, type Json, type JsonObject } from "../../kit/json.ts";

/** When and how often a tool call is tried again. */
export interface RetryView {
  readonly on: readonly string[];
  readonly maxAttempts: number;
  readonly backoff: Backoff;
}

/** One rule of a scripted model; see docs/scripted-model.md. */
export interface ScriptRuleView {
  readonly when?: string;
  readonly text?: string;
  readonly output?: Json;
  readonly toolCalls?: readonly { readonly name: string; readonly arguments: Json }[];
  readonly error?: string;
  readonly delayMs?: number;
}

/** Which model an agent asks. */
export interface ModelView {
  readonly provider: string;
  readonly name: string;
  readonly baseUrl?: string;
  readonly hasSecretRef: boolean;
  readonly temperature?: number;
  readonly maxOutputTokens?: number;
  readonly script: readonly ScriptRuleView[];
}

/** A tool as the model sees it, and how its failures are met. */
export interface ToolView {
  readonly name: string;
  readonly description: string;
  readonly inputSchema: JsonObject;
  readonly onError: "tell" | "fail";
  /** Arguments that the server refused fail the task instead of being told. */
  readonly onInvalid?: "fail";
  readonly retry: RetryView;
}

/** Limits of one task. */
export interface LimitsView {
  readonly maxTurns: number;
  readonly maxToolCalls: number;
  readonly timeoutMs: number;
  readonly maxOutputBytes: number;
}

/** An agent as a worker runs it. */
export interface AgentView {
  readonly name: string;
  readonly runtime: string;
  readonly model?: ModelView;
  /** Name of the code, for runtime handler. */
  readonly handler?: string;
  readonly systemPrompt: string;
  /** Template over {input}; absent: the input as JSON. */
  readonly prompt?: string;
  readonly outputSchema?: JsonObject;
  /** How often the model is asked again when its answer does not fit the outputSchema. */
  readonly repairAttempts: number;
  readonly limits: LimitsView;
  readonly tools: readonly ToolView[];
}

/** Agents by the name that assignments use. */
export type WorkerView = ReadonlyMap<string, AgentView>;

/**
 * Parses a worker view.
 *
 * @throws DomainError PROTOCOL_VIOLATION that names the first member with a wrong shape.
 */
export function parseWorkerView(text: string): WorkerView {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    throw violation("the document is not JSON");
  }
  const agents = object(object(document, "view").agents, "agents");
  return new Map(Object.entries(agents).map(([key, value]) => [key, parseAgent(value, `agents.${key}`)]));
}

function parseAgent(value: unknown, at: string): AgentView {
  const agent = object(value, at);
  const spec = object(agent.spec, `${at}.spec`);
  const limits = object(spec.limits, `${at}.spec.limits`);
  const handler = spec.handler === undefined ? undefined : object(spec.handler, `${at}.spec.handler`);
  return {
    name: text(agent.name, `${at}.name`),
    runtime: text(spec.runtime, `${at}.spec.runtime`),
    ...(spec.model === undefined ? {} : { model: parseModel(spec.model, `${at}.spec.model`) }),
    ...(handler && { handler: text(handler.name, `${at}.spec.handler.name`) }),
    systemPrompt: text(spec.systemPrompt, `${at}.spec.systemPrompt`),
    ...(spec.prompt === undefined ? {} : { prompt: text(spec.prompt, `${at}.spec.prompt`) }),
    ...(spec.outputSchema === undefined ? {} : { outputSchema: object(spec.outputSchema, `${at}.spec.outputSchema`) }),
    repairAttempts: spec.repairAttempts === undefined ? 0 : number(spec.repairAttempts, `${at}.spec.repairAttempts`),
    limits: {
      maxTurns: number(limits.maxTurns, `${at}.spec.limits.maxTurns`),
      maxToolCalls: number(limits.maxToolCalls, `${at}.spec.limits.maxToolCalls`),
      timeoutMs: number(limits.timeoutMs, `${at}.spec.limits.timeoutMs`),
      maxOutputBytes: number(limits.maxOutputBytes, `${at}.spec.limits.maxOutputBytes`),
    },
    tools: list(agent.tools, `${at}.tools`).map((tool, index) => parseTool(tool, `${at}.tools[${index}]`)),
  };
}

function parseModel(value: unknown, at: string): ModelView {
  const model = object(value, at);
  const parameters = model.parameters === undefined ? {} : object(model.parameters, `${at}.parameters`);
  const script = model.script === undefined ? [] : list(model.script, `${at}.script`);
  return {
    provider: text(model.provider, `${at}.provider`),
    name: text(model.name, `${at}.name`),
    ...(model.baseUrl === undefined ? {} : { baseUrl: text(model.baseUrl, `${at}.baseUrl`) }),
    hasSecretRef: model.secretRef !== undefined,
    ...(parameters.temperature === undefined
      ? {}
      : { temperature: number(parameters.temperature, `${at}.parameters.temperature`) }),
    ...(parameters.maxOutputTokens === undefined
      ? {}
      : { maxOutputTokens: number(parameters.maxOutputTokens, `${at}.parameters.maxOutputTokens`) }),
    script: script.map((rule, index) => parseRule(rule, `${at}.script[${index}]`)),
  };
}

function parseRule(value: unknown, at: string): ScriptRuleView {
  const rule = object(value, at);
  return {
    ...(rule.when === undefined ? {} : { when: text(rule.when, `${at}.when`) }),
    ...(rule.text === undefined ? {} : { text: text(rule.text, `${at}.text`) }),
    ...(rule.output === undefined ? {} : { output: rule.output }),
    ...(rule.toolCalls === undefined
      ? {}
      : {
          toolCalls: list(rule.toolCalls, `${at}.toolCalls`).map((item, index) => {
            const call = object(item, `${at}.toolCalls[${index}]`);
            return { name: text(call.name, `${at}.toolCalls[${index}].name`), arguments: call.arguments ?? {} };
          }),
        }),
    ...(rule.error === undefined ? {} : { error: text(rule.error, `${at}.error`) }),
    ...(rule.delayMs === undefined ? {} : { delayMs: number(rule.delayMs, `${at}.delayMs`) }),
  };
}

function parseTool(value: unknown, at: string): ToolView {
  const tool = object(value, at);
  const retry = object(tool.retry, `${at}.retry`);
  const backoff = object(retry.backoff, `${at}.retry.backoff`);
  if (tool.onError !== "tell" && tool.onError !== "fail") throw violation(`${at}.onError is neither tell nor fail`);
  return {
    name: text(tool.name, `${at}.name`),
    description: text(tool.description, `${at}.description`),
    inputSchema: object(tool.inputSchema, `${at}.inputSchema`),
    onError: tool.onError,
    ...(tool.onInvalid === "fail" && { onInvalid: tool.onInvalid }),
    retry: {
      on: list(retry.on, `${at}.retry.on`).map((item, index) => text(item, `${at}.retry.on[${index}]`)),
      maxAttempts: number(retry.maxAttempts, `${at}.retry.maxAttempts`),
      backoff: {
        initialMs: number(backoff.initialMs, `${at}.retry.backoff.initialMs`),
        maxMs: number(backoff.maxMs, `${at}.retry.backoff.maxMs`),
        factor: number(backoff.factor, `${at}.retry.backoff.factor`),
        jitter: backoff.jitter === "none" ? "none" : "full",
      },
    },
  };
}

function object(value: unknown, at: string): JsonObject {
  if (!isJsonObject(value)) throw violation(`${at} is not an object`);
  return value;
}

function list(value: unknown, at: string): Json[] {
  if (!Array.isArray(value)) throw violation(`${at} is not a list`);
  return value;
}

function text(value: unknown, at: string): string {
  if (typeof value !== "string") throw violation(`${at} is not a text`);
  return value;
}

function number(value: unknown, at: string): number {
  if (typeof value !== "number") throw violation(`${at} is not a number`);
  return value;
}

function violation(what: string): DomainError {
  return new DomainError("PROTOCOL_VIOLATION", `worker view: ${what}; server and worker versions may differ`);
}
