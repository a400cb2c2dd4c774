// States of runs, nodes and tasks: the transition tables, and the one function that reads them.
// Called by graph/advance and commands before every state write; CHECK constraints in storage repeat the unions.
// Unlisted transitions are refused. Terminal states never change; replay makes a new task.

import { assert } from "../../kit/errors.ts";

/** States of a run. */
export type RunState =
  | "PENDING"
  | "RUNNING"
  | "CANCELLING"
  | "SUCCEEDED"
  | "FAILED"
  | "CANCELLED"
  | "TIMED_OUT"
  | "POLICY_DENIED";
/** States of a node. */
export type NodeState = "PENDING" | "ACTIVE" | "PARKED" | "SUCCEEDED" | "FAILED" | "SKIPPED" | "DENIED" | "CANCELLED";
/** States of a task. LEASED is never stored: it is a READY task with a lease row. */
export type TaskState =
  | "WAITING"
  | "READY"
  | "LEASED"
  | "SUCCEEDED"
  | "FAILED"
  | "CANCELLED"
  | "TIMED_OUT"
  | "POLICY_DENIED"
  | "DEAD_LETTERED";

type Table<State extends string> = Readonly<Record<State, Readonly<Record<string, State>>>>;

/** Events of a run. end_* is the cause that was recorded first. */
export const RUN_TRANSITIONS = Object.freeze({
  PENDING: { start: "RUNNING", stop: "CANCELLING" },
  RUNNING: { succeed: "SUCCEEDED", stop: "CANCELLING" },
  CANCELLING: {
    end_failed: "FAILED",
    end_cancelled: "CANCELLED",
    end_timed_out: "TIMED_OUT",
    end_policy_denied: "POLICY_DENIED",
  },
  SUCCEEDED: {},
  FAILED: {},
  CANCELLED: {},
  TIMED_OUT: {},
  POLICY_DENIED: {},
}) satisfies Table<RunState>;

/** Events of a node. */
export const NODE_TRANSITIONS = Object.freeze({
  PENDING: { activate: "ACTIVE", skip: "SKIPPED", fail: "FAILED", cancel: "CANCELLED" },
  ACTIVE: { succeed: "SUCCEEDED", fail: "FAILED", park: "PARKED", deny: "DENIED", cancel: "CANCELLED" },
  PARKED: { replay: "ACTIVE", fail: "FAILED", cancel: "CANCELLED" },
  SUCCEEDED: {},
  FAILED: {},
  SKIPPED: {},
  DENIED: {},
  CANCELLED: {},
}) satisfies Table<NodeState>;

/** Events of a task. */
export const TASK_TRANSITIONS = Object.freeze({
  WAITING: { wake: "READY", cancel: "CANCELLED", time_out: "TIMED_OUT" },
  READY: { claim: "LEASED", cancel: "CANCELLED", time_out: "TIMED_OUT" },
  LEASED: {
    succeed: "SUCCEEDED",
    fail: "FAILED",
    retry: "WAITING",
    requeue: "READY",
    cancel: "CANCELLED",
    time_out: "TIMED_OUT",
    deny: "POLICY_DENIED",
    park: "DEAD_LETTERED",
  },
  SUCCEEDED: {},
  FAILED: {},
  CANCELLED: {},
  TIMED_OUT: {},
  POLICY_DENIED: {},
  DEAD_LETTERED: {},
}) satisfies Table<TaskState>;

/** How a run that stops will end. */
export type RunCause = "failed" | "cancelled" | "timed_out" | "policy_denied";

/** The state after an event; a transition that is not listed is a broken invariant. */
export function nextState<State extends string>(table: Table<State>, state: State, event: string): State {
  const next = table[state][event];
  assert(next !== undefined, `no transition ${event} from ${state}`);
  return next;
}

/** True if some event leads from one state to the other. */
export function isListed<State extends string>(table: Table<State>, from: State, to: State): boolean {
  return Object.values(table[from]).includes(to);
}

/** True for a state that never changes again. */
export function isTerminal<State extends string>(table: Table<State>, state: State): boolean {
  return Object.keys(table[state]).length === 0;
}
