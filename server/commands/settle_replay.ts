// Settles what a person decides about a dead letter of a run that goes on: replay it with a new task, or give it up.
// Called by settle.ts for each such item, under the locks of run, task, dead letter and calls. Gathers rows in the Settlement; runs no query.
// queue/replay.ts says what stands against it. Asked twice for the same, the second is a duplicate; for something else, refused.

import { DomainError } from "../../kit/errors.ts";
import { sha256 } from "../../kit/json.ts";
import { claimOrder } from "../queue/claim_order.ts";
import { type LineageCall, type ReplayRefusal, refuseReplay } from "../queue/replay.ts";
import type { LockedDeadLetter } from "../storage/dead_letter_queries.ts";
import type { NewTaskRow, TaskRow } from "../storage/task_queries.ts";
import type { RunWork } from "./run_work.ts";
import { COMMITTED } from "./settle_ends.ts";
import type { ReplayPlan, SettleItem, SettleVerdict } from "./settle_items.ts";
import type { Settlement } from "./settlement.ts";
import { priorityOf } from "./task_rows.ts";

type ReplayItem = Extract<SettleItem, { type: "replay" }>;
type DiscardItem = Extract<SettleItem, { type: "discard" }>;

/** A new task in place of the parked one. */
export function settleReplay(settlement: Settlement, work: RunWork, task: TaskRow, item: ReplayItem): SettleVerdict {
  const letter = settlement.letter(task.id);
  if (letter === undefined) return { verdict: "failed", error: notFound(task.id) };
  if (letter.state !== "open") return repeated(letter, item.plan.digest);
  if (work.state.run !== "RUNNING") return { verdict: "failed", error: stopping(work) };
  const node = work.state.nodes.get(task.node);
  if (node?.state !== "PARKED" || node.iteration !== task.iteration) {
    return { verdict: "failed", error: goneOn(work, task) };
  }
  const calls = settlement.lineage(task.origin_task_id);
  const refusal = refuseReplay(calls, replayRequest(item.plan));
  if (refusal !== undefined) return { verdict: "failed", error: refusalError(task.id, refusal) };
  const row = replayTask(work, task, item.plan);
  work.apply({ type: "replayed", node: task.node, iteration: task.iteration });
  const { id: task_id, run_id, route, claim_order } = row;
  const free = { last_token: null, last_session_id: null };
  work.queue(row, { task_id, run_id, route, claim_order, ...free, fresh: item.plan.anew !== undefined });
  settlement.replay({ from: task.id, to: row.id, originTaskId: task.origin_task_id, calls, plan: item.plan });
  settlement.resolveLetter({
    ...{ task_id: task.id, state: "replayed", resolved_by: item.actor, request_digest: item.plan.digest },
    ...{ replay_task_id: row.id, replay_run_id: run_id },
  });
  settlement.record({
    kind: "dead_letter.replayed",
    ...settlement.subject(task),
    actor: item.actor,
    detail: {
      ...settlement.taskDetail(task),
      ...replayDetail(item.plan, row, row.bundle_digest ?? work.run.bundle_digest),
      transitions: work.takeTransitions(),
    },
  });
  return COMMITTED;
}

/** The node of the parked task fails, and with it what follows from that. */
export function settleDiscard(settlement: Settlement, work: RunWork, task: TaskRow, item: DiscardItem): SettleVerdict {
  const letter = settlement.letter(task.id);
  if (letter === undefined) return { verdict: "failed", error: notFound(task.id) };
  if (letter.state !== "open") {
    return letter.state === "discarded" ? { verdict: "duplicate" } : { verdict: "failed", error: resolved(letter) };
  }
  settlement.resolveLetter({
    ...{ task_id: task.id, state: "discarded", resolved_by: item.actor, request_digest: "" },
    ...{ replay_task_id: null, replay_run_id: null },
  });
  // In a run that ended or stops already it is a record only.
  const failure = settlement.seenByGraph(task.id, { class: letter.failure_class, message: letter.failure_message });
  work.apply({ type: "discarded", node: task.node, iteration: task.iteration, failure });
  const detail = { ...settlement.taskDetail(task), reason: item.reason, transitions: work.takeTransitions() };
  settlement.record({ kind: "dead_letter.discarded", ...settlement.subject(task), actor: item.actor, detail });
  return COMMITTED;
}

