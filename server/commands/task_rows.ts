// The rows of the tasks that a graph step made, and what its record says of them.
// Called by run_work.ts, prepare_invocation.ts and restart_run.ts. Pure but for ids: no query, no clock.

import type { Ids } from "../../kit/ids.ts";
import { canonicalJson } from "../../kit/json.ts";
import type { TransitionDetail } from "../audit/events.ts";
import type { NewTask } from "../graph/types.ts";
import type { WorkflowTemplateSpec } from "../manifests/specs.ts";
import { claimOrder } from "../queue/claim_order.ts";
import type { NewTaskRow, ReadyRow } from "../storage/task_queries.ts";
import type { CompiledBundle } from "./compiled_bundle.ts";

const PRIORITIES = ["low", "normal", "high"] as const;
/** Priority as it is stored: 0, 1, 2. */
export function priorityNumber(priority: WorkflowTemplateSpec["priority"]): number {
  return PRIORITIES.indexOf(priority);
}

/** Priority of a stored number. */
export function priorityOf(stored: number): WorkflowTemplateSpec["priority"] {
  return PRIORITIES[stored] ?? "normal";
}

/** Rows of the tasks that a graph step made; those that their map holds back are not queued. */
export function taskRows(
  made: readonly NewTask[],
  of: {
    runId: string;
    namespace: string;
    priority: WorkflowTemplateSpec["priority"];
    bundle: CompiledBundle;
    now: Date;
    ids: Ids;
  },
): { tasks: NewTaskRow[]; ready: ReadyRow[] } {
  const order = claimOrder(of.now.getTime(), of.priority);
  const tasks = made.map((task): NewTaskRow => {
    const id = of.ids.next("task");
    const state = task.held === true ? "WAITING" : "READY";
    return {
      id,
      run_id: of.runId,
      namespace: of.namespace,
      node: task.node,
      iteration: task.iteration,
      item: task.item,
      agent: task.agent,
      route: of.bundle.agents.get(task.agent)?.route ?? "",
      state,
      attempt: 1,
      deliveries: 0,
      claim_order: order,
      origin_task_id: id,
      input: canonicalJson(task.input),
      create_time: of.now,
      end_time: null,
      replay_of: null,
      bundle_digest: null,
    };
  });
  const ready = tasks.flatMap((task): ReadyRow[] => {
    if (task.state !== "READY") return [];
    const { id: task_id, run_id, route, claim_order } = task;
    return [{ task_id, run_id, route, claim_order, last_token: null, last_session_id: null, fresh: true }];
  });
  return { tasks, ready };
}

/** What the record of an event says of the tasks that it made: of a mapped node, how many. */
export function madeTransitions(tasks: readonly NewTaskRow[]): TransitionDetail[] {
  const transitions: TransitionDetail[] = [];
  for (const [node, made] of Map.groupBy(tasks, (task) => task.node)) {
    const [first] = made;
    if (first !== undefined && first.item >= 0) {
      const ready = made.filter((task) => task.state === "READY").length;
      transitions.push({ of: "items", node, iteration: first.iteration, total: made.length, ready });
    } else for (const { id: taskId, state } of made) transitions.push({ of: "task", taskId, node, to: state });
  }
  return transitions;
}
