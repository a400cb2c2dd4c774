// Runs one task of an agent that is code: gives the registered handler its input and context, and makes the task's end of what it does.
// Called by handler_runtime.ts with the same port, signal, and tools as the loop of models.
// The code begins at its beginning each time; recall.ts answers what is on record. Code that does not end when its signal aborts is
// left behind after a grace: its slot becomes free, and nothing that it does later counts. What blocks the thread cannot be stopped.

import { messageOf } from "../../kit/errors.ts";
import { canonicalJson, type Json } from "../../kit/json.ts";
import type { Random } from "../../kit/random.ts";
import type { Redactor } from "../../kit/redactor.ts";
import { jsonOutput } from "../agent/output.ts";
import type { AgentTask, TaskEnd, TaskPort } from "../agent/task.ts";
import type { AgentView } from "../agent/view.ts";
import { type TimeDependencies, withinTime } from "../agent/within_time.ts";
import type { Log } from "../log.ts";
import type { ToolExecutors } from "../tool/executor.ts";
import type { Handlers } from "./context.ts";
import { AGENT_FAILED, AgentError, ToolError } from "./errors.ts";
import { makeContext } from "./make_context.ts";
import { plainJson } from "./plain_json.ts";
import { Scope } from "./scope.ts";

/** What running handlers needs. */
export interface HandlerDependencies extends TimeDependencies {
  readonly handlers: Handlers;
  readonly executors: ToolExecutors;
  readonly random: Random;
  readonly log: Log;
  /** How long code may take to end after its signal aborted, in ms. */
  readonly graceMs: number;
}

/** How the code ended. */
type Ended = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly error: unknown };

/** Runs a task to its end; never rejects. */
export function runHandler(
  task: AgentTask,
  port: TaskPort,
  signal: AbortSignal,
  dependencies: HandlerDependencies,
): Promise<TaskEnd> {
  return withinTime(task, signal, dependencies, (stopped) => runCode(task, port, stopped, dependencies));
}

async function runCode(
  task: AgentTask,
  port: TaskPort,
  stopped: AbortSignal,
  dependencies: HandlerDependencies,
): Promise<TaskEnd> {
  const log = taskLog(task, dependencies.log);
  const scope = new Scope(stopped, () => log("warn", "a handler used its context after its end"));
  const ctx = makeContext(task, { ...dependencies, port, signal: stopped, scope, log });
  const handler = dependencies.handlers[task.agent.handler ?? ""];
  const running = Promise.resolve().then(() => {
    if (handler === undefined) throw new AgentError(`this worker has no handler "${task.agent.handler}"`);
    return handler(task.input, ctx);
  });
  const ended = await endOfCode(running, scope.signal, dependencies, log);
  await scope.close();
  const cause = scope.cause();
  if (cause !== undefined) return cause;
  stopped.throwIfAborted();
  if (ended?.ok === true) return outputOf(task.agent, ended.value, dependencies.redactor);
  return failureOf(ended?.error, log);
}

// Undefined: it did not end within the grace.
async function endOfCode(
  running: Promise<unknown>,
  signal: AbortSignal,
  { clock, graceMs }: HandlerDependencies,
  log: Log,
): Promise<Ended | undefined> {
  const ended: Promise<Ended> = running.then(
    (value) => ({ ok: true, value }) as const,
    (error: unknown) => ({ ok: false, error }) as const,
  );
  const first = await Promise.race([ended, whenAborted(signal)]);
  if (first !== undefined) return first;
  const waited = new AbortController();
  const last = await Promise.race([ended, clock.sleep(graceMs, waited.signal)]);
  waited.abort();
  if (last === undefined) log("error", "a handler does not end although its signal aborted; it is left behind");
  return last ?? undefined;
}

function whenAborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
}

// What handler code says is told whoever runs the worker, and whoever looks at the run.
function taskLog({ taskId: task, runId: run, node, trace, observer }: AgentTask, log: Log): Log {
  const ids = { task, run, node, ...(trace !== undefined && { trace }) };
  return (level, message, fields = {}) => {
    log(level, message, { ...fields, ...ids });
    observer?.log(level, message, fields);
  };
}

function outputOf(agent: AgentView, value: unknown, redactor: Redactor): TaskEnd {
  let output: Json;
  try {
    output = redactor.json(value === undefined ? null : plainJson(value, "the output"));
  } catch (error) {
    return { kind: "failed", class: "OutputInvalid", message: messageOf(error), retryable: true };
  }
  return jsonOutput(agent, canonicalJson(output));
}

function failureOf(error: unknown, log: Log): TaskEnd {
  const message = messageOf(error);
  if (error instanceof AgentError) {
    const { class: failureClass, retryable, retryAfterMs } = error;
    const wait = retryAfterMs === undefined ? {} : { retryAfterMs };
    return { kind: "failed", class: failureClass, message, retryable, ...wait };
  }
  if (error instanceof ToolError) {
    const told = `tool ${error.tool} failed with ${error.class}: ${message}`;
    return { kind: "failed", class: "ToolFailed", message: told, retryable: true };
  }
  log("error", "a handler threw", { error: error instanceof Error ? (error.stack ?? message) : message });
  return { kind: "failed", class: AGENT_FAILED, message, retryable: true };
}
