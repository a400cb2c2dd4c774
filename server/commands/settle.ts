// Settles a batch of facts in one transaction: fences by token, advances graphs, makes successor tasks, stops runs, records.
// Called by the settle coalescer (services.ts); nothing else ends a task or a run.
// Lock order: runs, then ready and leases, then groups of runs, ids ascending. A fact with a stale token changes nothing and is recorded as refused.
// Reading path: rpc/workflow_service → commands/invoke → dispatch/claimer → worker/session → worker/agent/loop → here → graph/advance.

import { outputsNeeded } from "../graph/advance.ts";
import type { NodeRow } from "../graph/types.ts";
import { isToolAgent } from "../manifests/tool_agent.ts";
import { settlingOrder } from "../queue/fence.ts";
import { failsByTool } from "../queue/outcome.ts";
import type { LineageCall } from "../queue/replay.ts";
import { Lastly } from "../storage/lastly.ts";
import type { HeldTask, LosingTask, NewLease } from "../storage/lease_queries.ts";
import type { LockedRun, StoredNode } from "../storage/run_queries.ts";
import type { StoreQueries } from "../storage/store.ts";
import type { TaskRow } from "../storage/task_queries.ts";
import { beginReplay } from "./begin_replay.ts";
import type { CompiledBundle } from "./compiled_bundle.ts";
import type { CancelReason, CommandContext } from "./context.ts";
import { endSuperseded } from "./end_superseded.ts";
import { loadItems } from "./load_items.ts";
import { NewLeases } from "./new_leases.ts";
import { nodeRow } from "./node_rows.ts";
import { RunWork } from "./run_work.ts";
import type { SettleItem, SettleVerdict } from "./settle_items.ts";
import { settleRunItem } from "./settle_run.ts";
import { settleTaskItem } from "./settle_task.ts";
import { type LoadedFacts, Settlement, type SettlementWrites, type SlotMove } from "./settlement.ts";
import { Slots } from "./slots.ts";

/** Settles a batch; one verdict an item, in order. @throws DomainError for database trouble: nothing of the batch happened */
export async function settle(context: CommandContext, items: readonly SettleItem[]): Promise<SettleVerdict[]> {
  const leases = new NewLeases(context);
  const done = await context.store
    .transaction((tx) => settleIn(tx, context, items, leases))
    .catch((error: unknown) => {
      leases.giveBack();
      throw error;
    });
  leases.send();
  if (done.queued) context.hints.workReady();
  if (done.open.length > 0) context.hints.slotsFree(done.open);
  context.hints.runsChanged(done.settlement.changedRuns());
  context.hints.cancel(done.settlement.cancels);
  return done.verdicts;
}

async function settleIn(tx: StoreQueries, context: CommandContext, items: readonly SettleItem[], leases: NewLeases) {
  const taskIds = unique(items.flatMap((item) => ("taskId" in item ? [item.taskId] : [])));
  const runIds = unique(items.flatMap((item) => ("runId" in item ? [item.runId] : [])));
  const gate = leases.mayLease ? tx.bundles.shareGate() : undefined;
  // The lock comes first; what is read after it is what no other settling transaction changes any more.
  const [locked, found, held, nodes, revisions] = await Promise.all([
    tx.runs.lock(runIds, taskIds),
    tx.tasks.byId(taskIds),
    holdTokens(tx, items),
    tx.runs.nodes(runIds, taskIds),
    leases.mayLease ? tx.bundles.revisions() : undefined,
    tx.identify(),
    gate,
  ]);
  const tasks = new Map(found.map((task) => [task.id, task]));
  const endings = unique(found.map((task) => `${task.run_id} ${task.node}`));
  const works = await loadWorks(tx, context, { locked, rows: nodes, endings });
  await loadItems(tx, works, tasks.values());
  const loaded = { ...(await loadReplays(tx, context, items, tasks)), timedOut: await loadTimeouts(tx, items, tasks) };
  const settlement = new Settlement(works, tasks, held, context.ids, loaded);
  const verdicts: SettleVerdict[] = [];
  for (const index of settlingOrder(items)) {
    const item = items[index] as SettleItem;
    verdicts[index] = "runId" in item ? settleRunItem(settlement, item) : settleTaskItem(settlement, item);
  }
  await endSuperseded(tx, settlement);
  await stopLiveTasks(tx, settlement);
  const writes = settlement.writes();
  const leased = await leases.lease(tx, writes.next, revisions, writes.ready);
  const ready = [...writes.ready, ...leased.ready];
  const audit = [...writes.audit, ...leased.audit];
  const { open, statements } = await flush(tx, { ...writes, ready, audit }, leased.leases);
  return new Lastly({ settlement, verdicts, open, queued: ready.length > 0 }, statements);
}

