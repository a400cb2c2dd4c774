// What can be settled: every fact that ends, parks, requeues or stops something, as one union.
// Made by dispatch (worker outcomes, the tick's findings), claim and authorize_tool_call (denials), grant_tool and record_tool_results
// (calls that fail or park the task), cancel and steer_fleet; settled in batches by settle.ts.

import type { DomainError } from "../../kit/errors.ts";
import { canonicalJson, type Json, sha256 } from "../../kit/json.ts";
import type { FailureValue } from "../graph/types.ts";
import type { Decision, PolicyInput } from "../policy/types.ts";
import type { LossReason } from "../queue/loss.ts";
import type { RunCause } from "../queue/states.ts";

/** How a worker says that a task ended. */
export type WorkerOutcome =
  | { readonly type: "succeeded"; readonly output: Json }
  | { readonly type: "failed"; readonly failure: FailureValue; readonly retryAfterMs?: number }
  | { readonly type: "cancelled" }
  | { readonly type: "interrupted"; readonly reason: string };

/** A token as the session that holds it presents it. */
export interface Presented {
  readonly taskId: string;
  readonly token: string;
  readonly sessionId: string;
}

/** A denied tool call or assignment, for the decision record. */
export interface DeniedSubject {
  readonly tool?: string;
  readonly requestId?: string;
  readonly argumentsDigest?: string;
}

/** How a dead letter is replayed; made by replay_dead_letters.ts. */
export interface ReplayPlan {
  /** Id of the new task. */
  readonly taskId: string;
  readonly how: "plain" | "input" | "current_manifests";
  /** Equal for equal requests. */
  readonly digest: string;
  readonly repeatEffects: boolean;
  /** Results of calls of unknown outcome, as canonical JSON, by request id. */
  readonly results: ReadonlyMap<string, string>;
  /** Canonical JSON. */
  readonly input: string;
  /** Present unless plain: what the task begins anew with, an empty journal and a lineage of its own beside. */
  readonly anew?: {
    readonly agent: string;
    readonly route: string;
    /** Absent: as the task that is replayed. */
    readonly bundleDigest?: string;
  };
}

/** See the file header. */
export type SettleItem =
  | (Presented & { readonly type: "outcome"; readonly outcome: WorkerOutcome; readonly actor: string })
  | (Presented & {
      readonly type: "denied";
      readonly decision: Decision;
      readonly input?: PolicyInput;
      readonly subject: DeniedSubject;
    })
  | (Presented & { readonly type: "park"; readonly failure: FailureValue })
  | (Presented & { readonly type: "fail"; readonly failure: FailureValue })
  | {
      readonly type: "lost";
      readonly taskId: string;
      readonly token: string;
      readonly reason: LossReason;
      readonly actor: string;
      readonly note: string;
    }
  | { readonly type: "wake"; readonly taskId: string }
  | { readonly type: "replay"; readonly taskId: string; readonly plan: ReplayPlan; readonly actor: string }
  | { readonly type: "discard"; readonly taskId: string; readonly reason: string; readonly actor: string }
  | {
      readonly type: "stop";
      readonly runId: string;
      readonly cause: RunCause;
      readonly failure: FailureValue;
      readonly actor: string;
    }
  | { readonly type: "run_due"; readonly runId: string };

/** What became of an item. */
export type SettleVerdict =
  | { readonly verdict: "committed" }
  | { readonly verdict: "duplicate" }
  | { readonly verdict: "lease_lost" }
  | { readonly verdict: "refused"; readonly error: string }
  /** Of what a person asked for. */
  | { readonly verdict: "failed"; readonly error: DomainError };

/** Digest by which a resent outcome is known. */
export function outcomeDigest(outcome: WorkerOutcome): string {
  return sha256(canonicalJson(outcome as unknown as Json));
}

/** A failure in one line, cut to what is stored. */
export function boundedFailure(failure: FailureValue): FailureValue {
  const text = failure.message.replaceAll("\u0000", "\\u0000").toWellFormed();
  return { class: failure.class.slice(0, 64), message: text.length > 4_000 ? `${text.slice(0, 4_000)}…` : text };
}
