// Runs one task within its time, whatever its runtime, and says how it ended: also when it was stopped, or when something was thrown.
// Called by the runtimes: loop.ts for models, and those that run an agent of their own. Never rejects.
// What is told of a failure holds no secret and is cut; half a secret would not be known as one, so it is cut after that.

import type { Clock } from "../../kit/clock.ts";
import { DomainError, messageOf } from "../../kit/errors.ts";
import type { Redactor } from "../../kit/redactor.ts";
import { ModelError } from "../model/adapter.ts";
import { stopCause, TaskStopped } from "./stop.ts";
import type { AgentTask, TaskEnd } from "./task.ts";

/** Characters of a failure's message that are told; a provider's may be long. */
const MESSAGE_CHARACTERS_MAX = 500;

/** What running within a time needs. */
export interface TimeDependencies {
  readonly clock: Clock;
  /** Knows the secrets of this process's tasks. */
  readonly redactor: Redactor;
}

// Of signals that nobody waits for any more. One for all: making an error costs more than the rest of this file.
const OVER = new TaskStopped("interrupted");

/** The prompt cannot be rendered over this input. */
export class PromptError extends Error {}

/**
 * Runs the body until it ends, the task is stopped, or its time is up.
 *
 * @param run gets a signal that aborts with a TaskStopped for each of the last two; what it throws becomes the task's failure.
 */
export async function withinTime(
  task: AgentTask,
  signal: AbortSignal,
  { clock, redactor }: TimeDependencies,
  run: (signal: AbortSignal) => Promise<TaskEnd>,
): Promise<TaskEnd> {
  const timeout = new AbortController();
  const timeoutMs = task.timeoutMs ?? task.agent.limits.timeoutMs;
  const cancelTimer = clock.after(timeoutMs, () => timeout.abort(new TaskStopped("timeout")));
  const both = AbortSignal.any([signal, timeout.signal]);
  try {
    return told(await run(both), redactor);
  } catch (error) {
    return told(endOf(error, both, timeoutMs), redactor);
  } finally {
    cancelTimer();
    // Node keeps a signal that is made of others for as long as somebody listens to it.
    timeout.abort(OVER);
  }
}

function told(end: TaskEnd, redactor: Redactor): TaskEnd {
  if (end.kind !== "failed") return end;
  const clean = redactor.text(end.message);
  const message = clean.length > MESSAGE_CHARACTERS_MAX ? `${clean.slice(0, MESSAGE_CHARACTERS_MAX)}…` : clean;
  return { ...end, message };
}

function endOf(error: unknown, signal: AbortSignal, timeoutMs: number): TaskEnd {
  const stop = error instanceof TaskStopped ? error.stop : stopCause(signal);
  if (stop === "cancelled") return { kind: "cancelled" };
  if (stop === "lost") return { kind: "dropped" };
  if (stop === "interrupted") return { kind: "interrupted", reason: "draining" };
  if (stop === "timeout") {
    return {
      kind: "failed",
      class: "Timeout",
      message: `the task did not end within ${timeoutMs} ms`,
      retryable: true,
    };
  }
  if (error instanceof ModelError) {
    const wait = error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs };
    return { kind: "failed", class: error.class, message: error.message, retryable: error.retryable, ...wait };
  }
  if (error instanceof PromptError) {
    return { kind: "failed", class: "InputInvalid", message: error.message, retryable: false };
  }
  if (error instanceof DomainError && error.reason === "PAYLOAD_TOO_LARGE") {
    return { kind: "failed", class: "OutputTooLarge", message: error.message, retryable: false };
  }
  return { kind: "failed", class: "WorkerError", message: messageOf(error), retryable: true };
}
