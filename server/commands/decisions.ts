// Decides by live policies, on the input document of a subject.
// Called by invoke (workflow.run), claim (agent.run) and authorize_tool_call (tool.call), inside their transactions.

import type { DecisionDetail } from "../audit/events.ts";
import { decisionDetail } from "../audit/record.ts";
import { decide, policiesFor } from "../policy/evaluate.ts";
import { type InputSubject, policyInput } from "../policy/input.ts";
import { targetsOf } from "../policy/targets.ts";
import type { Decision, PolicyInput } from "../policy/types.ts";
import type { LiveState } from "./caches.ts";
import type { CompiledBundle, CompiledTool } from "./compiled_bundle.ts";

/** What a decision is about; see server/policy/input.ts. */
export interface DecisionSubject extends Omit<InputSubject, "live" | "bundle" | "nowMs" | "tool"> {
  readonly live: LiveState;
  readonly bundle: CompiledBundle;
  readonly now: Date;
  readonly tool?: CompiledTool;
}

/** A decision with the input document that it was made on. */
export interface Decided {
  readonly decision: Decision;
  readonly input: PolicyInput;
}

function inputOf({ bundle, now, tool, ...rest }: DecisionSubject): PolicyInput {
  return policyInput({ ...rest, bundle: bundle.bundle, nowMs: now.getTime(), tool: tool?.tool });
}

/** Decides; never throws: an error is a denial. */
export function decideSubject(subject: DecisionSubject): Decided {
  const input = inputOf(subject);
  return { input, decision: decide(subject.live.policies, input, targetsOf(input)) };
}

/** Decides unless nothing that could deny applies; for what is decided often and early. */
export function decideIfAny(subject: DecisionSubject): Decided | undefined {
  const { policies } = subject.live;
  const input = inputOf(subject);
  const targets = targetsOf(input);
  const isOpen = policies.unattached === "allow" && input.tool?.guarded !== true;
  if (isOpen && policiesFor(policies, subject.checkpoint, targets).length === 0) return undefined;
  return { input, decision: decide(policies, input, targets) };
}

/** The decision as a member of its audit record; nothing when no policy applied and nothing was denied. */
export function noted({ decision, input }: Decided): { decision?: DecisionDetail } {
  if (decision.allowed && decision.verdicts.length === 0) return {};
  return { decision: decisionDetail(decision, input) };
}
