// Runs a task of an agent that is outside of this worker: an HTTP endpoint, or a program. JSON goes in, JSON comes out; what the agent
// does in between is its own affair, and nothing of it is in the journal.
// Called through runtimes.ts. Reaches the agent once a delivery and never retries by itself: the task's retry policy decides that.
// So the agent may run more than once for a task (at least once), and gets the key by which it can tell.

import { canonicalJson } from "../../kit/json.ts";
import type { AgentCalls } from "../tool/agent_calls.ts";
import type { ToolFailureClass, ToolRun } from "../tool/executor.ts";
import { observe } from "./observer.ts";
import { jsonOutput } from "./output.ts";
import type { AgentTask, TaskEnd, TaskPort } from "./task.ts";
import { type TimeDependencies, withinTime } from "./within_time.ts";

/** What reaching agents needs. */
export interface OutsideDependencies extends TimeDependencies {
  readonly agents: AgentCalls;
}

/** The class of a task for each class in which reaching its agent fails; others are AgentFailed. */
const CLASSES: Readonly<Partial<Record<ToolFailureClass, string>>> = {
  Http4xx: "AgentRefused",
  Http5xx: "AgentUnavailable",
  Http503: "AgentUnavailable",
  RateLimited: "RateLimited",
  Timeout: "Timeout",
  ConnectionRefused: "AgentUnavailable",
  ConnectionReset: "AgentUnavailable",
  DnsError: "AgentUnavailable",
  AddressForbidden: "AgentInvalid",
  RequestInvalid: "AgentInvalid",
  CommandNotFound: "AgentInvalid",
  WorkDirForbidden: "AgentInvalid",
  ResponseTooLarge: "OutputTooLarge",
  OutputTooLarge: "OutputTooLarge",
  ResponseInvalid: "OutputInvalid",
};
const LASTING = new Set(["AgentRefused", "AgentInvalid", "OutputTooLarge"]);

/** Runs a task to its end; never rejects. */
export async function runOutsideAgent(
  task: AgentTask,
  port: TaskPort,
  signal: AbortSignal,
  dependencies: OutsideDependencies,
): Promise<TaskEnd> {
  for (const secret of task.agentSecrets) dependencies.redactor.learn(secret);
  return await withinTime(task, signal, dependencies, async (both) => {
    await port.leaseSound(both);
    const run = await observe(
      task.observer,
      { of: "agent", agent: task.agent.name, runtime: task.agent.runtime },
      (observed) => reach(task, both, dependencies, observed?.traceparent),
      (end) => (end.ok ? { facts: { bytes: Buffer.byteLength(String(end.result)) } } : { error: end.failure.class }),
    );
    // What was stopped ends as that, whatever the agent still said.
    both.throwIfAborted();
    return endOf(task, run, dependencies);
  });
}

async function reach(
  task: AgentTask,
  signal: AbortSignal,
  { agents, redactor }: OutsideDependencies,
  traceparent: string | undefined,
): Promise<ToolRun> {
  const { limits } = task.agent;
  const { observer } = task;
  const bounds = { timeoutMs: task.timeoutMs ?? limits.timeoutMs, resultBytesMax: limits.maxOutputBytes };
  const output = observer && ((line: string) => observer.log("info", `stderr: ${line}`));
  const execution = { ...bounds, redactor, signal, ...(output && { output }) };
  const input = new TextEncoder().encode(canonicalJson(task.input));
  const { agentMeans: means } = task;
  // The server told the agent the trace of its lease; this worker, which traces, knows a nearer place.
  if (means?.kind === "http") {
    const headers = { ...means.headers, ...(traceparent !== undefined && { traceparent }) };
    return await agents.http({ ...execution, means: { ...means, headers, body: input } });
  }
  if (means?.kind === "command") {
    const env = { ...means.env, ...(traceparent !== undefined && { TRACEPARENT: traceparent }) };
    return await agents.command({ ...execution, means: { ...means, env, stdin: input } });
  }
  throw new Error(`the assignment does not say how agent ${task.agent.name} is reached`);
}

function endOf({ agent }: AgentTask, run: ToolRun, { redactor }: OutsideDependencies): TaskEnd {
  if (run.ok) return jsonOutput(agent, redactor.jsonText(String(run.result)));
  const { message, retryAfterMs } = run.failure;
  const failureClass = CLASSES[run.failure.class] ?? "AgentFailed";
  const wait = retryAfterMs === undefined ? {} : { retryAfterMs };
  return { kind: "failed", class: failureClass, message, retryable: !LASTING.has(failureClass), ...wait };
}
