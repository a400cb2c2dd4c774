// Settles a lease that ended without an outcome: expired, never accepted, given back, or taken away by an operator.
// Called by settle_task.ts. queue/loss.ts decides; here its decision becomes rows and one record.

import { tokenHash } from "../audit/record.ts";
import { afterLoss, type LossReason } from "../queue/loss.ts";
import { COMMITTED, endTask, type Holding, requeue } from "./settle_ends.ts";
import type { SettleVerdict } from "./settle_items.ts";

/** See the file header. */
export function settleLoss(holding: Holding, reason: LossReason, actor: string, note: string): SettleVerdict {
  const { settlement, work, task, lease } = holding;
  const step = afterLoss({
    reason,
    accepted: lease.accepted,
    alive: lease.alive === true,
    runState: work.state.run,
    deliveries: task.deliveries,
  });
  if (step.type === "kept") return { verdict: "duplicate" };
  if (step.type === "cancelled") {
    settlement.endLease(task.id);
    settlement.cancelIdle(task);
    return COMMITTED;
  }
  if (step.type === "poisoned") {
    const { deliveries } = step;
    const message = `its worker was lost ${deliveries} times in a row while it ran; look at what the task does to its worker`;
    return endTask({ ...holding, patch: { deliveries } }, { class: "PoisonTask", message }, "park", lease.token);
  }
  if (reason === "yielded") return requeue(holding, "yielded", note);
  if (reason === "unsent" || reason === "unaccepted") return requeue(holding, "not_accepted", note);
  settlement.endLease(task.id);
  settlement.changeTask(task, "READY", { deliveries: step.deliveries });
  settlement.enqueue(task, step.keepsToken ? lease : undefined);
  const detail = { ...settlement.taskDetail(task), worker: lease.worker, tokenHash: tokenHash(lease.token) };
  const subject = settlement.subject(task);
  if (reason === "revoked") {
    settlement.record({ kind: "lease.revoked", ...subject, actor, detail: { ...detail, reason: note } });
  } else {
    const { deliveries } = step;
    settlement.record({ kind: "lease.expired", ...subject, actor: "server", detail: { ...detail, deliveries } });
  }
  return COMMITTED;
}
