// Decides whether a failed task is tried again, and after how long.
// Called by commands/settle_outcome with the retry policy of the agent or of the workflow.
// The policy's list of classes decides, never the worker: a class that is not listed is not retried.
// Pure: the randomness comes in; taskRandom gives every task and attempt its own, so that tasks never retry in step.

import { createHash } from "node:crypto";
import { backoffDelay } from "../../kit/backoff.ts";
import { type Random, seededRandom } from "../../kit/random.ts";
import { DAY } from "../../kit/units.ts";
import type { RetryPolicy } from "../manifests/specs.ts";

/** Longest wait that a peer may ask for, in ms; a run's own timeout ends most waits sooner. */
export const RETRY_AFTER_MAX_MS = DAY;

/** A failed attempt. */
export interface FailedAttempt {
  readonly policy: RetryPolicy;
  /** The attempt that failed, from 1. */
  readonly attempt: number;
  readonly failureClass: string;
  /** How long the model or tool asked to wait, in ms; absent if it did not. */
  readonly retryAfterMs?: number | undefined;
  readonly random: Random;
}

/** What becomes of the task. */
export type RetryDecision =
  | { readonly type: "retry"; readonly delayMs: number }
  /** The class would be retried, but the attempts are used up. */
  | { readonly type: "exhausted" }
  | { readonly type: "not_retryable" };

/** See the file header. */
export function decideRetry(failed: FailedAttempt): RetryDecision {
  const { policy, attempt, failureClass, random } = failed;
  if (!policy.on.includes(failureClass)) return { type: "not_retryable" };
  if (attempt >= policy.maxAttempts) return { type: "exhausted" };
  return { type: "retry", delayMs: backoffDelay(policy.backoff, attempt, random, boundedWait(failed.retryAfterMs)) };
}

/** Repeatable randomness of one attempt of one task. */
export function taskRandom(taskId: string, attempt: number): Random {
  return seededRandom(createHash("sha256").update(`${taskId}/${attempt}`).digest().readUInt32BE(0));
}

function boundedWait(retryAfterMs = 0): number {
  if (!(retryAfterMs > 0)) return 0;
  return Math.min(Math.ceil(retryAfterMs), RETRY_AFTER_MAX_MS);
}
