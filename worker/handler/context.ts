// What handler code is given, and what it is: the types that a program sees which registers agents of its own.
// Part of the library; run_handler.ts makes the context of each task. Holds no behaviour.
// Input, tools, and output are as the manifests' schemas say: the server checks input and arguments, the worker the output. So they are
// typed by whoever writes the handler, and loose by default.

import type { JsonObject } from "../../kit/json.ts";
import type { Log } from "../log.ts";

// biome-ignore lint/suspicious/noExplicitAny: input and tools are as manifests say; a handler that wants them typed says how
type AsDeclared = any;

/** Which task runs. */
export interface HandlerTask {
  readonly id: string;
  readonly runId: string;
  /** Node of the system. */
  readonly node: string;
  /** From 1; spent by failure. A task that moves to another worker keeps its attempt. */
  readonly attempt: number;
}

/** A tool that the agent may call. */
export interface OfferedTool {
  /** Member of `ctx.tools`. */
  readonly name: string;
  readonly description: string;
  /** JSON Schema of the arguments. */
  readonly inputSchema: JsonObject;
}

/** What its manifest says of the agent. */
export interface HandlerAgent {
  readonly name: string;
  /** What `ctx.tools` has: the declared tools without those that a policy withholds. */
  readonly tools: readonly OfferedTool[];
}

/** What a handler is given beside its input. */
export interface HandlerContext<Tools = AsDeclared> {
  /**
   * The agent's tools by the name that it declares: `await ctx.tools.refund({ orderId })`. Each call is decided by the server's policies,
   * recorded before it is made, and answered from the record after a crash. Calls that are made together run together.
   *
   * @throws ToolError when the tool failed and its `onError` is tell, or when the agent has no such tool.
   */
  readonly tools: Tools;
  /**
   * Does something once and records its value, a model's answer for example: after a crash the recorded value is returned, and `make` is not
   * called. The value is JSON, 512 KiB at most. Without a record between them, a crash repeats what was made.
   *
   * @param name 1 to 128 characters; in loops the same name may be used again, but not at the same time.
   */
  record<Value>(name: string, make: () => Value | Promise<Value>): Promise<Value>;
  /** Aborts when the task is cancelled, out of time, denied, or lost: hand it to whatever takes one. */
  readonly signal: AbortSignal;
  /**
   * Tells something of the task: the worker's own log, with the task's ids, and those who ask for the logs of the run. Secrets of tools
   * are left out. A task keeps 64 KiB of its lines, the first and the last ones.
   */
  readonly log: Log;
  /** W3C trace context of the task, for what the code calls by itself; absent: the worker does not trace, or the run is in no trace. */
  readonly traceparent?: string;
  readonly task: HandlerTask;
  readonly agent: HandlerAgent;
}

/**
 * An agent as code. Its value is the task's output and fits the agent's `outputSchema`; what it throws fails the task.
 * After a crash it begins again from its beginning, on whichever worker has it: see docs/worker-library.md.
 */
export type Handler<Input = AsDeclared, Output = unknown, Tools = AsDeclared> = (
  input: Input,
  ctx: HandlerContext<Tools>,
) => Output | Promise<Output>;

/** Handlers by the name that agents' `handler.name` uses. */
export type Handlers = Readonly<Record<string, Handler>>;