function replayTask(work: RunWork, task: TaskRow, plan: ReplayPlan): NewTaskRow {
  const { anew } = plan;
  return {
    ...{ id: plan.taskId, run_id: task.run_id, namespace: task.namespace },
    ...{ node: task.node, iteration: task.iteration, item: task.item },
    agent: anew?.agent ?? task.agent,
    route: anew?.route ?? task.route,
    ...{ state: "READY", attempt: 1, deliveries: 0 },
    claim_order: claimOrder(work.run.now.getTime(), priorityOf(work.run.priority)),
    origin_task_id: anew === undefined ? task.origin_task_id : plan.taskId,
    input: plan.input,
    create_time: work.run.now,
    end_time: null,
    replay_of: task.id,
    bundle_digest: anew?.bundleDigest ?? task.bundle_digest,
  };
}

/** The rules' view of a plan. */
export function replayRequest(plan: ReplayPlan) {
  return { anew: plan.anew !== undefined, repeatEffects: plan.repeatEffects, results: new Set(plan.results.keys()) };
}

/** What the record of a replay says, beside where it happened. */
export function replayDetail(plan: ReplayPlan, row: Pick<NewTaskRow, "id" | "run_id" | "input">, bundleDigest: string) {
  const told = [...plan.results].map(([id, result]) => [id, sha256(result)]);
  return {
    how: plan.how,
    replayTaskId: row.id,
    replayRunId: row.run_id,
    inputDigest: sha256(row.input),
    bundleDigest,
    repeatEffects: plan.repeatEffects,
    ...(told.length > 0 && { toldResults: Object.fromEntries(told) as Record<string, string> }),
  };
}

/** The same request again, or another one about a dead letter that is resolved. */
export function repeated(letter: LockedDeadLetter, digest: string): SettleVerdict {
  const same = letter.state === "replayed" && letter.request_digest === digest;
  return same ? { verdict: "duplicate" } : { verdict: "failed", error: resolved(letter) };
}

/** @returns the error for a task that was never parked */
export function notFound(taskId: string): DomainError {
  const message = `task ${taskId} is no dead letter; list dead letters to see those there are`;
  return new DomainError("DEAD_LETTER_NOT_FOUND", message, { task: taskId });
}

function resolved(letter: LockedDeadLetter): DomainError {
  const how = letter.state === "discarded" ? "discarded" : `replayed as ${letter.replay_task_id}`;
  const message = `dead letter ${letter.task_id} was ${how} already; what was decided stands`;
  return new DomainError("DEAD_LETTER_RESOLVED", message, {
    task: letter.task_id,
    ...(letter.replay_task_id !== null && { replay: letter.replay_task_id }),
  });
}

function stopping(work: RunWork): DomainError {
  const message = `run ${work.run.id} is ${work.state.run}; replay the dead letter once it has ended`;
  return new DomainError("RUN_FINISHED", message, { run: work.run.id, state: work.state.run });
}

function goneOn(work: RunWork, task: TaskRow): DomainError {
  const message = `run ${work.run.id} went on without node ${task.node}; its dead letter can be replayed, in a new run, once this one has ended`;
  return new DomainError("DEAD_LETTER_RESOLVED", message, { task: task.id, run: work.run.id });
}

/** What stands against a replay, in words. */
export function refusalError(taskId: string, refusal: ReplayRefusal): DomainError {
  if (refusal.type === "not_unknown") {
    const ids = refusal.requestIds.join(", ");
    const message = `a result was given for ${ids}, whose outcome is not unknown; give results for unknown calls alone`;
    return new DomainError("REQUEST_INVALID", message, { task: taskId });
  }
  const names = refusal.calls.map((call) => `${call.tool} (${call.requestId})`).join(", ");
  const ids = refusal.calls.map((call: LineageCall) => call.requestId).join(" ");
  if (refusal.type === "outcome_unknown") {
    const message = `nobody knows whether these calls had their effect: ${names}; find out, then give each a result, or let them be repeated`;
    return new DomainError("OUTCOME_UNKNOWN", message, { task: taskId, calls: ids });
  }
  const message = `a replay that begins anew would make these calls again: ${names}; allow it with repeat_effects, or replay plainly`;
  return new DomainError("EFFECTS_RECORDED", message, { task: taskId, calls: ids });
}
