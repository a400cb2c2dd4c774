// Settles a lease that ended without an outcome: expired, never accepted, given back, or taken away by an operator.
// Called by settle_task.ts. Only an expiry of an accepted lease counts as a delivery; its token stays good until the next claim (I4).

import { tokenHash } from "../audit/record.ts";
import { COMMITTED, endTask, type Holding, requeue } from "./settle_ends.ts";
import type { LossReason, SettleVerdict } from "./settle_items.ts";

/** Deliveries after which a task is a poison task. */
export const DELIVERIES_MAX = 10;

/** See the file header. */
export function settleLoss(holding: Holding, reason: LossReason, actor: string, note: string): SettleVerdict {
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
    settlement.enqueue(task);
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
    return endTask({ ...holding, patch: { deliveries } }, { class: "PoisonTask", message }, "park", lease.token);
  }
  settlement.endLease(task.id);
  settlement.changeTask(task, "READY", { deliveries });
  settlement.enqueue(task, lease);
  settlement.record({
    kind: "lease.expired",
    ...settlement.subject(task),
    actor: "server",
    detail: { ...detail, deliveries },
  });
  return COMMITTED;
}
