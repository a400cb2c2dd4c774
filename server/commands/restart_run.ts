// Replays a dead letter of a finished run: a new run from that node. Nodes that succeeded keep their outputs and are not executed again;
// the others begin with the journal of their last task, unless the replay begins anew.
// Called by replay_dead_letters.ts. Lock order: the old run, the dead letter, the calls of its lineages, its group, counters of limits.
// The requester stays who invoked; who replays is in the records. workflow.run is decided again, and counted; a denial is recorded.

import { DomainError } from "../../kit/errors.ts";
import { canonicalJson, type Json, sha256 } from "../../kit/json.ts";
import { traceIdOf } from "../../kit/trace.ts";
import type { StoredRecord, TransitionDetail } from "../audit/events.ts";
import { auditRecord, decisionDetail, targetDetail } from "../audit/record.ts";
import { restart } from "../graph/restart.ts";
import type { Requester } from "../policy/types.ts";
import { claimOrder } from "../queue/claim_order.ts";
import { refuseReplay } from "../queue/replay.ts";
import { isTerminal, RUN_TRANSITIONS } from "../queue/states.ts";
import type { NewGroup } from "../storage/group_queries.ts";
import { deadLetterReads, type ReplayableRow } from "../storage/read_dead_letters.ts";
import type { NewRun } from "../storage/run_queries.ts";
import type { StoreQueries } from "../storage/store.ts";
import type { NewTaskRow } from "../storage/task_queries.ts";
import { beginReplay } from "./begin_replay.ts";
import { callTrace } from "./call_trace.ts";
import type { CompiledBundle } from "./compiled_bundle.ts";
import type { CommandContext } from "./context.ts";
import { decideLive } from "./decide_live.ts";
import { type Decided, decideSubject, noted } from "./decisions.ts";
import { deniedError } from "./invocation_errors.ts";
import { knownEnds } from "./known_ends.ts";
import { nodeRecord } from "./node_rows.ts";
import { groupOf } from "./run_group.ts";
import { QUEUED } from "./run_work.ts";
import { lineages } from "./settle.ts";
import type { ReplayPlan } from "./settle_items.ts";
import { refusalError, repeated, replayDetail, replayRequest } from "./settle_replay.ts";
import { Slots } from "./slots.ts";
import { madeTransitions, priorityOf, taskRows } from "./task_rows.ts";
import type { Principal, ReplayHow, ReplayResult, RequesterView } from "./views.ts";

type FinishedRun = Awaited<ReturnType<ReturnType<typeof deadLetterReads>["finishedRun"]>>;

/** See the file header. @throws DEAD_LETTER_RESOLVED, OUTCOME_UNKNOWN, EFFECTS_RECORDED, POLICY_DENIED */
export async function restartRun(
  context: CommandContext,
  principal: Principal,
  letter: ReplayableRow,
  how: ReplayHow,
  plan: ReplayPlan,
): Promise<ReplayResult> {
  const taskId = letter.task_id;
  const restarted = await context.store.transaction(async (tx): Promise<Restarted | DomainError> => {
    await tx.runs.lock([letter.run_id], []);
    const [locked] = await tx.deadLetters.lock([taskId]);
    if (locked !== undefined && locked.state !== "open") {
      const verdict = repeated(locked, plan.digest);
      if (verdict.verdict === "failed") throw verdict.error;
      const { replay_task_id, replay_run_id } = locked;
      const result = { taskId, replayTaskId: replay_task_id ?? "", replayRunId: replay_run_id ?? "", duplicate: true };
      return { result, open: [] };
    }
    const old = await deadLetterReads(tx.db).finishedRun(letter.run_id);
    const digest = plan.anew?.bundleDigest ?? old.run.bundle_digest;
    const bundle = await context.caches.bundle(tx, digest);
    return await insertRun(tx, context, { principal, letter, how, plan, old, bundle });
  });
  // Denied: the record of it has committed, and nothing else.
  if (restarted instanceof DomainError) throw restarted;
  const { result, open } = restarted;
  if (!result.duplicate) context.hints.workReady();
  if (open.length > 0) context.hints.slotsFree(open);
  context.hints.runsChanged([letter.run_id, result.replayRunId]);
  return result;
}

interface Restarted {
  readonly result: ReplayResult;
  /** Groups in which somebody waits although a slot is free. */
  readonly open: readonly string[];
}

type EarlierTask = Pick<FinishedRun["tasks"][number], "id" | "iteration" | "origin_task_id">;

interface Restarting {
  readonly principal: Principal;
  readonly letter: ReplayableRow;
  readonly how: ReplayHow;
  readonly plan: ReplayPlan;
  readonly old: FinishedRun;
  readonly bundle: CompiledBundle;
}

