// Decides what a tool call gets from its ledger row: the table of docs/worker-protocol.md as a pure function.
// Called by commands/authorize_tool_call after policy allowed, under the lock of the row. Pure: no clock, no query.
// What is recorded is not sent again, what is not known is not guessed, and nobody gets the result of other arguments.

import { SECOND } from "../../kit/units.ts";
import type { ToolSpec } from "../manifests/specs.ts";

/** What of a ledger row decides. Times are of the database, in ms. */
export interface LedgerRow {
  readonly state: "granted" | "done" | "failed" | "denied" | "unknown";
  readonly attempt: number;
  readonly tool: string;
  readonly arguments_digest: string;
  readonly grant_id: string;
  readonly grant_token: string;
  readonly grant_expire_time: Date;
  readonly result: string | null;
  /** Root of the lineage that asked; absent: the request id names it. */
  readonly origin_task_id: string | null;
  /** Until when other lineages may reuse the result of a declared key; absent: there are none. */
  readonly expire_time: Date | null;
}

/** What a call gets. */
export type LedgerStep =
  /** A grant id: the same grant again; with the time at which it expires, unless that is over. */
  | { readonly type: "grant"; readonly attempt: number; readonly grantId?: string; readonly expireTime?: Date }
  | { readonly type: "cached"; readonly result: string }
  /** Another task has that call under way: ask again after so long. */
  | { readonly type: "in_flight"; readonly delayMs: number }
  /** Same request id, other tool or arguments. */
  | { readonly type: "conflict" }
  /** An earlier holder may have had the effect; a person decides. */
  | { readonly type: "unknown" }
  /** Failed as often as the tool's retry allows. */
  | { readonly type: "exhausted" };

/** The call that asks; it holds the task's lease. */
export interface AskingCall {
  readonly token: string;
  readonly toolName: string;
  readonly argumentsDigest: string;
  /** Root of its task's lineage. */
  readonly originTaskId: string;
  /** Times that the task was begun: each may spend the tool's attempts anew. */
  readonly begun: number;
  readonly tool: Pick<ToolSpec, "effect" | "idempotency" | "retry">;
  /** The token that the row was granted to still holds its task. */
  readonly holderLives: boolean;
  readonly nowMs: number;
}

/** Longest wait before a call that is in flight elsewhere is asked for again, in ms. */
export const IN_FLIGHT_MS_MAX = 2 * SECOND;
const IN_FLIGHT_MS_MIN = 100;

/** Whether a grant is the first one of its request id for this lineage, which is what limits count. */
export function isFirstGrant(row: Pick<LedgerRow, "origin_task_id"> | undefined, originTaskId: string): boolean {
  return row === undefined || (row.origin_task_id !== null && row.origin_task_id !== originTaskId);
}

/** See the file header. */
export function nextLedgerStep(row: LedgerRow | undefined, call: AskingCall): LedgerStep {
  if (row === undefined) return { type: "grant", attempt: 1 };
  if (row.tool !== call.toolName) return { type: "conflict" };
  const own = !isFirstGrant(row, call.originTaskId);
  const over = !own && row.expire_time !== null && row.expire_time.getTime() <= call.nowMs;
  // The ttl governs reuse by others: what is over its time is as if it had never been.
  if (over && (row.state === "done" || row.state === "failed" || row.state === "denied")) {
    return { type: "grant", attempt: 1 };
  }
  if (row.arguments_digest !== call.argumentsDigest) return { type: "conflict" };
  switch (row.state) {
    case "done":
      // Without a cache each lineage sends its own; within one, what is on record still is not sent again.
      return own || call.tool.idempotency.mode === "cached"
        ? { type: "cached", result: row.result ?? "null" }
        : { type: "grant", attempt: 1 };
    case "denied":
      return { type: "grant", attempt: row.attempt };
    case "failed":
      if (!own) return { type: "grant", attempt: 1 };
      return row.attempt >= call.tool.retry.maxAttempts * call.begun
        ? { type: "exhausted" }
        : { type: "grant", attempt: row.attempt + 1 };
    case "unknown":
      return { type: "unknown" };
    case "granted":
      return ofGranted(row, call, own);
  }
}

function ofGranted(row: LedgerRow, call: AskingCall, own: boolean): LedgerStep {
  // The holder itself asks again: the answer was lost, or this is a late copy of its question. It gets the same grant, for with
  // another one the result of the first, which it may be using, would be refused. Asking does not put its end off: others may wait for it.
  const leftMs = row.grant_expire_time.getTime() - call.nowMs;
  if (row.grant_token === call.token) {
    const expireTime = leftMs > 0 ? { expireTime: row.grant_expire_time } : {};
    return { type: "grant", attempt: row.attempt, grantId: row.grant_id, ...expireTime };
  }
  if (call.holderLives && leftMs > 0) {
    return { type: "in_flight", delayMs: Math.min(IN_FLIGHT_MS_MAX, Math.max(IN_FLIGHT_MS_MIN, leftMs)) };
  }
  // The grant went to a holder that is gone. A read is simply repeated; a write only where the endpoint honours the key.
  if (call.tool.effect === "read" || call.tool.idempotency.onUnknownOutcome === "retry") {
    return { type: "grant", attempt: own ? row.attempt : 1 };
  }
  return { type: "unknown" };
}
