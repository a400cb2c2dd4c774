// Settles one fact about one task: an outcome, a denial, a lost lease, a due retry.
// Called by settle.ts for each item of a batch, in order. Gathers rows in the Settlement; runs no query.
// A token that is not the task's current one changes nothing: duplicate if it was the accepted one, else lease_lost, recorded.

import { unreachable } from "../../kit/errors.ts";
import { canonicalJson, sha256 } from "../../kit/json.ts";
import { workerActor } from "../audit/events.ts";
import { decisionDetail, tokenHash } from "../audit/record.ts";
import type { FailureValue } from "../graph/types.ts";
import type { RetryPolicy } from "../manifests/specs.ts";
import { decideRetry, taskRandom } from "../queue/retry.ts";
import type { HeldTask, LosingTask, TaskRow } from "../storage/task_queries.ts";
import type { RunWork } from "./run_work.ts";
import type { LossReason, SettleItem, SettleVerdict, WorkerOutcome } from "./settle_items.ts";
import { boundedFailure, outcomeDigest } from "./settle_items.ts";
import type { Settlement, TaskPatch } from "./settlement.ts";

/** Deliveries after which a task is a poison task. */
export const DELIVERIES_MAX = 10;

const COMMITTED: SettleVerdict = { verdict: "committed" };

type TaskItem = Exclude<SettleItem, { runId: string }>;

interface Holding {
  readonly settlement: Settlement;
  readonly work: RunWork;
  readonly task: TaskRow;
  readonly lease: HeldTask & Partial<LosingTask>;
}

/** See the file header. */
export function settleTaskItem(settlement: Settlement, item: TaskItem): SettleVerdict {
  const task = settlement.task(item.taskId);
  const work = task === undefined ? undefined : settlement.work(task.run_id);
  if (task === undefined || work === undefined)
    return { verdict: "refused", error: `task ${item.taskId} does not exist` };
  if (item.type === "wake") return wake(settlement, work, task);
  const lease = settlement.held(task.id, item.token);
  if (lease === undefined) return refuse(settlement, task, item);
  const holding = { settlement, work, task, lease };
  switch (item.type) {
    case "outcome":
      return settleOutcome(holding, item.outcome);
    case "denied":
      return deny(holding, item);
    case "park":
      return end(holding, item.failure, "park", item.token);
    case "fail":
      return end(holding, item.failure, "fail", item.token);
    case "lost":
      return lose(holding, item.reason, item.actor, item.note);
    default:
      return unreachable(item);
  }
}

function refuse(settlement: Settlement, task: TaskRow, item: Exclude<TaskItem, { type: "wake" }>): SettleVerdict {
  if (item.type === "lost") return { verdict: "lease_lost" };
  const settled = settlement.changeOf(task.id) ?? task;
  if (item.type === "outcome" && settled.outcome_token === item.token) {
    if (settled.outcome_digest === outcomeDigest(item.outcome)) return { verdict: "duplicate" };
    return { verdict: "refused", error: "another outcome was accepted with this lease token" };
  }
  settlement.record({
    kind: "fact.refused",
    ...settlement.subject(task),
    actor: item.type === "outcome" ? item.actor : "server",
    detail: {
      fact: item.type,
      tokenHash: tokenHash(item.token),
      ...(settled.outcome_token !== null && { currentTokenHash: tokenHash(settled.outcome_token) }),
      worker: item.type === "outcome" ? item.actor : "server",
      sessionId: item.sessionId,
    },
  });
  return { verdict: "lease_lost" };
}

function settleOutcome(holding: Holding, outcome: WorkerOutcome): SettleVerdict {
  const { settlement, work, task, lease } = holding;
  const accepted = { outcome_token: lease.token, outcome_digest: outcomeDigest(outcome), worker: lease.worker };
  const subject = { ...settlement.subject(task), actor: workerActor(lease.worker) };
  switch (outcome.type) {
    case "succeeded": {
      const output = canonicalJson(outcome.output);
      settlement.endLease(task.id);
      settlement.endTask(
        work,
        task,
        "SUCCEEDED",
        { type: "succeeded", output: outcome.output },
        { ...accepted, output },
      );
      const detail = {
        ...settlement.taskDetail(task),
        worker: lease.worker,
        outputDigest: sha256(output),
        transitions: work.takeTransitions(),
      };
      settlement.record({ kind: "task.succeeded", ...subject, detail });
      return COMMITTED;
    }
    case "cancelled":
      return cancelled(holding, accepted);
    case "interrupted":
      return work.state.run === "RUNNING"
        ? requeue(holding, "interrupted", outcome.reason, accepted)
        : cancelled(holding, accepted);
    case "failed":
      return settleFailure(holding, boundedFailure(outcome.failure), outcome);
    default:
      return unreachable(outcome);
  }
}