async function insertRun(
  tx: StoreQueries,
  context: CommandContext,
  restarting: Restarting,
): Promise<Restarted | DomainError> {
  const { principal, letter, plan, old, bundle } = restarting;
  const { now } = await tx.bundles.revisions();
  const runId = context.ids.next("run");
  const input = JSON.parse(old.run.input) as Json;
  const effects = restart(bundle.plan, input, await knownEnds(tx, letter, old, bundle));
  const of = {
    runId,
    namespace: old.run.namespace,
    priority: priorityOf(old.run.priority),
    bundle,
    now,
    ids: context.ids,
  };
  const made = taskRows(effects.tasks, of);
  const earlier = new Map<string, EarlierTask>(old.tasks.map((task) => [task.node, task]));
  const { node, iteration, task_id: id, origin_task_id } = letter;
  earlier.set(node, { id, iteration, origin_task_id });
  if (!made.tasks.some((task) => task.node === node && task.iteration === iteration)) throw notReached(restarting);
  const calls = await lineages(tx, [
    ...new Set(made.tasks.flatMap(({ node }) => earlier.get(node)?.origin_task_id ?? [])),
  ]);
  const refusal = refuseReplay(calls.get(letter.origin_task_id) ?? [], replayRequest(plan));
  if (refusal !== undefined) throw refusalError(letter.task_id, refusal);
  const group = groupOf(bundle, { params: JSON.parse(old.run.parameters) as Json, tags: old.run.tags });
  const slots = new Slots();
  const decided = await decide(tx, context, restarting, {
    runId,
    lockFirst: () => slots.make(tx, group ? [group] : []),
  });
  if (!decided.decision.allowed) {
    await tx.audit.insert([refusedRecord(restarting, decided)]);
    return deniedError(`a new run of ${old.run.workflow} for ${old.run.requester_id}`, decided.decision);
  }
  const run = newRun(old, bundle, effects, { runId, now, group });
  const waits = run.slot === "waiting";
  if (group !== undefined) slots.move(group.id, null, run.slot);
  const tasks = made.tasks.map((task) => {
    // The newest task of a node is another item's, or another iteration's, if it is mapped or in a loop.
    const newest = task.item < 0 ? earlier.get(task.node) : undefined;
    const before = newest?.iteration === task.iteration ? newest : undefined;
    const replayed = task.node === letter.node;
    const anew = before === undefined || plan.anew !== undefined;
    return {
      ...task,
      ...(waits && { state: "WAITING" as const }),
      ...(replayed && { id: plan.taskId, input: plan.anew === undefined ? task.input : plan.input }),
      origin_task_id: anew ? (replayed ? plan.taskId : task.id) : before.origin_task_id,
      replay_of: before?.id ?? null,
    };
  });
  const renamed = new Map(made.tasks.map((task, index) => [task.id, tasks[index]?.id ?? task.id]));
  const ready = made.ready.map((row) => ({ ...row, task_id: renamed.get(row.task_id) ?? row.task_id, fresh: false }));
  await tx.runs.insert([run]);
  await tx.runs.insertNodes(effects.changed.map((row) => nodeRecord(runId, row)));
  await tx.tasks.insert(tasks);
  await tx.tasks.enqueue(waits ? [] : ready);
  for (const task of tasks) {
    if (task.replay_of === null) continue;
    const own = { ...plan, ...(task.id !== plan.taskId && { results: new Map() }) };
    const lineage = calls.get(task.origin_task_id) ?? [];
    await beginReplay(tx, {
      from: task.replay_of,
      to: task.id,
      originTaskId: task.origin_task_id,
      calls: lineage,
      plan: own,
    });
  }
  await tx.deadLetters.resolve([
    {
      ...{ task_id: letter.task_id, state: "replayed", resolved_by: principal.id, request_digest: plan.digest },
      ...{ replay_task_id: plan.taskId, replay_run_id: runId },
    },
  ]);
  const queued = waits && group !== undefined ? { queued: slots.detail(group.id) } : {};
  const open = await slots.write(tx);
  await tx.audit.insert(records(restarting, run, tasks, { ...noted(decided), ...queued }));
  const result = { taskId: letter.task_id, replayTaskId: plan.taskId, replayRunId: runId, duplicate: false };
  return { result, open };
}

