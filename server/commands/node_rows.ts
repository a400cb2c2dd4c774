// Node rows of a graph as they are stored, and back.
// Called by invoke, restart and settle. Pure.

import { canonicalJson, type Json } from "../../kit/json.ts";
import type { LoopRow, NodeRow } from "../graph/types.ts";
import type { NodeState } from "../queue/states.ts";
import type { NodeRecord, StoredNode } from "../storage/run_queries.ts";

/** A node row as it is stored. */
export function nodeRecord(runId: string, row: NodeRow): NodeRecord {
  return {
    run_id: runId,
    node: row.node,
    iteration: row.iteration,
    state: row.state,
    unresolved: row.unresolved,
    taken: row.taken,
    open_tasks: row.openTasks,
    output: row.output === undefined ? null : canonicalJson(row.output),
    failure_class: row.failure?.class ?? null,
    failure_message: row.failure?.message ?? null,
    routes: row.routes ?? null,
    loop_taken: row.loop === undefined ? null : canonicalJson(row.loop.taken as Record<string, number>),
    loop_last: row.loop?.last === undefined ? null : canonicalJson(row.loop.last),
    items_total: row.items?.total ?? null,
    items_next: row.items?.next ?? null,
  };
}

/** A stored node row, with its output if that was loaded. */
export function nodeRow(row: StoredNode, output: string | undefined): NodeRow {
  const failure = { class: row.failure_class ?? "", message: row.failure_message ?? "" };
  return {
    node: row.node,
    iteration: row.iteration,
    state: row.state as NodeState,
    unresolved: row.unresolved,
    taken: row.taken,
    openTasks: row.open_tasks,
    ...(row.failure_class !== null && { failure }),
    ...(output !== undefined && { output: JSON.parse(output) as Json }),
    ...(row.routes !== null && { routes: row.routes }),
    ...(row.loop_taken !== null && { loop: loopRow(row.loop_taken, row.loop_last) }),
    ...(row.items_total !== null && { items: { total: row.items_total, next: row.items_next ?? row.items_total } }),
  };
}

function loopRow(taken: string, last: string | null): LoopRow {
  return { taken: JSON.parse(taken) as LoopRow["taken"], ...(last !== null && { last: JSON.parse(last) as Json }) };
}
