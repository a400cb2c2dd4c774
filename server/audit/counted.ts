// What is counted of each audit event: the counters, and which of them an event moves by how much.
// Read by telemetry/metrics.ts for events whose transaction has committed, so that counters and trail tell the same.
// Pure. Labels are words of closed lists where there are such; namespaces, tools and classes of failures are bounded by kit/metrics.ts.

import type { AuditDetails, AuditEvent, AuditKind, DecisionDetail, TransitionDetail } from "./events.ts";

/** Name, meaning and labels of each counter that events move. */
export const EVENT_COUNTERS = {
  events: { name: "orloj_events_total", help: "Audit events committed by this replica.", labels: ["kind"] },
  runsCreated: { name: "orloj_runs_created_total", help: "Runs created.", labels: ["namespace"] },
  runsRefused: {
    name: "orloj_runs_refused_total",
    help: "Invocations refused: by a policy, or for want of room in their group.",
    labels: ["namespace", "by"],
  },
  runsEnded: { name: "orloj_runs_ended_total", help: "Runs that ended, by their end.", labels: ["namespace", "state"] },
  tasksEnded: {
    name: "orloj_tasks_ended_total",
    help: "Tasks that ended, by their end; parked ones as DEAD_LETTERED.",
    labels: ["namespace", "state"],
  },
  tasksRetried: {
    name: "orloj_tasks_retried_total",
    help: "Attempts of tasks that failed and are tried again, by class of failure.",
    labels: ["namespace", "class"],
  },
  tasksRequeued: {
    name: "orloj_tasks_requeued_total",
    help: "Tasks that are ready again without spending an attempt, by cause; due: the wait before a retry is over.",
    labels: ["cause"],
  },
  leasesExpired: {
    name: "orloj_leases_expired_total",
    help: "Leases that ran out without an outcome.",
    labels: ["namespace"],
  },
  deadLettersParked: {
    name: "orloj_dead_letters_parked_total",
    help: "Tasks parked for a person, by cause.",
    labels: ["namespace", "cause"],
  },
  deadLettersResolved: {
    name: "orloj_dead_letters_resolved_total",
    help: "Dead letters that a person replayed or discarded.",
    labels: ["namespace", "how"],
  },
  decisions: {
    name: "orloj_decisions_total",
    help: "Decisions of structure and policies, by verdict and reason.",
    labels: ["checkpoint", "verdict", "reason"],
  },
  toolGrants: {
    name: "orloj_tool_grants_total",
    help: "Attempts of tool calls that were granted, by the effect that the tool declares.",
    labels: ["effect"],
  },
  toolRefusals: {
    name: "orloj_tool_refusals_total",
    help: "Tool calls refused while their task goes on, by reason.",
    labels: ["reason"],
  },
  toolResults: {
    name: "orloj_tool_results_total",
    help: "Granted attempts of tool calls that ended: class ok, or the class of the failure.",
    labels: ["namespace", "tool", "class"],
  },
  factsRefused: {
    name: "orloj_facts_refused_total",
    help: "Facts of workers that had no right to tell them.",
    labels: ["fact"],
  },
  callsRefused: {
    name: "orloj_calls_refused_total",
    help: "Calls and connections refused as security events.",
    labels: ["listener", "reason"],
  },
} as const;

/** Labels of theirs whose values come from manifests and workers. */
export const OPEN_LABELS: ReadonlySet<string> = new Set(["namespace", "tool", "class"]);

/** Name of a counter in EVENT_COUNTERS. */
export type EventCounter = keyof typeof EVENT_COUNTERS;

/** Moves one counter. */
export type Count = (counter: EventCounter, labels: readonly string[], by?: number) => void;

const TASK_ENDS: Partial<Record<AuditKind, string>> = {
  "task.succeeded": "SUCCEEDED",
  "task.failed": "FAILED",
  "task.cancelled": "CANCELLED",
  "task.timed_out": "TIMED_OUT",
  "task.denied": "POLICY_DENIED",
  "task.dead_lettered": "DEAD_LETTERED",
};
const RUN_ENDS: ReadonlySet<string> = new Set(["SUCCEEDED", "FAILED", "CANCELLED", "TIMED_OUT", "POLICY_DENIED"]);

/** Counts an event. */
export function countEvent(event: AuditEvent, count: Count): void {
  const { namespace = "", kind, detail } = event;
  count("events", [kind]);
  const taskEnd = TASK_ENDS[kind];
  if (taskEnd !== undefined) count("tasksEnded", [namespace, taskEnd]);
  if ("transitions" in detail) countTransitions(namespace, detail.transitions ?? [], count);
  if ("decision" in detail && detail.decision !== undefined) countDecision(detail.decision, count);
  // The compiler knows that each function takes the detail of its own kind, but not that this is the one.
  (OWN[kind] as Own<AuditKind> | undefined)?.(detail as never, namespace, count);
}

type Own<Kind extends AuditKind> = (detail: AuditDetails[Kind], namespace: string, count: Count) => void;

// What only events of one kind tell.
const OWN: { readonly [Kind in AuditKind]?: Own<Kind> } = {
  "run.created": (_, namespace, count) => count("runsCreated", [namespace]),
  "run.refused": ({ concurrency }, namespace, count) =>
    count("runsRefused", [namespace, concurrency === undefined ? "policy" : "concurrency"]),
  "task.leased": ({ runDecision, withheldTools = [] }, _, count) => {
    if (runDecision !== undefined) countDecision(runDecision, count);
    for (const { decision } of withheldTools) countDecision(decision, count);
  },
  "task.retrying": ({ failure }, namespace, count) => count("tasksRetried", [namespace, failure.class]),
  "task.requeued": ({ cause }, _, count) => count("tasksRequeued", [cause]),
  "lease.expired": (_, namespace, count) => count("leasesExpired", [namespace]),
  "task.dead_lettered": ({ cause }, namespace, count) => count("deadLettersParked", [namespace, cause]),
  "dead_letter.replayed": (_, namespace, count) => count("deadLettersResolved", [namespace, "replayed"]),
  "dead_letter.discarded": (_, namespace, count) => count("deadLettersResolved", [namespace, "discarded"]),
  decision: (decision, _, count) => countDecision(decision, count),
  "tool.granted": ({ effect }, _, count) => count("toolGrants", [effect]),
  "tool.refused": ({ reason }, _, count) => count("toolRefusals", [reason]),
  "tool.result": (detail, namespace, count) =>
    count("toolResults", [namespace, detail.tool, detail.ok ? "ok" : detail.failure.class]),
  "fact.refused": ({ fact, count: facts = 1 }, _, count) => count("factsRefused", [fact], facts),
  // What follows the colon of a reason is for people: ids, addresses.
  "security.refused": ({ listener, reason, count: calls }, _, count) =>
    count("callsRefused", [listener, reason.split(":", 1)[0] ?? ""], calls),
};

function countTransitions(namespace: string, transitions: readonly TransitionDetail[], count: Count): void {
  for (const transition of transitions) {
    if (transition.of === "run" && RUN_ENDS.has(transition.to)) count("runsEnded", [namespace, transition.to]);
    // Tasks that end by themselves have a record of their own; those that others end with them have not.
    if (transition.of === "task" && transition.to === "CANCELLED") count("tasksEnded", [namespace, "CANCELLED"]);
  }
}

function countDecision({ checkpoint, allowed, reason }: DecisionDetail, count: Count): void {
  count("decisions", [checkpoint, allowed ? "allowed" : "denied", reason]);
}
