// Loads what the items of mapped nodes need that end in a settling batch: the tasks that come next, and, when a node may be done with
// its last item, how its other items ended. Called by settle.ts under the locks of the runs.
// Two statements a batch, however many items there are; the results of a node are loaded once.

import type { ItemResult } from "../graph/types.ts";
import type { StoreQueries } from "../storage/store.ts";
import type { ItemRange, ItemResultRow, TaskRow } from "../storage/task_queries.ts";
import type { RunWork } from "./run_work.ts";

/** See the file header. */
export async function loadItems(
  tx: StoreQueries,
  works: ReadonlyMap<string, RunWork>,
  tasks: Iterable<TaskRow>,
): Promise<void> {
  const ending = [...tasks].filter((task) => task.item >= 0);
  if (ending.length === 0) return;
  const held: ItemRange[] = [];
  const done: ItemRange[] = [];
  for (const [{ run_id, node, iteration }, ...others] of Map.groupBy(ending, placeOf).values() as Iterable<
    [TaskRow, ...TaskRow[]]
  >) {
    const row = works.get(run_id)?.state.nodes.get(node);
    if (row?.items === undefined || row.iteration !== iteration || row.state !== "ACTIVE") continue;
    const range = { run_id, node, iteration, first: row.items.next, count: others.length + 1 };
    if (row.items.next < row.items.total) held.push(range);
    if (row.openTasks <= range.count) done.push(range);
  }
  for (const task of await tx.tasks.heldItems(held)) works.get(task.run_id)?.holdItem(task);
  for (const { run_id, node } of done) works.get(run_id)?.expectResults(node);
  for (const row of await tx.tasks.itemResults(done)) {
    const work = works.get(row.run_id);
    if (work !== undefined) work.noteResult(row.node, row.item, resultOf(work, row));
  }
}

function placeOf({ run_id, node, iteration }: TaskRow): string {
  return `${run_id} ${node} ${iteration}`;
}

function resultOf(work: RunWork, row: ItemResultRow): ItemResult {
  if (row.state === "SUCCEEDED") return { output: JSON.parse(row.output ?? "null") };
  const fallback = row.state === "FAILED" ? work.fallbackOf(row.agent) : undefined;
  if (fallback !== undefined) return { output: fallback };
  return { error: { class: row.failure_class ?? "", message: row.failure_message ?? "" } };
}
