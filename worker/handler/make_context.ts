// Makes what handler code is given for one task: its tools, its records, its signal, its log.
// Called by run_handler.ts. Everything that the context does runs in the task's scope; what is on record is answered from the journal.
// A tool that is withheld from the task is not there, as for a model: that it is declared is not told.

import type { Clock } from "../../kit/clock.ts";
import type { Json } from "../../kit/json.ts";
import type { Random } from "../../kit/random.ts";
import type { Redactor } from "../../kit/redactor.ts";
import type { AgentTask, TaskPort } from "../agent/task.ts";
import type { AgentView, ToolView } from "../agent/view.ts";
import type { Log } from "../log.ts";
import type { ToolExecutors } from "../tool/executor.ts";
import type { HandlerContext } from "./context.ts";
import { TOOL_UNDECLARED, ToolError } from "./errors.ts";
import { JournalWriter } from "./journal_writer.ts";
import { Recall } from "./recall.ts";
import { Records } from "./records.ts";
import type { Scope } from "./scope.ts";
import { ToolCalls } from "./tool_calls.ts";

/** What a context is made of. */
export interface ContextParts {
  readonly port: TaskPort;
  /** Aborts when the task stops. */
  readonly signal: AbortSignal;
  readonly scope: Scope;
  readonly executors: ToolExecutors;
  readonly clock: Clock;
  readonly random: Random;
  readonly redactor: Redactor;
  /** The task's own log. */
  readonly log: Log;
}

/** The context of a task. */
export function makeContext(task: AgentTask, parts: ContextParts): HandlerContext {
  const { port, signal, scope, executors, clock, random, redactor, log } = parts;
  const { agent } = task;
  const recall = new Recall(task.journal);
  const writer = new JournalWriter(port, task.journal.length, signal);
  const driving = { port: writer, executors, clock, random, redactor, signal, observer: task.observer };
  const calls = new ToolCalls({ task, scope, recall, writer, driving });
  const records = new Records({ task, scope, recall, writer, redactor, signal });
  const offered = agent.tools.filter((tool) => !task.withheldTools.includes(tool.name));
  return Object.freeze({
    tools: toolsOf(offered, (name, tool, args) =>
      scope.run(() => (tool === undefined ? undeclared(agent, offered, name) : calls.call(tool, args))),
    ),
    record: <Value>(name: string, make: () => Value | Promise<Value>) =>
      scope.run(() => records.record(name, make)) as Promise<Value>,
    signal: scope.signal,
    log,
    ...(task.observer?.traceparent !== undefined && { traceparent: task.observer.traceparent }),
    task: Object.freeze({ id: task.taskId, runId: task.runId, node: task.node, attempt: task.attempt }),
    agent: Object.freeze({
      name: agent.name,
      tools: offered.map(({ name, description, inputSchema }) => ({ name, description, inputSchema })),
    }),
  });
}

function toolsOf(
  offered: readonly ToolView[],
  call: (name: string, tool: ToolView | undefined, args: unknown) => Promise<Json>,
): object {
  const tools = new Map(offered.map((tool) => [tool.name, (args?: unknown) => call(tool.name, tool, args)]));
  return new Proxy(Object.freeze(Object.assign(Object.create(null) as object, Object.fromEntries(tools))), {
    get(_target, key) {
      // `then`: an object that has one is taken for a promise.
      if (typeof key === "symbol" || (key === "then" && !tools.has(key))) return undefined;
      return tools.get(key) ?? (() => call(key, undefined, undefined));
    },
  });
}

function undeclared({ name: agent }: AgentView, offered: readonly ToolView[], tool: string): Promise<never> {
  const known = offered.length === 0 ? "it has none" : `it has ${offered.map(({ name }) => name).join(", ")}`;
  return Promise.reject(new ToolError(tool, TOOL_UNDECLARED, `agent ${agent} has no tool "${tool}"; ${known}`));
}