function cancelled(holding: Holding, accepted: TaskPatch): SettleVerdict {
  const { settlement, work, task, lease } = holding;
  // A worker may cancel only what was asked to stop; else its word is taken as an interruption.
  if (work.state.run === "RUNNING") return requeue(holding, "interrupted", "the worker stopped it unasked", accepted);
  settlement.endLease(task.id);
  const timedOut = work.state.cause === "timed_out";
  const failure = { class: timedOut ? "Timeout" : "Cancelled", message: `the run stopped: ${work.state.cause}` };
  const patch = { ...accepted, failure_class: failure.class, failure_message: failure.message };
  settlement.endTask(work, task, timedOut ? "TIMED_OUT" : "CANCELLED", { type: "cancelled" }, patch);
  const detail = { ...settlement.taskDetail(task), worker: lease.worker, transitions: work.takeTransitions() };
  const subject = { ...settlement.subject(task), actor: workerActor(lease.worker) };
  if (timedOut) settlement.record({ kind: "task.timed_out", ...subject, detail: { ...detail, failure } });
  else settlement.record({ kind: "task.cancelled", ...subject, detail: { ...detail, reason: failure.message } });
  return COMMITTED;
}

function retryPolicyOf(work: RunWork, task: TaskRow): RetryPolicy {
  const agent = work.bundle.agents.get(task.agent)?.agent.spec;
  return agent?.errorHandling.retry ?? work.bundle.bundle.workflow.spec.retry;
}

function settleFailure(
  holding: Holding,
  failure: FailureValue,
  outcome: Extract<WorkerOutcome, { type: "failed" }>,
): SettleVerdict {
  const { settlement, work, task, lease } = holding;
  const decision =
    work.state.run === "RUNNING"
      ? decideRetry({
          policy: retryPolicyOf(work, task),
          attempt: task.attempt,
          failureClass: failure.class,
          retryAfterMs: outcome.retryAfterMs,
          random: taskRandom(task.id, task.attempt),
        })
      : { type: "not_retryable" as const };
  const accepted = { outcome_token: lease.token, outcome_digest: outcomeDigest(outcome), worker: lease.worker };
  const patch = { ...accepted, failure_class: failure.class, failure_message: failure.message };
  if (decision.type === "retry") {
    settlement.endLease(task.id);
    const due_time = new Date(work.run.now.getTime() + decision.delayMs);
    settlement.changeTask(task, "WAITING", { ...patch, attempt: task.attempt + 1, deliveries: 0, due_time });
    settlement.startNewAttempt(task.id);
    settlement.record({
      kind: "task.retrying",
      ...settlement.subject(task),
      actor: workerActor(lease.worker),
      detail: {
        ...settlement.taskDetail(task),
        failure,
        delayMs: decision.delayMs,
        nextAttempt: task.attempt + 1,
        worker: lease.worker,
      },
    });
    return COMMITTED;
  }
  const onExhausted = work.bundle.agents.get(task.agent)?.agent.spec.errorHandling.onExhausted ?? "deadLetter";
  const park = onExhausted === "deadLetter" && work.state.run === "RUNNING";
  return end(holding, failure, park ? "park" : "fail", lease.token, outcomeDigest(outcome));
}

