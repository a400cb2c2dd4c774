// What a call gets that structure and policies allow: its recorded result, a wait, the end of its task, or a grant, in its turn and within limits.
// Called by authorize_tool_call.ts under the locks of leases, ledger rows, limited tools, and counters. queue/ledger.ts decides by the row.

import { assert } from "../../kit/errors.ts";
import { type Json, jsonDigest } from "../../kit/json.ts";
import type { Decision, PolicyInput } from "../policy/types.ts";
import { isFirstGrant, nextLedgerStep } from "../queue/ledger.ts";
import type { StoreQueries } from "../storage/store.ts";
import { type Decided, noted } from "./decisions.ts";
import { grantTool } from "./grant_tool.ts";
import type { LockedLedger } from "./identify_calls.ts";
import { callDetail, journalAnswer, recordCall, type SoundCall, type ToolBatch } from "./tool_batch.ts";
import type { Authorized, ToolCallFact } from "./tool_facts.ts";

/** What an allowed call gets by its ledger row: what is on record, a wait, or a grant. */
export async function useLedger(
  tx: StoreQueries,
  batch: ToolBatch,
  call: SoundCall,
  decided: Decided,
  ledger: LockedLedger,
): Promise<Authorized> {
  const row = ledger.rows.get(call.requestId);
  const { taskId, token, sessionId } = call.fact;
  const presented = { taskId, token, sessionId };
  const step = nextLedgerStep(row, {
    token,
    toolName: call.tool.tool.name,
    argumentsDigest: call.argumentsDigest,
    originTaskId: call.task.origin_task_id,
    begun: batch.begun.get(taskId) ?? 1,
    tool: call.tool.tool.spec,
    holderLives: row !== undefined && ledger.living.has(row.grant_token),
    nowMs: batch.now.getTime(),
  });
  switch (step.type) {
    case "cached": {
      await journalAnswer(tx, batch, call, { kind: "result", payload: step.result });
      const detail = {
        ...callDetail(call, row?.attempt ?? 1),
        resultDigest: jsonDigest(JSON.parse(step.result) as Json),
      };
      recordCall(batch, call, { kind: "tool.cached", detail: { ...detail, ...noted(decided) } });
      return { answer: { type: "cached", resultJson: step.result } };
    }
    case "in_flight":
      return { answer: { type: "retry_after", delayMs: step.delayMs } };
    case "conflict": {
      const failure = {
        class: "IdempotencyConflict",
        message: `request ${call.requestId} was made before with other arguments`,
      };
      return { answer: { type: "conflict" }, settle: { type: "fail", ...presented, failure } };
    }
    case "exhausted": {
      const failure = {
        class: "ToolAttemptsExhausted",
        message: `tool ${call.fact.tool} was tried as often as its retry allows`,
      };
      return { answer: { type: "failed" }, settle: { type: "fail", ...presented, failure } };
    }
    case "unknown": {
      assert(row !== undefined, "an unknown outcome has a ledger row");
      batch.calls.push({ ...row, state: "unknown" });
      const message = `nobody knows whether ${call.tool.tool.name} had its effect (request ${call.requestId}); a person has to decide`;
      return {
        answer: { type: "unknown_outcome" },
        settle: { type: "park", ...presented, failure: { class: "UnknownOutcome", message } },
      };
    }
    case "grant":
      return await grantInTurn(tx, batch, call, decided, { ...step, ledger: ledger.rows });
  }
}

// Who has to wait is told so, and asks again: no transaction is held for it.
async function grantInTurn(
  tx: StoreQueries,
  batch: ToolBatch,
  call: SoundCall,
  decided: Decided,
  of: Parameters<typeof grantTool>[4],
): Promise<Authorized> {
  const { limited, requestId } = call;
  // The holder of an open grant asks for it again: it goes on with that.
  const isSame = of.expireTime !== undefined;
  if (limited === undefined || isSame) return await grantWithinLimits(tx, batch, call, decided, of);
  const row = of.ledger.get(requestId);
  const delayMs = batch.turns.take(limited.tool, requestId, row, batch.now.getTime());
  if (delayMs !== undefined) return { answer: { type: "retry_after", delayMs } };
  const authorized = await grantWithinLimits(tx, batch, call, decided, of);
  if (authorized.answer.type !== "granted") batch.turns.giveBack(limited.tool, requestId);
  return authorized;
}

// Repetitions of a call that was granted before count nothing.
async function grantWithinLimits(
  tx: StoreQueries,
  batch: ToolBatch,
  call: SoundCall,
  decided: Decided,
  of: Parameters<typeof grantTool>[4],
): Promise<Authorized> {
  if (!isFirstGrant(of.ledger.get(call.requestId), call.task.origin_task_id)) {
    return await grantTool(tx, batch, call, decided, of);
  }
  const decision = batch.limits.consume(decided.decision);
  if (!decision.allowed) return deny(call.fact, { ...decided, decision }, subjectOf(call));
  const authorized = await grantTool(tx, batch, call, { ...decided, decision }, of);
  if (authorized.answer.type !== "granted") batch.limits.restore(decision);
  return authorized;
}

/** What was denied, for the record. */
export function subjectOf({ tool, requestId, argumentsDigest }: SoundCall) {
  return { tool: tool.tool.name, requestId, argumentsDigest };
}

/** Denies a call: its task ends when that is settled. */
export function deny(
  fact: ToolCallFact,
  decided: { readonly decision: Decision; readonly input?: PolicyInput },
  subject: { tool: string; requestId: string; argumentsDigest?: string },
): Authorized {
  const { taskId, token, sessionId } = fact;
  return {
    answer: { type: "denied", code: decided.decision.reason },
    settle: { type: "denied", taskId, token, sessionId, ...decided, subject },
  };
}
