// The ways in which a held task stops being held: ended, parked, denied, put back into the queue.
// Called by settle_task.ts, settle_outcome.ts and settle_loss.ts. Gathers rows and one record each in the Settlement; runs no query.

import { workerActor } from "../audit/events.ts";
import { decisionDetail } from "../audit/record.ts";
import type { FailureValue, TaskEnd } from "../graph/types.ts";
import type { HeldTask, LosingTask } from "../storage/lease_queries.ts";
import type { TaskRow } from "../storage/task_queries.ts";
import type { RunWork } from "./run_work.ts";
import { boundedFailure, type SettleItem, type SettleVerdict } from "./settle_items.ts";
import type { Settlement, TaskPatch } from "./settlement.ts";

/** The verdict of what was written. */
export const COMMITTED: SettleVerdict = { verdict: "committed" };

/** A task whose current token was presented, locked with its run. */
export interface Holding {
  readonly settlement: Settlement;
  readonly work: RunWork;
  readonly task: TaskRow;
  readonly lease: HeldTask & Partial<LosingTask>;
}

/** Ends a task as failed, or parks it for a person. */
export function endTask(
  { settlement, work, task, lease, patch: more }: Holding & { patch?: TaskPatch },
  reported: FailureValue,
  how: "park" | "fail",
  token: string,
  digest = "",
): SettleVerdict {
  const failure = boundedFailure(reported);
  settlement.endLease(task.id);
  // An item of a map is never parked: its map says what becomes of it.
  const park = how === "park" && work.state.run === "RUNNING" && task.item < 0;
  const fallback = work.fallbackOf(task.agent, settlement.bundleOf(task));
  const patch = {
    ...more,
    outcome_token: token,
    outcome_digest: digest,
    worker: lease.worker,
    failure_class: failure.class,
    failure_message: failure.message,
  };
  const ended = settlement.seenByGraph(task.id, failure);
  const end: TaskEnd = park
    ? { type: "parked", failure: ended }
    : { type: "failed", failure: ended, ...(fallback !== undefined && { fallback }) };
  settlement.endTask(work, task, park ? "DEAD_LETTERED" : "FAILED", end, patch);
  const detail = { ...settlement.taskDetail(task), worker: lease.worker, failure, transitions: work.takeTransitions() };
  const subject = { ...settlement.subject(task), actor: workerActor(lease.worker) };
  if (park) {
    const cause =
      failure.class === "PoisonTask"
        ? "deliveries"
        : failure.class === "UnknownOutcome"
          ? "unknown_outcome"
          : "attempts";
    settlement.record({ kind: "task.dead_lettered", ...subject, detail: { ...detail, cause } });
    settlement.parkLetter({
      ...{ task_id: task.id, run_id: task.run_id, namespace: task.namespace, workflow: work.run.workflow },
      ...{ node: task.node, agent: task.agent, cause, attempt: task.attempt },
      ...{ failure_class: failure.class, failure_message: failure.message },
      deliveries: more?.deliveries ?? task.deliveries,
    });
  } else {
    settlement.record({ kind: "task.failed", ...subject, detail });
  }
  return COMMITTED;
}

/** A policy or the structure denied it: terminal, never retried, with the decision in its record. */
export function deny(holding: Holding, item: Extract<SettleItem, { type: "denied" }>): SettleVerdict {
  const { settlement, work, task, lease } = holding;
  const { decision, subject } = item;
  settlement.endLease(task.id);
  const isRun = decision.checkpoint === "workflow.run";
  const what = isRun
    ? `workflow ${work.run.workflow}`
    : subject.tool === undefined
      ? `agent ${task.agent}`
      : `tool ${subject.tool} for agent ${task.agent}`;
  const by = decision.decidedBy === "" ? "" : ` by policy ${decision.decidedBy}`;
  const words = decision.message === "" ? "" : `: ${decision.message}`;
  const message = `${what} was denied (${decision.reason})${by}${words}`;
  // The tool's name may be a model's invention.
  const failure = boundedFailure({ class: "PolicyDenied", message });
  // The whole run was denied: it stops before its task ends, so that no edge of the graph catches that.
  if (isRun) work.apply({ type: "stopped", cause: "policy_denied", failure });
  settlement.endTask(
    work,
    task,
    "POLICY_DENIED",
    { type: "denied", failure },
    {
      worker: lease.worker,
      failure_class: failure.class,
      failure_message: failure.message,
      outcome_token: lease.token,
      // Not the digest of an earlier attempt: with it, an outcome that was never accepted would pass for a resent one.
      outcome_digest: "",
    },
  );
  settlement.record({
    kind: "task.denied",
    ...settlement.subject(task),
    actor: "server",
    detail: {
      ...settlement.taskDetail(task),
      worker: lease.worker,
      failure,
      decision: { ...decisionDetail(decision, item.input), agent: task.agent, ...subjectDetail(subject) },
      transitions: work.takeTransitions(),
    },
  });
  return COMMITTED;
}

function subjectDetail(subject: { tool?: string; argumentsDigest?: string }) {
  const { tool, argumentsDigest } = subject;
  return { ...(tool !== undefined && { tool }), ...(argumentsDigest !== undefined && { argumentsDigest }) };
}

/** READY again with the same attempt; the token is void. */
export function requeue(
  { settlement, task, lease }: Holding,
  cause: "interrupted" | "yielded" | "not_accepted",
  reason: string,
  patch: TaskPatch = {},
): SettleVerdict {
  settlement.endLease(task.id);
  settlement.changeTask(task, "READY", patch);
  settlement.enqueue(task);
  settlement.record({
    kind: "task.requeued",
    ...settlement.subject(task),
    actor: workerActor(lease.worker),
    detail: { ...settlement.taskDetail(task), cause, reason, worker: lease.worker },
  });
  return COMMITTED;
}
