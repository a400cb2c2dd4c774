// Decides what the answer to a granted tool call does to its ledger row, and when a person must judge it.
// Called by commands/record_tool_results.ts; storage/ledger_queries.ts repeats `takesAnswer` in SQL, and the simulation holds them together.
// Pure. An answer is fenced by its grant id, not by the lease: a late true result still reaches the ledger.

import type { ToolSpec } from "../manifests/specs.ts";

/** How a granted call ended, as far as the ledger is concerned. */
export interface ToolAnswerFact {
  /** The result as text; absent for a failure. */
  readonly result?: string | undefined;
  /** Class of the failure; absent for a result. */
  readonly failureClass?: string | undefined;
  /** False for a failure after which the request may have had its effect. */
  readonly known: boolean;
}

/** The row of the grant that is answered. */
export interface AnsweredRow {
  readonly state: string;
  readonly result: string | null;
  readonly failure_class: string | null;
}

/** True if a row takes the answer: it is still open with that grant, or unknown and the answer knows. */
export function takesAnswer({ state }: Pick<AnsweredRow, "state">, { known }: Pick<ToolAnswerFact, "known">): boolean {
  return state === "granted" || (state === "unknown" && known);
}

/** True if a row that takes no answer has this one already. */
export function isSameAnswer(row: AnsweredRow, { result, failureClass }: ToolAnswerFact): boolean {
  return result !== undefined
    ? row.state === "done" && row.result === result
    : row.failure_class !== null && row.failure_class === failureClass;
}

/** True if nobody but a person can say whether the effect happened: a write, at an endpoint that honours no key. */
export function needsPerson(
  { known }: Pick<ToolAnswerFact, "known">,
  tool: Pick<ToolSpec, "effect" | "idempotency">,
): boolean {
  return !known && tool.effect !== "read" && tool.idempotency.onUnknownOutcome !== "retry";
}