async function decide(
  tx: StoreQueries,
  context: CommandContext,
  { old, bundle }: Restarting,
  { runId, lockFirst }: { readonly runId: string; lockFirst(): Promise<boolean> },
) {
  const requester = JSON.parse(old.run.requester) as Requester;
  const { tags, metadata } = old.run;
  const subject = { checkpoint: "workflow.run", bundle, runId, requester, tags, metadata } as const;
  const { judged, limits } = await decideLive(
    tx,
    context,
    ({ live, now }) => decideSubject({ ...subject, live, now }),
    ({ decision }) => (decision.allowed ? [decision] : []),
    lockFirst,
  );
  const decided = { ...judged, decision: limits.consume(judged.decision) };
  await limits.giveBack(tx);
  return decided;
}

function refusedRecord({ principal, letter, old, bundle }: Restarting, { decision, input }: Decided): StoredRecord {
  return auditRecord({
    ...{ kind: "run.refused", namespace: old.run.namespace, actor: principal.id, ...callTrace(principal) },
    detail: {
      ...{ workflow: old.run.workflow, target: targetDetail(bundle.bundle.workflow), replayOf: letter.run_id },
      requester: JSON.parse(old.run.requester) as RequesterView,
      decision: decisionDetail(decision, input),
    },
  });
}

function notReached({ letter, old, bundle }: Restarting): DomainError {
  const otherwise = bundle.row.digest !== old.run.bundle_digest;
  const why = otherwise
    ? letter.iteration > 0
      ? `was parked in round ${letter.iteration} of a loop, which may go round otherwise with other manifests; replay it without the current manifests`
      : `is not reached from the outputs of run ${letter.run_id} with the current manifests; replay it without them`
    : `is not reached from what ended in run ${letter.run_id}`;
  const message = `node ${letter.node} ${why}, or invoke ${letter.workflow} anew`;
  return new DomainError("REQUEST_INVALID", message, { task: letter.task_id, node: letter.node });
}

function newRun(
  { run: old }: FinishedRun,
  bundle: CompiledBundle,
  { state, output }: ReturnType<typeof restart>,
  { runId, now, group }: { runId: string; now: Date; group: NewGroup | undefined },
): NewRun {
  const over = isTerminal(RUN_TRANSITIONS, state.run);
  const timeoutMs = Number(old.timeout_ms);
  // Its tasks wait until it has a slot, which may be at once.
  const waits = group !== undefined && !over;
  const { namespace, workflow, requester_id, requester, tags, metadata, parameters, input, priority } = old;
  return {
    ...{ namespace, workflow, requester_id, requester, tags, metadata, parameters, input, priority },
    id: runId,
    bundle_digest: bundle.row.digest,
    state: state.run,
    cause: state.cause ?? null,
    output: output === undefined ? null : canonicalJson(output),
    failure_class: state.failure?.class ?? null,
    failure_message: state.failure?.message ?? null,
    idempotency_key: null,
    request_digest: null,
    timeout_ms: timeoutMs,
    grace_ms: Number(old.grace_ms),
    create_time: now,
    start_time: now,
    end_time: over ? now : null,
    conditions: waits ? [QUEUED] : [],
    due_time: over || waits ? null : new Date(now.getTime() + timeoutMs),
    remaining_ms: waits ? timeoutMs : null,
    concurrency_group: group?.id ?? null,
    slot: waits ? "waiting" : null,
    queue_order: waits ? claimOrder(now.getTime(), priorityOf(priority)) : null,
    replay_of: old.id,
    trace_id: traceIdOf(runId),
    trace_sampled: true,
  };
}

function records(
  { principal, letter, plan, old, bundle }: Restarting,
  run: NewRun,
  tasks: readonly NewTaskRow[],
  decision: object,
): StoredRecord[] {
  const transitions: TransitionDetail[] = [
    { of: "run", from: "PENDING", to: run.state as "RUNNING" },
    ...madeTransitions(tasks),
  ];
  const subject = { namespace: run.namespace, actor: principal.id };
  const replayed = tasks.find((task) => task.id === plan.taskId);
  return [
    auditRecord({
      ...{ kind: "run.created", ...subject, runId: run.id },
      detail: {
        ...{
          workflow: run.workflow,
          target: targetDetail(bundle.bundle.workflow),
          bundleDigest: run.bundle_digest,
          parametersDigest: sha256(run.parameters),
        },
        ...{ requester: JSON.parse(old.run.requester) as RequesterView, tags: run.tags, replayOf: letter.run_id },
        ...decision,
        transitions,
      },
    }),
    auditRecord({
      ...{ kind: "dead_letter.replayed", ...subject, runId: letter.run_id, taskId: letter.task_id },
      detail: {
        ...{ node: letter.node, iteration: letter.iteration, attempt: letter.attempt, agent: letter.agent },
        ...replayDetail(plan, replayed ?? { id: plan.taskId, run_id: run.id, input: plan.input }, run.bundle_digest),
      },
    }),
  ];
}
