// Settles one fact about one task: an outcome (settle_outcome.ts), a lost lease (settle_loss.ts), a denial, a due retry.
// Called by settle.ts for each item of a batch, in order. Gathers rows in the Settlement; runs no query.
// A token that is not the task's current one changes nothing: duplicate if it was the accepted one, else lease_lost, recorded.

import { unreachable } from "../../kit/errors.ts";
import { tokenHash } from "../audit/record.ts";
import { isToolAgent } from "../manifests/tool_agent.ts";
import { judgeStaleOutcome } from "../queue/fence.ts";
import type { TaskRow } from "../storage/task_queries.ts";
import type { RunWork } from "./run_work.ts";
import { COMMITTED, deny, endTask } from "./settle_ends.ts";
import { outcomeDigest, type SettleItem, type SettleVerdict } from "./settle_items.ts";
import { settleLoss } from "./settle_loss.ts";
import { settleOutcome } from "./settle_outcome.ts";
import { settleDiscard, settleReplay } from "./settle_replay.ts";
import type { Settlement } from "./settlement.ts";

type TaskItem = Exclude<SettleItem, { runId: string }>;

/** See the file header. */
export function settleTaskItem(settlement: Settlement, item: TaskItem): SettleVerdict {
  const task = settlement.task(item.taskId);
  const work = task === undefined ? undefined : settlement.work(task.run_id);
  if (task === undefined || work === undefined) {
    if (item.type === "outcome") recordRefusal(settlement, { taskId: item.taskId }, item, { reason: "no_task" });
    return { verdict: "refused", error: `task ${item.taskId} does not exist` };
  }
  if (item.type === "wake") return wake(settlement, work, task);
  if (item.type === "replay") return settleReplay(settlement, work, task, item);
  if (item.type === "discard") return settleDiscard(settlement, work, task, item);
  const lease = settlement.held(task.id, item);
  if (lease === undefined) return refuse(settlement, task, item);
  const holding = { settlement, work, task, lease };
  switch (item.type) {
    case "outcome":
      return settleOutcome(holding, item.outcome);
    case "denied":
      return deny(holding, item);
    case "park":
      return endTask(holding, item.failure, "park", item.token);
    case "fail":
      // A tool node has no agent that would say so: whatever its tool fails with for good is for a person.
      return endTask(holding, item.failure, isToolAgent(task.agent) ? "park" : "fail", item.token);
    case "lost":
      return settleLoss(holding, item.reason, item.actor, item.note);
    default:
      return unreachable(item);
  }
}

type FencedItem = Exclude<TaskItem, { type: "wake" | "replay" | "discard" }>;

function refuse(settlement: Settlement, task: TaskRow, item: FencedItem): SettleVerdict {
  if (item.type === "lost") return { verdict: "lease_lost" };
  const settled = settlement.changeOf(task.id) ?? task;
  if (item.type === "outcome") {
    const judged = judgeStaleOutcome(settled, { token: item.token, digest: outcomeDigest(item.outcome) });
    if (judged === "duplicate") return { verdict: "duplicate" };
    if (judged === "contradiction") {
      recordRefusal(settlement, settlement.subject(task), item, { reason: "contradiction" });
      return { verdict: "refused", error: "another outcome was accepted with this lease token" };
    }
  }
  const current = settled.outcome_token;
  recordRefusal(settlement, settlement.subject(task), item, {
    ...(current !== null && { currentTokenHash: tokenHash(current) }),
  });
  return { verdict: "lease_lost" };
}

function recordRefusal(
  settlement: Settlement,
  subject: { readonly namespace?: string; readonly runId?: string; readonly taskId: string },
  item: FencedItem,
  more: { readonly reason?: string; readonly currentTokenHash?: string },
): void {
  const by = item.type === "outcome" ? item.actor : "server";
  settlement.record({
    ...{ kind: "fact.refused", ...subject, actor: by },
    detail: {
      ...{ fact: item.type, tokenHash: tokenHash(item.token), ...more, worker: by },
      ...("sessionId" in item && item.sessionId !== undefined && { sessionId: item.sessionId }),
    },
  });
}

function wake(settlement: Settlement, work: RunWork, task: TaskRow): SettleVerdict {
  // Found due by a tick that was slow, a task may have been woken, tried and put off again meanwhile.
  const isDue = task.due_time !== null && task.due_time <= work.run.now;
  if (!isDue || settlement.changeOf(task.id) !== undefined) return { verdict: "duplicate" };
  if (work.state.run !== "RUNNING") {
    settlement.cancelIdle(task);
    return COMMITTED;
  }
  settlement.changeTask(task, "READY", {});
  settlement.enqueue(task);
  const detail = { ...settlement.taskDetail(task), cause: "due" as const };
  settlement.record({ kind: "task.requeued", ...settlement.subject(task), actor: "server", detail });
  return COMMITTED;
}
