// Renders how an agent of runtime http or command is reached for one task: the block of its manifest with secrets in it, and the
// headers or variables that tell it which task it is. Of an agent with a model, the headers that its model is asked with. Called by commands/agent_means.ts when a task is claimed.
// The idempotency key is the lineage of the task: the same for every attempt, delivery and plain replay, whatever else changes.
// Pure: secrets come in by a function. The input is not in here; it travels once, with the assignment.

import type { AgentSpec } from "../manifests/specs.ts";
import { RenderError, renderPieces } from "./pieces.ts";
import { type CommandMeansValue, renderEnvironment } from "./render_command.ts";
import { type HttpMeansValue, renderHeaders, renderUrl } from "./render_http.ts";
import { agentTemplates, secretBinding, secretsMissing } from "./templates.ts";

export { agentSecretsOf } from "./templates.ts";

/** Headers that a model is asked with, beside those of its API. Holds secrets. */
export interface ModelMeansValue {
  readonly kind: "model";
  readonly headers: Readonly<Record<string, string>>;
}

/** How an agent is reached. Holds secrets. */
export type AgentMeansValue = HttpMeansValue | CommandMeansValue | ModelMeansValue;

/** Which task an agent is reached for. */
export interface ReachingTask {
  readonly taskId: string;
  readonly runId: string;
  /** Root of the task's replay lineage. */
  readonly originTaskId: string;
  /** From 1. */
  readonly attempt: number;
  /** W3C trace context of the lease; empty if the run is in no trace. */
  readonly traceparent: string;
}

/** How an agent is reached, or why it cannot be. */
export type RenderedAgent =
  | { readonly ok: true; readonly means: AgentMeansValue; readonly secrets: readonly string[] }
  | { readonly ok: false; readonly class: "SecretMissing" | "AgentInvalid"; readonly message: string };

/** See the file header. @param secrets reads a secret now; undefined if it is nowhere */
export function renderAgent(
  agent: AgentSpec,
  secrets: (name: string, key: string) => string | undefined,
  task: ReachingTask,
): RenderedAgent {
  const templates = agentTemplates(agent);
  if (!templates.ok) return { ok: false, class: "AgentInvalid", message: templates.error };
  const { http, command, model, secrets: read } = templates.value;
  const { binding, values, missing } = secretBinding(read, secrets);
  if (missing.length > 0) return { ok: false, class: "SecretMissing", message: secretsMissing(missing) };
  const bindings = { secret: binding };
  try {
    if (agent.http && http) {
      const url = renderUrl("http.url", renderPieces("http.url", http.url, bindings));
      const headers = renderHeaders("http.headers", http.headers, bindings);
      for (const [name, value] of taskHeaders(task, headers)) headers.set(name.toLowerCase(), [name, value]);
      const { allowPrivateNetwork } = agent.http;
      const means = { kind: "http", method: "POST", url, headers: Object.fromEntries(headers.values()) } as const;
      return { ok: true, means: { ...means, allowPrivateNetwork }, secrets: values };
    }
    if (agent.command && command) {
      const env = { ...renderEnvironment("command.env", command.env, bindings), ...taskVariables(task) };
      const { argv, workDir } = agent.command;
      const means = { kind: "command", argv, env, ...(workDir !== undefined && { workDir }) } as const;
      return { ok: true, means, secrets: values };
    }
    if (model) {
      const headers = Object.fromEntries(renderHeaders("model.headers", model.headers, bindings).values());
      return { ok: true, means: { kind: "model", headers }, secrets: values };
    }
    return { ok: false, class: "AgentInvalid", message: `runtime ${agent.runtime} is not reached from outside` };
  } catch (error) {
    if (error instanceof RenderError) return { ok: false, class: "AgentInvalid", message: error.message };
    throw error;
  }
}

function taskHeaders(task: ReachingTask, declared: ReadonlyMap<string, unknown>): [string, string][] {
  return [
    ...(declared.has("accept") ? [] : [["Accept", "application/json"] as [string, string]]),
    ...(declared.has("content-type") ? [] : [["Content-Type", "application/json"] as [string, string]]),
    ["Idempotency-Key", task.originTaskId],
    ["Orloj-Task-Id", task.taskId],
    ["Orloj-Run-Id", task.runId],
    ["Orloj-Attempt", String(task.attempt)],
    ...(task.traceparent === "" ? [] : [["traceparent", task.traceparent] as [string, string]]),
  ];
}

function taskVariables(task: ReachingTask): Record<string, string> {
  return {
    ORLOJ_IDEMPOTENCY_KEY: task.originTaskId,
    ORLOJ_TASK_ID: task.taskId,
    ORLOJ_RUN_ID: task.runId,
    ORLOJ_ATTEMPT: String(task.attempt),
    ...(task.traceparent === "" ? {} : { TRACEPARENT: task.traceparent }),
  };
}
