// Gives free slots to runs that wait for one, in their turn: one that has not begun begins, of one that was parked what was replayed is queued.
// Called by dispatch/starter.ts, after whatever freed a slot and with what the tick finds. workflow.run is decided once more by the claim.
// Lock order: runs, groups, then what is new. Who is woken for nothing changes nothing.

import type { StoredRecord } from "../audit/events.ts";
import { auditRecord } from "../audit/record.ts";
import { freeSlots } from "../queue/concurrency.ts";
import type { LockedRun } from "../storage/run_queries.ts";
import type { StoreQueries } from "../storage/store.ts";
import type { CommandContext } from "./context.ts";
import { nodeRow } from "./node_rows.ts";
import { RunWork } from "./run_work.ts";
import { Slots } from "./slots.ts";

/** Runs of a group in one transaction at most. */
const START_MAX = 100;

/** See the file header. @returns groups in which more may start. @throws DomainError for database trouble: nothing happened */
export async function startQueued(context: CommandContext, groupIds: readonly string[]): Promise<string[]> {
  const { works, open } = await context.store.transaction(async (tx) => {
    const slots = new Slots();
    const chosen = await inTurn(tx, slots, groupIds);
    if (chosen.length === 0) return { works: [], open: [] };
    const started = await start(tx, context, slots, chosen);
    return { works: started, open: await slots.write(tx) };
  });
  if (works.length === 0) return [];
  if (works.some((work) => work.ready.length > 0)) context.hints.workReady();
  context.hints.runsChanged(works.map((work) => work.run.id));
  return open;
}

// Those that wait, as they are under their locks and the lock of their group, the first ones first.
async function inTurn(tx: StoreQueries, slots: Slots, groupIds: readonly string[]): Promise<LockedRun[]> {
  const next = await tx.groups.nextRuns(groupIds, START_MAX);
  if (next.length === 0) return [];
  const locked = await tx.runs.lock(next, []);
  const waiting = locked.filter((run) => run.slot === "waiting" && run.concurrency_group !== null);
  await slots.lock(
    tx,
    waiting.map((run) => run.concurrency_group ?? ""),
  );
  return waiting.sort(byTurn);
}

function byTurn(a: LockedRun, b: LockedRun): number {
  const order = Number(a.queue_order) - Number(b.queue_order);
  return order === 0 ? (a.id < b.id ? -1 : 1) : order;
}

async function start(tx: StoreQueries, context: CommandContext, slots: Slots, chosen: readonly LockedRun[]) {
  const begun = chosen.filter((run) => run.state !== "PENDING").map((run) => run.id);
  const nodes = Map.groupBy(begun.length === 0 ? [] : await tx.runs.nodes(begun), (row) => row.run_id);
  const works: RunWork[] = [];
  const audit: StoredRecord[] = [];
  for (const run of chosen) {
    const groupId = run.concurrency_group ?? "";
    if (freeSlots(slots.group(groupId)) === 0) continue;
    const bundle = await context.caches.bundle(tx, run.bundle_digest);
    const rows = (nodes.get(run.id) ?? []).map((row) => [row.node, nodeRow(row, undefined)] as const);
    const work = new RunWork(run, bundle, new Map(rows), context.ids);
    work.goOn(run.state === "PENDING" ? [] : await tx.tasks.release(run.id));
    slots.move(groupId, "waiting", work.slot);
    works.push(work);
    const { id: runId, namespace } = run;
    const detail = { concurrency: slots.detail(groupId), transitions: work.takeTransitions() };
    audit.push(auditRecord({ kind: "run.started", namespace, runId, actor: "server", detail }));
  }
  await tx.runs.insertNodes(works.filter(({ run }) => run.state === "PENDING").flatMap((work) => work.nodeRecords()));
  await tx.tasks.insert(works.flatMap((work) => work.tasks));
  await tx.tasks.enqueue(works.flatMap((work) => work.ready));
  await tx.runs.update(works.map((work) => work.change()));
  await tx.audit.insert(audit);
  return works;
}
