// Why an invocation becomes no run, as its caller is told: a policy denies it, or its workflow's concurrency has no room.
// Called by invoke.ts and restart_run.ts. Pure.

import { DomainError } from "../../kit/errors.ts";
import type { ConcurrencyDetail } from "../audit/events.ts";
import type { Decision } from "../policy/types.ts";

/** @param what what was denied, in words */
export function deniedError(what: string, decision: Pick<Decision, "reason" | "decidedBy" | "message">): DomainError {
  const words = decision.message === "" ? "" : `: ${decision.message}`;
  const metadata = { reason: decision.reason, policy: decision.decidedBy };
  return new DomainError("POLICY_DENIED", `${what} was denied (${decision.reason})${words}`, metadata);
}

/** @param workflow "namespace/name" */
export function noRoomError(workflow: string, { key, max, running, waiting }: ConcurrencyDetail): DomainError {
  const group = key === undefined ? "" : ` for "${key}"`;
  const going = `${running} ${running === 1 ? "run" : "runs"}${group} going on${waiting === 0 ? "" : `, ${waiting} waiting`}`;
  const limit = max === undefined ? "" : ` its concurrency allows ${max};`;
  return new DomainError(
    "CONCURRENCY_LIMIT",
    `workflow ${workflow} has ${going};${limit} invoke it again once one has ended`,
    { workflow, ...(key !== undefined && { key }), ...(max !== undefined && { max: String(max) }) },
  );
}
