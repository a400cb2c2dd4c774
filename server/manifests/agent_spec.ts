// The spec of kind Agent as a type, with its model and the blocks of its runtimes: defaults filled in, durations in ms.
// Part of specs.ts, which names it to every other room. Written by agent.ts; read like the other specs.
// Never holds a position or a comment of the YAML it came from, nor a secret's value.

import type { Json, JsonObject } from "../../kit/json.ts";
import type { RetryPolicy, SecretRef } from "./specs.ts";

/** Model providers that can be declared. */
export type ModelProvider = "openai" | "anthropic" | "openai-compatible" | "scripted";

/** Which model an agent asks. */
export interface ModelSpec {
  readonly provider: ModelProvider;
  readonly name: string;
  /** openai-compatible only. */
  readonly baseUrl?: string;
  readonly secretRef?: SecretRef;
  /** Headers beside those of the API; templates over {secret}, rendered when a task is claimed. Not for scripted. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly parameters: { readonly temperature?: number; readonly maxOutputTokens?: number };
  /** scripted only: the script, see docs/scripted-model.md. */
  readonly script?: readonly ScriptRule[];
}

/**
 * One rule of a scripted model. The first rule whose `when` (CEL over {input, turn, results}) is true answers.
 * `turn` counts from 1; `results` maps tool names to their results so far (last one wins).
 */
export interface ScriptRule {
  /** CEL condition; absent: always. */
  readonly when?: string;
  /** Answer text; a template over the same variables. */
  readonly text?: string;
  /** Answer as JSON; a template; sent as its canonical text. */
  readonly output?: Json;
  /** Tools to call; arguments are a template. */
  readonly toolCalls?: readonly { readonly name: string; readonly arguments: Json }[];
  /** Fails with this error class instead of answering. */
  readonly error?: string;
  /** Waits before it answers, in ms; at most 60 000. */
  readonly delayMs?: number;
}

/** A tool as an agent declares it. */
export interface AgentTool {
  /** Name of the Tool resource. */
  readonly ref: string;
  /** Name the model sees; the ref unless `as` was given. */
  readonly as: string;
  readonly onDenied: "fail" | "withhold";
  /** Absent: tell for read tools, fail for write and destructive ones. */
  readonly onError?: "tell" | "fail";
  /** Arguments that cannot be sent fail the task: there is no model that could be told. Of tool nodes only. */
  readonly onInvalid?: "fail";
}

/** How agents can be executed. */
export const AGENT_RUNTIMES = ["model", "http", "command", "handler"] as const;
/** One of the ways in which agents are executed. */
export type AgentRuntime = (typeof AGENT_RUNTIMES)[number];

/** An agent that answers HTTP requests. Template fields over {secret} stay text; they are rendered when a task is claimed. */
export interface AgentHttp {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly allowPrivateNetwork: boolean;
}

/** An agent that is a program: input on stdin, output on stdout. The values of `env` are templates over {secret}. */
export interface AgentCommand {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly workDir?: string;
}

/** Spec of kind Agent. */
export interface AgentSpec {
  readonly description: string;
  readonly runtime: AgentRuntime;
  /** runtime model only, as are systemPrompt, prompt and repairAttempts. */
  readonly model?: ModelSpec;
  /** runtime http only. */
  readonly http?: AgentHttp;
  /** runtime command only. */
  readonly command?: AgentCommand;
  /** runtime handler only: code that a worker registers under this name. */
  readonly handler?: { readonly name: string };
  readonly systemPrompt: string;
  /** Template over {input}; absent: the input as JSON. */
  readonly prompt?: string;
  /** runtimes model and handler only. */
  readonly tools: readonly AgentTool[];
  readonly inputSchema?: JsonObject;
  readonly outputSchema?: JsonObject;
  readonly repairAttempts: number;
  readonly limits: {
    readonly maxTurns: number;
    readonly maxToolCalls: number;
    readonly timeoutMs: number;
    readonly maxOutputBytes: number;
  };
  readonly errorHandling: {
    /** Absent: the workflow's own retry applies. */
    readonly retry?: RetryPolicy;
    readonly onExhausted: "deadLetter" | "fail" | "continue";
    readonly fallback?: Json;
  };
  readonly requirements: { readonly labels: Readonly<Record<string, string>> };
}