// Of the tasks of tool nodes that fail by their tool, now or when they were parked, those whose tool ran out of time last.
async function loadTimeouts(
  tx: StoreQueries,
  items: readonly SettleItem[],
  tasks: ReadonlyMap<string, TaskRow>,
): Promise<ReadonlySet<string>> {
  const failing = items.flatMap((item) => ("taskId" in item && mayFailByTool(item) ? [item.taskId] : []));
  return new Set(await tx.ledger.timedOut(failing.filter((id) => isToolAgent(tasks.get(id)?.agent ?? ""))));
}

function mayFailByTool(item: SettleItem): boolean {
  if (item.type === "park" || item.type === "fail") return failsByTool(item.failure.class);
  if (item.type === "outcome") return item.outcome.type === "failed" && failsByTool(item.outcome.failure.class);
  return item.type === "discard";
}

// Dead letters that somebody decides about, with what is on record of their lineages; specs of tasks that replay with later ones.
async function loadReplays(
  tx: StoreQueries,
  context: CommandContext,
  items: readonly SettleItem[],
  tasks: ReadonlyMap<string, TaskRow>,
): Promise<Omit<LoadedFacts, "timedOut">> {
  const decided = unique(
    items.flatMap((item) => (item.type === "replay" || item.type === "discard" ? [item.taskId] : [])),
  );
  const letters = new Map((await tx.deadLetters.lock(decided)).map((letter) => [letter.task_id, letter]));
  const origins = unique(decided.flatMap((id) => tasks.get(id)?.origin_task_id ?? []));
  const bundles = new Map<string, CompiledBundle>();
  for (const { bundle_digest: digest } of tasks.values()) {
    if (digest !== null) bundles.set(digest, await context.caches.bundle(tx, digest));
  }
  return { letters, calls: await lineages(tx, origins), bundles };
}

/** Calls of lineages, locked, by origin. */
export async function lineages(
  tx: StoreQueries,
  originTaskIds: readonly string[],
): Promise<Map<string, LineageCall[]>> {
  const calls = new Map<string, LineageCall[]>(originTaskIds.map((id) => [id, []]));
  for (const { request_id: requestId, tool, state, effect, origin_task_id } of await tx.ledger.lockLineages(
    originTaskIds,
  )) {
    calls.get(origin_task_id)?.push({ requestId, tool, state, effect });
  }
  return calls;
}

async function holdTokens(tx: StoreQueries, items: readonly SettleItem[]) {
  const presented = items.flatMap((item) =>
    "sessionId" in item ? [{ task_id: item.taskId, token: item.token, session_id: item.sessionId }] : [],
  );
  const lost = items.flatMap((item) => (item.type === "lost" ? [item.taskId] : []));
  const held = await tx.leases.hold(presented);
  const losing = lost.length > 0 ? await tx.leases.lockLosing(lost) : [];
  return new Map<string, HeldTask & Partial<LosingTask>>([...held, ...losing].map((lease) => [lease.task_id, lease]));
}

// Locked runs with the rows of their nodes, and the nodes that end in this batch.
interface LoadedRuns {
  readonly locked: readonly LockedRun[];
  readonly rows: readonly StoredNode[];
  readonly endings: readonly string[];
}

async function loadWorks(tx: StoreQueries, context: CommandContext, { locked, rows, endings }: LoadedRuns) {
  const works = new Map<string, RunWork>();
  if (locked.length === 0) return works;
  const bundles = new Map<string, Awaited<ReturnType<typeof context.caches.bundle>>>();
  for (const run of locked) bundles.set(run.id, await context.caches.bundle(tx, run.bundle_digest));
  const outputs = await loadOutputs(tx, endings, bundles, rows);
  const nodes = new Map<string, Map<string, NodeRow>>(locked.map((run) => [run.id, new Map()]));
  for (const row of rows) {
    nodes.get(row.run_id)?.set(row.node, nodeRow(row, outputs.get(`${row.run_id} ${row.node}`)));
  }
  for (const run of locked) {
    const bundle = bundles.get(run.id);
    if (bundle !== undefined) works.set(run.id, new RunWork(run, bundle, nodes.get(run.id) ?? new Map(), context.ids));
  }
  return works;
}