/** Ends a task as failed, or parks it for a person. */
function end(
  { settlement, work, task, lease, patch: more }: Holding & { patch?: TaskPatch },
  reported: FailureValue,
  how: "park" | "fail",
  token: string,
  digest = "",
): SettleVerdict {
  const failure = boundedFailure(reported);
  settlement.endLease(task.id);
  const park = how === "park" && work.state.run === "RUNNING";
  const patch = {
    ...more,
    outcome_token: token,
    outcome_digest: digest,
    worker: lease.worker,
    failure_class: failure.class,
    failure_message: failure.message,
  };
  settlement.endTask(
    work,
    task,
    park ? "DEAD_LETTERED" : "FAILED",
    { type: park ? "parked" : "failed", failure },
    patch,
  );
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
  } else {
    settlement.record({ kind: "task.failed", ...subject, detail });
  }
  return COMMITTED;
}

function deny(holding: Holding, item: Extract<TaskItem, { type: "denied" }>): SettleVerdict {
  const { settlement, work, task, lease } = holding;
  const { decision, subject } = item;
  settlement.endLease(task.id);
  const what = subject.tool === undefined ? `agent ${task.agent}` : `tool ${subject.tool} for agent ${task.agent}`;
  const by = decision.decidedBy === "" ? "" : ` by policy ${decision.decidedBy}`;
  const words = decision.message === "" ? "" : `: ${decision.message}`;
  const message = `${what} was denied (${decision.reason})${by}${words}`;
  // The tool's name may be a model's invention.
  const failure = boundedFailure({ class: "PolicyDenied", message });
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

function requeue(
  { settlement, task, lease }: Holding,
  cause: "interrupted" | "yielded" | "not_accepted",
  reason: string,
  patch: TaskPatch = {},
): SettleVerdict {
  settlement.endLease(task.id);
  settlement.changeTask(task, "READY", patch);
  settlement.enqueue(task, null);
  settlement.record({
    kind: "task.requeued",
    ...settlement.subject(task),
    actor: workerActor(lease.worker),
    detail: { ...settlement.taskDetail(task), cause, reason, worker: lease.worker },
  });
  return COMMITTED;
}

function lose(holding: Holding, reason: LossReason, actor: string, note: string): SettleVerdict {
  const { settlement, work, task, lease } = holding;
  // What was found lost may have been accepted or renewed before this transaction had its lock.
  if ((reason === "unaccepted" && lease.accepted) || (reason === "expired" && lease.alive === true)) {
    return { verdict: "duplicate" };
  }
  if (work.state.run !== "RUNNING") {
    settlement.endLease(task.id);
    settlement.cancelIdle(task);
    return COMMITTED;
  }
  if (reason === "yielded") return requeue(holding, "yielded", note);
  if (reason === "unsent" || reason === "unaccepted") return requeue(holding, "not_accepted", note);
  const detail = { ...settlement.taskDetail(task), worker: lease.worker, tokenHash: tokenHash(lease.token) };
  if (reason === "revoked") {
    settlement.endLease(task.id);
    settlement.changeTask(task, "READY", {});
    settlement.enqueue(task, null);
    settlement.record({
      kind: "lease.revoked",
      ...settlement.subject(task),
      actor,
      detail: { ...detail, reason: note },
    });
    return COMMITTED;
  }
  const deliveries = task.deliveries + 1;
  if (deliveries >= DELIVERIES_MAX) {
    const message = `its worker was lost ${deliveries} times in a row while it ran; look at what the task does to its worker`;
    return end({ ...holding, patch: { deliveries } }, { class: "PoisonTask", message }, "park", lease.token);
  }
  settlement.endLease(task.id);
  settlement.changeTask(task, "READY", { deliveries });
  settlement.enqueue(task, lease.token);
  settlement.record({
    kind: "lease.expired",
    ...settlement.subject(task),
    actor: "server",
    detail: { ...detail, deliveries },
  });
  return COMMITTED;
}

function wake(settlement: Settlement, work: RunWork, task: TaskRow): SettleVerdict {
  if (task.state !== "WAITING" || settlement.changeOf(task.id) !== undefined) return { verdict: "duplicate" };
  if (work.state.run !== "RUNNING") {
    settlement.cancelIdle(task);
    return COMMITTED;
  }
  settlement.changeTask(task, "READY", {});
  settlement.enqueue(task, null);
  const detail = { ...settlement.taskDetail(task), cause: "due" as const };
  settlement.record({ kind: "task.requeued", ...settlement.subject(task), actor: "server", detail });
  return COMMITTED;
}
