// Settles one fact about a whole run: somebody wants it stopped, its deadline passed, or its grace is over.
// Called by settle.ts for each item of a batch. Gathers rows in the Settlement; runs no query.
// The first cause decides the end state; live tasks are dealt with by settle.ts afterwards.

import type { RunWork } from "./run_work.ts";
import type { SettleItem, SettleVerdict } from "./settle_items.ts";
import type { Settlement } from "./settlement.ts";

type RunItem = Extract<SettleItem, { runId: string }>;

/** See the file header. */
export function settleRunItem(settlement: Settlement, item: RunItem): SettleVerdict {
  const work = settlement.work(item.runId);
  if (work === undefined) return { verdict: "refused", error: `run ${item.runId} does not exist` };
  if (work.finished) return { verdict: "duplicate" };
  if (item.type === "stop") return stop(settlement, work, item);
  return due(settlement, work);
}

function stop(settlement: Settlement, work: RunWork, item: Extract<RunItem, { type: "stop" }>): SettleVerdict {
  if (work.state.run === "CANCELLING") return { verdict: "duplicate" };
  work.stopReason = item.failure.message;
  work.apply({ type: "stopped", cause: item.cause, failure: item.failure });
  settlement.record({
    kind: "run.stopping",
    namespace: work.run.namespace,
    runId: work.run.id,
    actor: item.actor,
    detail: {
      cause: item.cause,
      reason: item.failure.message,
      failure: item.failure,
      transitions: work.takeTransitions(),
    },
  });
  return { verdict: "committed" };
}

function due(settlement: Settlement, work: RunWork): SettleVerdict {
  const { due_time, now } = work.run;
  if (due_time === null || due_time > now) return { verdict: "duplicate" };
  if (work.state.run !== "CANCELLING") {
    const { timeoutMs, concurrency } = work.bundle.bundle.workflow.spec;
    const waitedMs = concurrency?.queueTimeoutMs ?? 0;
    const failure =
      work.state.run === "PENDING"
        ? { class: "QueueTimeout", message: `the run waited ${waitedMs / 1_000} s for its turn and did not begin` }
        : { class: "Timeout", message: `the run did not finish within ${timeoutMs / 1_000} s` };
    return stop(settlement, work, { type: "stop", runId: work.run.id, cause: "timed_out", failure, actor: "server" });
  }
  // The grace is over: whoever still holds a task holds it no more.
  work.graceOver = true;
  return { verdict: "committed" };
}
