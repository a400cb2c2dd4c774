// Decides what an outcome of a worker that holds the task's lease does to the task. The server decides; a worker only proposes.
// Called by commands/settle_outcome.ts under the locks of run and lease.
// Pure. In a run that stops already an outcome is recorded and advances nothing: the first cause stands.

import type { Random } from "../../kit/random.ts";
import type { RetryPolicy } from "../manifests/specs.ts";
import { decideRetry } from "./retry.ts";
import type { RunCause, RunState } from "./states.ts";

/** A failure that a worker reports, with the policies that it falls under. */
export interface FailedOutcome {
  readonly failureClass: string;
  readonly attempt: number;
  readonly policy: RetryPolicy;
  readonly retryAfterMs?: number | undefined;
  readonly onExhausted: "deadLetter" | "fail" | "continue";
  readonly random: Random;
}

const TOOL_FAILURES: ReadonlySet<string> = new Set(["ToolFailed", "ToolAttemptsExhausted", "UnknownOutcome"]);

/** True for failures of a task that one of its tool calls caused. */
export function failsByTool(failureClass: string): boolean {
  return TOOL_FAILURES.has(failureClass);
}

/** What becomes of the task. */
export type OutcomeStep =
  | { readonly type: "succeeded" }
  /** READY again, same attempt, token void. */
  | { readonly type: "requeued" }
  | { readonly type: "cancelled" }
  | { readonly type: "timed_out" }
  | { readonly type: "retried"; readonly delayMs: number }
  | { readonly type: "parked" }
  | { readonly type: "failed" };

/** A task that is cancelled in a run that stops takes that cause. */
export function cancelledState(cause: RunCause | undefined): "cancelled" | "timed_out" {
  return cause === "timed_out" ? "timed_out" : "cancelled";
}

/** A worker gave the task back, or stopped it. It may cancel only what was asked to stop; else its word is an interruption. */
export function afterStop(run: { readonly state: RunState; readonly cause?: RunCause | undefined }): OutcomeStep {
  return run.state === "RUNNING" ? { type: "requeued" } : { type: cancelledState(run.cause) };
}

/** A worker failed at it: another attempt, a dead letter, or the end of the task. */
export function afterFailure(runState: RunState, failed: FailedOutcome): OutcomeStep {
  if (runState !== "RUNNING") return { type: "failed" };
  const decision = decideRetry(failed);
  if (decision.type === "retry") return { type: "retried", delayMs: decision.delayMs };
  return { type: failed.onExhausted === "deadLetter" ? "parked" : "failed" };
}
