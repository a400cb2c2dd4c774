// Settles what a worker says of a task that it holds: success, failure with its retry, cancellation, interruption.
// Called by settle_task.ts. The server decides on retries, from the agent's policy or the workflow's; a worker only proposes.

import { unreachable } from "../../kit/errors.ts";
import { canonicalJson, type Json, sha256 } from "../../kit/json.ts";
import { workerActor } from "../audit/events.ts";
import type { FailureValue } from "../graph/types.ts";
import { afterFailure, afterStop } from "../queue/outcome.ts";
import { taskRandom } from "../queue/retry.ts";
import { COMMITTED, endTask, type Holding, requeue } from "./settle_ends.ts";
import { boundedFailure, outcomeDigest, type SettleVerdict, type WorkerOutcome } from "./settle_items.ts";
import type { TaskPatch } from "./settlement.ts";

/** See the file header. */
export function settleOutcome(holding: Holding, outcome: WorkerOutcome): SettleVerdict {
  const { settlement, work, task, lease } = holding;
  const accepted = { outcome_token: lease.token, outcome_digest: outcomeDigest(outcome), worker: lease.worker };
  const subject = { ...settlement.subject(task), actor: workerActor(lease.worker) };
  switch (outcome.type) {
    case "succeeded": {
      const misfit = misfitOf(holding, outcome.output);
      if (misfit !== undefined) return settleFailure(holding, misfit, { digest: accepted.outcome_digest });
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
      return stopped(holding, "the worker stopped it unasked", accepted);
    case "interrupted":
      return stopped(holding, outcome.reason, accepted);
    case "failed":
      return settleFailure(holding, boundedFailure(outcome.failure), {
        ...{ digest: accepted.outcome_digest, retryAfterMs: outcome.retryAfterMs },
      });
    default:
      return unreachable(outcome);
  }
}

function stopped(holding: Holding, reason: string, accepted: TaskPatch): SettleVerdict {
  const { settlement, work, task, lease } = holding;
  const { run: state, cause } = work.state;
  const step = afterStop({ state, cause });
  if (step.type === "requeued") return requeue(holding, "interrupted", reason, accepted);
  settlement.endLease(task.id);
  const timedOut = step.type === "timed_out";
  const failure = { class: timedOut ? "Timeout" : "Cancelled", message: `the run stopped: ${cause}` };
  const patch = { ...accepted, failure_class: failure.class, failure_message: failure.message };
  settlement.endTask(work, task, timedOut ? "TIMED_OUT" : "CANCELLED", { type: "cancelled" }, patch);
  const detail = { ...settlement.taskDetail(task), worker: lease.worker, transitions: work.takeTransitions() };
  const subject = { ...settlement.subject(task), actor: workerActor(lease.worker) };
  if (timedOut) settlement.record({ kind: "task.timed_out", ...subject, detail: { ...detail, failure } });
  else settlement.record({ kind: "task.cancelled", ...subject, detail: { ...detail, reason: failure.message } });
  return COMMITTED;
}

// The worker of this release checks it too; the next agent of the graph does not depend on that.
function misfitOf({ settlement, work, task }: Holding, output: Json): FailureValue | undefined {
  const { agents } = settlement.bundleOf(task) ?? work.bundle;
  const misfit = agents.get(task.agent)?.output?.check(output);
  if (misfit === undefined) return undefined;
  const message = `the output does not fit the agent's outputSchema: ${misfit}`;
  return boundedFailure({ class: "OutputInvalid", message });
}

function errorHandlingOf({ settlement, work, task }: Holding) {
  const { agents, bundle } = settlement.bundleOf(task) ?? work.bundle;
  const { retry, onExhausted } = agents.get(task.agent)?.agent.spec.errorHandling ?? {};
  return { policy: retry ?? bundle.workflow.spec.retry, onExhausted: onExhausted ?? ("deadLetter" as const) };
}

function settleFailure(
  holding: Holding,
  failure: FailureValue,
  told: { readonly digest: string; readonly retryAfterMs?: number | undefined },
): SettleVerdict {
  const { settlement, work, task, lease } = holding;
  const step = afterFailure(work.state.run, {
    ...errorHandlingOf(holding),
    attempt: task.attempt,
    failureClass: failure.class,
    retryAfterMs: told.retryAfterMs,
    random: taskRandom(task.id, task.attempt),
  });
  const { digest } = told;
  if (step.type !== "retried") {
    return endTask(holding, failure, step.type === "parked" ? "park" : "fail", lease.token, digest);
  }
  const nextAttempt = task.attempt + 1;
  settlement.endLease(task.id);
  settlement.changeTask(task, "WAITING", {
    ...{ outcome_token: lease.token, outcome_digest: digest, worker: lease.worker },
    ...{ failure_class: failure.class, failure_message: failure.message },
    ...{ attempt: nextAttempt, deliveries: 0, due_time: new Date(work.run.now.getTime() + step.delayMs) },
  });
  settlement.startNewAttempt(task.id);
  const detail = { ...settlement.taskDetail(task), failure, delayMs: step.delayMs, nextAttempt, worker: lease.worker };
  settlement.record({
    kind: "task.retrying",
    ...settlement.subject(task),
    actor: workerActor(lease.worker),
    detail,
  });
  return COMMITTED;
}
