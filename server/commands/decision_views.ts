// What explaining and trying decisions takes and returns. Plain values, no wire types, no SQL rows.
// Made by explain_decisions.ts and try_decisions.ts; mapped to the wire by rpc/policy_service.ts.

import type { JsonObject } from "../../kit/json.ts";
import type { DecisionDetail } from "../audit/events.ts";
import type { DryDecision } from "../policy/dry_decision.ts";
import type { Requester } from "../policy/types.ts";

/** Which decisions are to be explained; of runId and taskId exactly one is not empty. */
export interface ExplainInput {
  readonly runId: string;
  readonly taskId: string;
  /** Name of a tool, or the name that the model sees; empty: none. */
  readonly tool: string;
  /** Absent: those of the task's last call of the tool; left open if there is none. */
  readonly args?: JsonObject;
}

/** What is to be tried; empty names narrow nothing. */
export interface TryInput {
  readonly namespace: string;
  readonly requester: Requester;
  readonly workflow: string;
  readonly agent: string;
  readonly tool: string;
  /** Absent: left open. */
  readonly args?: JsonObject;
  readonly tags: Readonly<Record<string, string>>;
  readonly metadata: Readonly<Record<string, string>>;
  /** Absent: database time. */
  readonly time?: Date;
}

/** A decision as the audit trail holds it. */
export interface RecordedDecisionView {
  readonly recordId: bigint;
  readonly time: Date;
  readonly kind: string;
  /** Empty for one about a run. */
  readonly taskId: string;
  readonly decision: DecisionDetail;
}

/** A decision by the policies of now, beside what is on record of it. */
export interface DecisionView extends DryDecision {
  /** "namespace/name". */
  readonly workflow: string;
  /** Empty at workflow.run. */
  readonly agent: string;
  /** Empty but at tool.call. */
  readonly toolName: string;
  /** True for a tool that is denied before its agent runs and hidden from the model; the agent runs without it. */
  readonly withheld: boolean;
  /** Empty if it is about no task. */
  readonly taskId: string;
  readonly args?: JsonObject;
  /** Oldest first. */
  readonly recorded: readonly RecordedDecisionView[];
}
