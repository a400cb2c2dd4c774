// Ends the live tasks of nodes that a settling batch superseded: a loop began them anew, or the join behind them went on without them.
// Called by settle.ts after the facts of the batch. READY and WAITING tasks end, leased ones lose their lease at once: what they still
// send is late, and their workers are told to stop.
// Lock order: the runs are locked; ready, then leases.

import type { Superseded } from "../graph/types.ts";
import type { StoreQueries } from "../storage/store.ts";
import type { Settlement } from "./settlement.ts";

type Place = Superseded & { readonly run_id: string };

/** See the file header. */
export async function endSuperseded(tx: StoreQueries, settlement: Settlement): Promise<void> {
  const works = settlement.superseding();
  if (works.length === 0) return;
  const places = works.flatMap((work) =>
    work.superseded.map((place): Place => ({ run_id: work.run.id, node: place.node, iteration: place.iteration })),
  );
  const wanted = new Set(places.map(keyOf));
  const isIn = (task: Place) => wanted.has(keyOf(task));
  for (const work of works) work.cancelNewTasks(isIn);
  for (const task of settlement.takeBackLive(isIn)) settlement.supersede(task);
  const runIds = works.map((work) => work.run.id);
  const queued = (await tx.tasks.dequeueNodes(places)).map((row) => row.task_id);
  const waiting = (await tx.tasks.waitingOf(runIds)).map((row) => row.id);
  const leases = (await tx.leases.lock([], runIds)).filter((lease) => !settlement.endsLease(lease.task_id));
  const leaseOf = new Map(leases.map((lease) => [lease.task_id, lease]));
  const live = [...new Set([...queued, ...waiting, ...leaseOf.keys()])].filter((id) => !settlement.isEnded(id));
  for (const task of await tx.tasks.byId(live)) if (isIn(task)) settlement.supersede(task, leaseOf.get(task.id));
}

function keyOf({ run_id, node, iteration }: Place): string {
  return `${run_id} ${node} ${iteration}`;
}
