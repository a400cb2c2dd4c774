// Maps stored rows of runs, nodes, tasks and ledger to the views that people and programs get.
// Called by read_runs.ts and watch_run.ts. Pure: no query, no clock.

import { systemOf } from "../manifests/inline_systems.ts";
import type { NodeSpec } from "../manifests/specs.ts";
import { isToolAgent, TOOL_AGENT_PREFIX } from "../manifests/tool_agent.ts";
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
type NodeRow = Omit<Awaited<ReturnType<Reads["nodes"]>>[number], "routes"> & {
  readonly routes: readonly number[] | null;
};

/** A run without nodes and edges. */
export function runView(row: RunRow & { readonly waiting_for?: readonly string[] }): RunView {
  const deadline = row.state === "RUNNING" ? row.due_time : null;
  return {
    id: row.id,
    namespace: row.namespace,
    workflow: row.workflow,
    state: row.state as RunView["state"],
    conditions: row.conditions,
    waitingFor: row.waiting_for ?? [],
    requester: JSON.parse(row.requester) as RequesterView,
    tags: row.tags,
    metadata: row.metadata,
    parametersJson: row.parameters,
    bundleDigest: row.bundle_digest,
    traceId: row.trace_id,
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
  const { nodes } = bundle.bundle.system.spec;
  const joins = new Map(nodes.flatMap(({ name, port, join }) => (port === "enter" ? [[systemOf(name), join]] : [])));
  const shown = nodes.filter((node) => node.port !== "enter");
  return shown.map((node): NodeView => {
    const row = byName.get(node.name);
    const declared = { ...whatIs(node), quorum: quorumOf(joins.get(node.name) ?? node.join) };
    if (row === undefined) return { name: node.name, state: "PENDING", iteration: 0, ...declared, ...mapOf(node) };
    return {
      name: node.name,
      state: row.state as NodeView["state"],
      iteration: row.iteration,
      ...declared,
      ...mapOf(node, row),
      ...(withOutputs && row.output !== null && { outputJson: row.output }),
      ...failureOf(row),
    };
  });
}

function whatIs({ agent, system, port }: NodeSpec): Pick<NodeView, "kind" | "target"> {
  if (port === "leave") return { kind: "system", target: system ?? "" };
  if (agent === undefined) return { kind: "transform", target: "" };
  return isToolAgent(agent)
    ? { kind: "tool", target: agent.slice(TOOL_AGENT_PREFIX.length) }
    : { kind: "agent", target: agent };
}

function quorumOf(join: NodeSpec["join"]): number {
  if (typeof join === "object") return join.quorum;
  return join === "any" ? 1 : 0;
}

function mapOf({ map }: NodeSpec, row?: NodeRow): Pick<NodeView, "map"> {
  if (map === undefined) return {};
  const { concurrency, onItemError } = map;
  const itemsTotal = row?.items_total ?? 0;
  return { map: { concurrency, onItemError, itemsTotal, itemsEnded: itemsTotal - (row?.open_tasks ?? 0) } };
}

/** Edges in file order, and which of them were taken. */
export function edgeViews(bundle: CompiledBundle, rows: readonly NodeRow[]): EdgeView[] {
  const { nodes, edges } = bundle.bundle.system.spec;
  const enters = new Map(nodes.flatMap(({ name, port }) => (port === "enter" ? [[name, systemOf(name)]] : [])));
  const byName = new Map(rows.map((row) => [row.node, row]));
  return edges.flatMap(({ from, to, when, otherwise, outcome, loop }, index): EdgeView[] => {
    // How a contained system is put in its place is nobody's business.
    if (enters.has(from) || from.startsWith(`${to}/`)) return [];
    const rounds = loop === undefined ? 0 : roundsOf(byName.get(to), index);
    return [
      {
        ...{ from, to: enters.get(to) ?? to, otherwise, outcome },
        ...(when !== undefined && { when }),
        ...(loop !== undefined && { loop: { ...loop, taken: rounds } }),
        taken: rounds > 0 || (byName.get(from)?.routes ?? []).includes(index),
      },
    ];
  });
}

function roundsOf(row: NodeRow | undefined, edge: number): number {
  const taken = JSON.parse(row?.loop_taken ?? "{}") as Record<string, number>;
  return taken[edge] ?? 0;
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