// Only the outputs that the successors of an ending node read are loaded: a wide run stays cheap.
async function loadOutputs(
  tx: StoreQueries,
  endings: readonly string[],
  bundles: ReadonlyMap<string, { plan: Parameters<typeof outputsNeeded>[0] }>,
  rows: readonly { run_id: string; node: string; state: string }[],
) {
  const succeeded = new Set(rows.filter((row) => row.state === "SUCCEEDED").map((row) => `${row.run_id} ${row.node}`));
  const wanted = new Map<string, { run_id: string; node: string }>();
  for (const ending of endings) {
    const [runId = "", node = ""] = ending.split(" ");
    const plan = bundles.get(runId)?.plan;
    for (const needed of plan === undefined ? [] : outputsNeeded(plan, node)) {
      const key = `${runId} ${needed}`;
      if (succeeded.has(key)) wanted.set(key, { run_id: runId, node: needed });
    }
  }
  const outputs = await tx.runs.nodeOutputs([...wanted.values()]);
  return new Map(outputs.map((row) => [`${row.run_id} ${row.node}`, row.output]));
}

// A run that began to stop: READY and WAITING tasks end at once, leased ones are told and have the grace.
async function stopLiveTasks(tx: StoreQueries, settlement: Settlement): Promise<void> {
  const stopping = settlement.stopping();
  if (stopping.length === 0) return;
  for (const work of stopping) work.cancelNewTasks();
  const runIds = stopping.map((work) => work.run.id);
  for (const task of settlement.takeBackLive((live) => runIds.includes(live.run_id))) settlement.cancelIdle(task);
  const queued = await tx.tasks.dequeueRuns(runIds);
  const waiting = await tx.tasks.waitingOf(runIds);
  const leases = (await tx.leases.lock([], runIds)).filter((lease) => !settlement.endsLease(lease.task_id));
  const idle = unique([...queued.map((row) => row.task_id), ...waiting.map((row) => row.id)]);
  for (const task of await tx.tasks.byId(idle.filter((id) => !settlement.isEnded(id)))) settlement.cancelIdle(task);
  const overdue = leases.filter((lease) => settlement.work(lease.run_id)?.graceOver === true);
  for (const task of await tx.tasks.byId(overdue.map((lease) => lease.task_id))) {
    settlement.endLease(task.id);
    settlement.cancelIdle(task);
  }
  for (const work of stopping) {
    const own = leases.filter((lease) => lease.run_id === work.run.id && !settlement.endsLease(lease.task_id));
    if (own.length > 0 && !work.finished) {
      work.waitForGrace();
      settlement.orderCancels(own, cancelReason(work), Number(work.run.grace_ms));
    }
  }
}

function cancelReason(work: RunWork): CancelReason {
  if (work.state.cause === "timed_out") return "timeout";
  return work.state.cause === "cancelled" ? "user" : "sibling";
}

// Gives groups in which somebody waits although a slot is free, and what is on its way.
async function flush(tx: StoreQueries, writes: SettlementWrites, leases: readonly NewLease[]) {
  const rows = [
    tx.leases.delete(writes.endedLeases),
    tx.tasks.update(writes.taskChanges),
    tx.ledger.dropUnansweredTurn(writes.newAttempts),
    tx.tasks.insert(writes.newTasks),
    tx.tasks.enqueue(writes.ready),
    tx.leases.insert(leases),
    tx.runs.updateNodes(writes.nodes),
    tx.runs.update(writes.runs),
    tx.ledger.putCalls(writes.deniedCalls),
    tx.deadLetters.insert(writes.parked),
    tx.deadLetters.resolve(writes.resolvedLetters),
  ];
  // Replays and groups take several steps, and are rare.
  const isPlain = writes.replays.length === 0 && writes.moves.length === 0;
  const open = isPlain ? [] : await Promise.all(rows).then(() => finishReplaysAndSlots(tx, writes));
  return { open, statements: [...rows, tx.audit.insert(writes.audit)] };
}

async function finishReplaysAndSlots(tx: StoreQueries, { replays, moves }: SettlementWrites): Promise<string[]> {
  for (const replayed of replays) await beginReplay(tx, replayed);
  return await countAnew(tx, moves);
}

async function countAnew(tx: StoreQueries, moves: readonly SlotMove[]): Promise<string[]> {
  const slots = new Slots();
  await slots.lock(
    tx,
    moves.map(({ group }) => group),
  );
  for (const { group, from, to } of moves) slots.move(group, from, to);
  return await slots.write(tx);
}

function unique(values: readonly string[]): string[] {
  return [...new Set(values)];
}
