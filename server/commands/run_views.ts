// Maps stored rows of runs, nodes, tasks and ledger to the views that people and programs get.
// Called by read_runs.ts and watch_run.ts. Pure: no query, no clock.

import { systemOf } from "../manifests/inline_systems.ts";
import type { AuditReadRow } from "../storage/read_audit.ts";
import type { runReads, TaskReadRow } from "../storage/read_runs.ts";
import type { CompiledBundle } from "./compiled_bundle.ts";
import type {
  AuditRecordView,
  EdgeView,
  FailureView,
  NodeView,
  RequesterView,
  RunView,
  TaskView,
  ToolCallView,
  TurnView,
} from "./views.ts";

type Reads = ReturnType<typeof runReads>;
type RunRow = NonNullable<Awaited<ReturnType<Reads["run"]>>>;
type NodeRow = Awaited<ReturnType<Reads["nodes"]>>[number];

/** A run without nodes and edges. */
export function runView(row: RunRow): RunView {
  const deadline = row.state === "RUNNING" ? row.due_time : null;
  return {
    id: row.id,
    namespace: row.namespace,
    workflow: row.workflow,
    state: row.state as RunView["state"],
    conditions: row.conditions,
    requester: JSON.parse(row.requester) as RequesterView,
    tags: row.tags,
    metadata: row.metadata,
    parametersJson: row.parameters,
    bundleDigest: row.bundle_digest,
    createTime: row.create_time,
    ...(row.output !== null && { outputJson: row.output }),
    ...failureOf(row),
    ...(row.start_time !== null && { startTime: row.start_time }),
    ...(row.end_time !== null && { endTime: row.end_time }),
    ...(deadline !== null && { deadline }),
    nodes: [],
    edges: [],
  };
}

/** Nodes in the order of the system's manifest. A node without a row has not been reached. */
export function nodeViews(bundle: CompiledBundle, rows: readonly NodeRow[], withOutputs: boolean): NodeView[] {
  const byName = new Map(rows.map((row) => [row.node, row]));
  const shown = bundle.bundle.system.spec.nodes.filter((node) => node.port !== "enter");
  return shown.map((node): NodeView => {
    const row = byName.get(node.name);
    const target = node.agent ?? node.tool ?? "";
    if (row === undefined) return { name: node.name, state: "PENDING", iteration: 0, target };
    return {
      name: node.name,
      state: row.state as NodeView["state"],
      iteration: row.iteration,
      target,
      ...(withOutputs && row.output !== null && { outputJson: row.output }),
      ...failureOf(row),
    };
  });
}

/** Edges in file order. */
export function edgeViews(bundle: CompiledBundle): EdgeView[] {
  const { nodes, edges } = bundle.bundle.system.spec;
  const enters = new Map(nodes.flatMap(({ name, port }) => (port === "enter" ? [[name, systemOf(name)]] : [])));
  // How a contained system is put in its place is nobody's business.
  const shown = edges.filter(({ from, to }) => !enters.has(from) && !from.startsWith(`${to}/`));
  return shown.map(({ from, to, when, otherwise, outcome }) => ({
    ...{ from, to: enters.get(to) ?? to, otherwise, outcome },
    ...(when !== undefined && { when }),
  }));
}

/** A task; LEASED is a READY one with a lease. */
export function taskView(row: TaskReadRow & { readonly input?: string; readonly output?: string | null }): TaskView {
  const state = row.state === "READY" && row.leased ? "LEASED" : row.state;
  return {
    id: row.id,
    runId: row.run_id,
    node: row.node,
    iteration: row.iteration,
    item: row.item,
    state: state as TaskView["state"],
    agent: row.agent,
    attempt: row.attempt,
    deliveries: row.deliveries,
    worker: row.worker ?? "",
    createTime: row.create_time,
    ...failureOf(row),
    ...(row.end_time !== null && { endTime: row.end_time }),
    ...(row.due_time !== null && { dueTime: row.due_time }),
    ...(row.input !== undefined && { inputJson: row.input }),
    ...(row.output !== undefined && row.output !== null && { outputJson: row.output }),
  };
}

/** A recorded turn. */
export function turnView(row: Awaited<ReturnType<Reads["turns"]>>[number]): TurnView {
  return { sequence: row.sequence, turnJson: row.payload ?? "", createTime: row.create_time };
}

/** A ledger row. */
export function toolCallView(row: Awaited<ReturnType<Reads["toolCalls"]>>[number]): ToolCallView {
  return {
    requestId: row.request_id,
    tool: row.tool,
    state: row.state as ToolCallView["state"],
    attempt: row.attempt,
    argumentsDigest: row.arguments_digest,
    createTime: row.create_time,
    ...failureOf(row),
    ...(row.end_time !== null && { endTime: row.end_time }),
  };
}

/** A record of the trail. */
export function auditView(row: AuditReadRow): AuditRecordView {
  const { id, time, kind, namespace, actor } = row;
  const whom = { onBehalfOf: row.on_behalf_of, traceId: row.trace_id };
  return { id, time, kind, namespace, runId: row.run_id, taskId: row.task_id, actor, ...whom, recordJson: row.record };
}

function failureOf(row: { failure_class: string | null; failure_message: string | null }): { failure?: FailureView } {
  return row.failure_class === null
    ? {}
    : { failure: { class: row.failure_class, message: row.failure_message ?? "" } };
}
