// Decides what a tool call gets from its ledger row: the table of docs/worker-protocol.md as a pure function.
// Called by authorize_tool_call after policy allowed. Pure: no clock, no query.

import type { ToolSpec } from "../manifests/specs.ts";
import type { ToolCallRow } from "../storage/ledger_queries.ts";

/** What a call gets. */
export type LedgerStep =
  | { readonly type: "grant"; readonly attempt: number; readonly grantId?: string }
  | { readonly type: "cached"; readonly result: string }
  /** Same request id, other arguments. */
  | { readonly type: "conflict" }
  /** An earlier holder may have had the effect; a person decides. */
  | { readonly type: "unknown" }
  /** Failed as often as the tool's retry allows. */
  | { readonly type: "exhausted" };

/** The call that asks; it holds the task's lease. */
export interface AskingCall {
  readonly token: string;
  readonly argumentsDigest: string;
  /** Times that the task was begun: each may spend the tool's attempts anew. */
  readonly begun: number;
  readonly tool: Pick<ToolSpec, "effect" | "idempotency" | "retry">;
}

/** See the file header. */
export function nextLedgerStep(
  row: Pick<ToolCallRow, "state" | "attempt" | "arguments_digest" | "grant_id" | "grant_token" | "result"> | undefined,
  call: AskingCall,
): LedgerStep {
  if (row === undefined) return { type: "grant", attempt: 1 };
  if (row.arguments_digest !== call.argumentsDigest) return { type: "conflict" };
  switch (row.state) {
    case "done":
      return { type: "cached", result: row.result ?? "null" };
    case "denied":
      return { type: "grant", attempt: row.attempt };
    case "failed":
      return row.attempt >= call.tool.retry.maxAttempts * call.begun
        ? { type: "exhausted" }
        : { type: "grant", attempt: row.attempt + 1 };
    case "unknown":
      return { type: "unknown" };
    case "granted":
      // The holder itself asks again: the answer was lost, or this is a late copy of its question. It gets the same grant, for with
      // another one the result of the first, which it may be using, would be refused.
      if (row.grant_token === call.token) return { type: "grant", attempt: row.attempt, grantId: row.grant_id };
      // The grant went to a holder that is gone. A read is simply repeated; a write only where the endpoint honours the key.
      if (call.tool.effect === "read" || call.tool.idempotency.onUnknownOutcome === "retry") {
        return { type: "grant", attempt: row.attempt };
      }
      return { type: "unknown" };
  }
}
