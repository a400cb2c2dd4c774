// Facts of a worker: from frames to commands, and from verdicts back to acknowledgements.
// Called by worker_session.ts for turns, tool calls, tool results and outcomes; each goes through its coalescer and is
// acknowledged after the commit. A fact that the database could not take is not acknowledged: the session ends, and the worker
// sends it again when it is back.

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { DomainError, messageOf } from "../../kit/errors.ts";
import { JSON_DEPTH_MAX, type Json, parseJson } from "../../kit/json.ts";
import { readTurn } from "../../kit/turn.ts";
import {
  type Outcome,
  type SessionResponse,
  type ToolCall,
  type ToolDecision,
  ToolDecisionSchema,
  type ToolResult,
  type TurnRecord,
} from "../../proto/gen/orloj/v1/worker_pb.ts";
import type { CommandServices } from "../commands/services.ts";
import type { Presented, SettleVerdict, WorkerOutcome } from "../commands/settle_items.ts";
import type { ToolAnswer } from "../commands/tool_facts.ts";
import { wireGrant } from "./grant_wire.ts";
import { durationMs, durationOf, frameOf, wireVerdict } from "./wire.ts";

/** Levels that a turn puts around the arguments of a call. */
const ENVELOPE_LEVELS = 8;

/** Who sends the facts. */
export interface FactSender {
  readonly sessionId: string;
  readonly worker: string;
}

/** Records turns and acknowledges them. */
export async function recordTurnFacts(
  services: CommandServices,
  sender: FactSender,
  turns: readonly TurnRecord[],
): Promise<SessionResponse> {
  const acks = await Promise.all(
    turns.map(async ({ taskId, token, sequence, turnJson }) => {
      requireTurn(turnJson);
      const verdict = await services.turns.add({ ...sender, taskId, token, sequence, turnJson });
      return { token, sequence, ...wireVerdict(verdict) };
    }),
  );
  return frameOf({ case: "turnAcks", value: { acks } });
}

/** Decides tool calls; denials and failures are settled before they are answered. */
export async function decideToolCalls(
  services: CommandServices,
  sender: FactSender,
  calls: readonly ToolCall[],
): Promise<SessionResponse> {
  const decisions = await Promise.all(calls.map((call) => decideToolCall(services, sender, call)));
  return frameOf({ case: "toolDecisions", value: { decisions } });
}

async function decideToolCall(services: CommandServices, sender: FactSender, call: ToolCall): Promise<ToolDecision> {
  const { callId, taskId, token, turnSequence, callIndex, tool, argumentsJson, attempt } = call;
  try {
    const fact = { ...sender, taskId, token, turnSequence, callIndex, tool, argumentsJson, attempt };
    const { answer, settle } = await services.authorize.add(fact);
    if (settle !== undefined) await services.settle.add(settle);
    return create(ToolDecisionSchema, { callId, decision: wireDecision(answer) });
  } catch (error) {
    const message = error instanceof DomainError ? error.message : "the call could not be decided";
    return create(ToolDecisionSchema, { callId, decision: { case: "unavailable", value: { message } } });
  }
}

function wireDecision(answer: ToolAnswer): NonNullable<MessageInitShape<typeof ToolDecisionSchema>["decision"]> {
  switch (answer.type) {
    case "granted":
      return { case: "granted", value: wireGrant(answer.grant) };
    case "cached":
      return { case: "cached", value: { resultJson: answer.resultJson } };
    case "denied":
      // Why is for the requester and the trail: what a worker is told may end up in a prompt.
      return { case: "denied", value: { code: "denied", taskEnded: true } };
    case "not_asked":
      return { case: "denied", value: { code: "not_asked", taskEnded: false } };
    case "retry_after":
      return { case: "retryAfter", value: durationOf(answer.delayMs) };
    case "unknown_outcome":
      return { case: "unknownOutcome", value: {} };
    case "conflict":
      return { case: "conflict", value: {} };
    case "failed":
    case "lease_lost":
      return { case: "leaseLost", value: {} };
    case "invalid_arguments":
      return { case: "invalidArguments", value: { message: answer.message } };
  }
}

/** Records tool results and acknowledges them. */
export async function recordResultFacts(
  services: CommandServices,
  sender: FactSender,
  results: readonly ToolResult[],
): Promise<SessionResponse> {
  const acks = await Promise.all(
    results.map(async (fact) => {
      const { taskId, token, grantId, callId, journalSequence } = fact;
      const result = toolResult(fact);
      const durationMsOf = durationMs(fact.duration);
      const recorded = await services.results.add({
        ...sender,
        taskId,
        token,
        grantId,
        result,
        durationMs: durationMsOf,
        journalSequence,
      });
      if (recorded.settle !== undefined) await services.settle.add(recorded.settle);
      return { callId, ...wireVerdict(recorded.verdict) };
    }),
  );
  return frameOf({ case: "toolResultAcks", value: { acks } });
}

function toolResult({ result }: ToolResult) {
  if (result.case === "resultJson") {
    requireJson(result.value, "tool result");
    return { ok: true, resultJson: result.value } as const;
  }
  if (result.case !== "failure") throw violation("a tool result has neither result_json nor failure");
  const { class: failureClass, message, ambiguous } = result.value;
  return { ok: false, class: failureClass, message, ambiguous } as const;
}

/** Settles outcomes and acknowledges them. */
export async function settleOutcomeFacts(
  services: CommandServices,
  sender: FactSender,
  outcomes: readonly Outcome[],
): Promise<SessionResponse> {
  const acks = await Promise.all(
    outcomes.map(async (fact) => {
      const presented: Presented = { taskId: fact.taskId, token: fact.token, sessionId: sender.sessionId };
      const outcome = workerOutcome(fact);
      const actor = `worker:${sender.worker}`;
      const verdict: SettleVerdict = await services.settle.add({ type: "outcome", ...presented, outcome, actor });
      return { token: fact.token, ...wireVerdict(verdict) };
    }),
  );
  return frameOf({ case: "outcomeAcks", value: { acks } });
}

function workerOutcome({ outcome }: Outcome): WorkerOutcome {
  switch (outcome.case) {
    case "outputJson":
      return { type: "succeeded", output: requireJson(outcome.value, "output") };
    case "failed": {
      const { class: failureClass, message, retryAfter } = outcome.value;
      const retryAfterMs = durationMs(retryAfter);
      return { type: "failed", failure: { class: failureClass, message }, ...(retryAfterMs > 0 && { retryAfterMs }) };
    }
    case "cancelled":
      return { type: "cancelled" };
    case "interrupted":
      return { type: "interrupted", reason: outcome.value.reason };
    default:
      throw violation("an outcome has no kind");
  }
}

function requireTurn(text: string): void {
  const turn = requireJson(text, "turn");
  try {
    readTurn(turn);
  } catch (error) {
    throw violation(`a turn cannot be recorded: ${messageOf(error)}`);
  }
}

function requireJson(text: string, what: string): Json {
  try {
    return parseJson(text, JSON_DEPTH_MAX + ENVELOPE_LEVELS);
  } catch (error) {
    throw violation(`a ${what} is not JSON: ${messageOf(error)}`);
  }
}

function violation(message: string): DomainError {
  return new DomainError("PROTOCOL_VIOLATION", message);
}
