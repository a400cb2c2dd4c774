// The errors that handler code and the worker tell each other: a tool that failed, and an agent that fails with a class of its own.
// Thrown by tool_calls.ts and by handler code; run_handler.ts turns them into the task's failure. Part of the library.

/** Class of a task whose handler threw something that is no AgentError. Tried again by default. */
export const AGENT_FAILED = "AgentFailed";
/** Class of a task whose handler said that another try does not help. */
const AGENT_REFUSED = "AgentRefused";
/** Class of a ToolError for a tool that the agent does not have, or that is withheld from it. */
export const TOOL_UNDECLARED = "Undeclared";

const CLASS = /^[A-Z][A-Za-z0-9]{0,63}$/;

/**
 * A governed tool failed, and its `onError` lets the agent know: `ctx.tools` rejects with it. Uncaught, it fails the task with ToolFailed.
 * What ends the task (a denial, a tool with `onError: fail`, a lost lease) never comes as this: it aborts `ctx.signal`.
 */
export class ToolError extends Error {
  override readonly name = "ToolError";
  /** Name of the tool, as the agent declares it. */
  readonly tool: string;
  /** Failure class, such as Http4xx, InvalidArguments, or Undeclared: docs/errors.md lists them. */
  readonly class: string;

  constructor(tool: string, failureClass: string, message: string) {
    super(message);
    this.tool = tool;
    this.class = failureClass;
  }
}

/** How an agent fails; all members have defaults. */
export interface AgentErrorOptions {
  /** Failure class, which `retry.on` of the manifest names; AgentFailed by default, AgentRefused if it is not retryable. */
  readonly class?: string;
  /** Whether another try may help; true by default. */
  readonly retryable?: boolean;
  /** Shortest wait before the next try, in ms. */
  readonly retryAfterMs?: number;
  readonly cause?: unknown;
}

/** Thrown by handler code, it fails the task with a class and a message of the agent's own. */
export class AgentError extends Error {
  override readonly name = "AgentError";
  readonly class: string;
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;

  /** @throws TypeError for a class that no manifest could name, or a wait that is none. */
  constructor(message: string, options: AgentErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    const { retryable = true, retryAfterMs } = options;
    this.class = options.class ?? (retryable ? AGENT_FAILED : AGENT_REFUSED);
    this.retryable = retryable;
    this.retryAfterMs = retryAfterMs;
    if (!CLASS.test(this.class)) {
      throw new TypeError(`"${this.class}" is no failure class: letters and digits, beginning with a capital`);
    }
    if (retryAfterMs !== undefined && !(Number.isFinite(retryAfterMs) && retryAfterMs >= 0)) {
      throw new TypeError(`retryAfterMs must be a number of milliseconds from 0, not ${retryAfterMs}`);
    }
  }
}
