// Read models to wire messages, one function a view.
// Called by the services; the enum tables are also read backwards for filters.
// Never computes anything: what a view does not say is left out.

import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { AuditRecordSchema } from "../../proto/gen/orloj/v1/common_pb.ts";
import type { LeaseSchema, WorkerSchema } from "../../proto/gen/orloj/v1/fleet_pb.ts";
import type { ApplyResultSchema, PlannedChangeSchema, ResourceSchema } from "../../proto/gen/orloj/v1/manifest_pb.ts";
import * as wire from "../../proto/gen/orloj/v1/workflow_pb.ts";
import type { TaskLogChunkView } from "../commands/task_log_views.ts";
import type {
  ApplyResultView,
  AuditRecordView,
  LeaseView,
  NodeView,
  PlannedChangeView,
  ResourceView,
  RunView,
  TaskView,
  ToolCallView,
  TurnView,
  WorkerSessionView,
} from "../commands/views.ts";
import type { NodeState, RunState, TaskState } from "../queue/states.ts";

const NODE_STATES: Readonly<Record<NodeState, wire.NodeState>> = Object.freeze({
  PENDING: wire.NodeState.PENDING,
  ACTIVE: wire.NodeState.ACTIVE,
  PARKED: wire.NodeState.PARKED,
  SUCCEEDED: wire.NodeState.SUCCEEDED,
  FAILED: wire.NodeState.FAILED,
  SKIPPED: wire.NodeState.SKIPPED,
  DENIED: wire.NodeState.DENIED,
  CANCELLED: wire.NodeState.CANCELLED,
});

const TASK_STATES: Readonly<Record<TaskState, wire.TaskState>> = Object.freeze({
  WAITING: wire.TaskState.WAITING,
  READY: wire.TaskState.READY,
  LEASED: wire.TaskState.LEASED,
  SUCCEEDED: wire.TaskState.SUCCEEDED,
  FAILED: wire.TaskState.FAILED,
  CANCELLED: wire.TaskState.CANCELLED,
  TIMED_OUT: wire.TaskState.TIMED_OUT,
  POLICY_DENIED: wire.TaskState.POLICY_DENIED,
  DEAD_LETTERED: wire.TaskState.DEAD_LETTERED,
});

/** States of a run as the wire numbers them. */
export const RUN_STATES: Readonly<Record<RunState, wire.RunState>> = Object.freeze({
  PENDING: wire.RunState.PENDING,
  RUNNING: wire.RunState.RUNNING,
  CANCELLING: wire.RunState.CANCELLING,
  SUCCEEDED: wire.RunState.SUCCEEDED,
  FAILED: wire.RunState.FAILED,
  CANCELLED: wire.RunState.CANCELLED,
  TIMED_OUT: wire.RunState.TIMED_OUT,
  POLICY_DENIED: wire.RunState.POLICY_DENIED,
});

/** The state that a wire number means; undefined for UNSPECIFIED and unknown ones. */
export function runStateOf(value: wire.RunState): RunState | undefined {
  return (Object.keys(RUN_STATES) as RunState[]).find((state) => RUN_STATES[state] === value);
}

/** A stored manifest. */
export function resourceToWire(view: ResourceView): MessageInitShape<typeof ResourceSchema> {
  return {
    ...view,
    generation: BigInt(view.generation),
    createTime: timestampFromDate(view.createTime),
    updateTime: timestampFromDate(view.updateTime),
  };
}

/** What apply did with one document. */
export function applyResultToWire(view: ApplyResultView): MessageInitShape<typeof ApplyResultSchema> {
  return { ...view, generation: BigInt(view.generation) };
}

/** What apply would do with one resource. */
export function plannedChangeToWire({
  refusal,
  ...view
}: PlannedChangeView): MessageInitShape<typeof PlannedChangeSchema> {
  const refused = refusal && { refusalReason: refusal.reason, refusal: refusal.message };
  return { ...view, generation: BigInt(view.generation), ...refused };
}

/** A run with its nodes and edges. */
export function runToWire(view: RunView): MessageInitShape<typeof wire.RunSchema> {
  const { startTime, endTime, deadline, nodes, edges, ...rest } = view;
  return {
    ...rest,
    state: RUN_STATES[view.state],
    conditions: [...view.conditions],
    waitingFor: [...view.waitingFor],
    requester: { ...view.requester, groups: [...view.requester.groups] },
    createTime: timestampFromDate(view.createTime),
    ...(startTime && { startTime: timestampFromDate(startTime) }),
    ...(endTime && { endTime: timestampFromDate(endTime) }),
    ...(deadline && { deadline: timestampFromDate(deadline) }),
    nodes: nodes.map(nodeToWire),
    edges: edges.map((edge) => ({ ...edge })),
  };
}

function nodeToWire(view: NodeView): MessageInitShape<typeof wire.NodeSchema> {
  return { ...view, state: NODE_STATES[view.state] };
}

/** A task. */
export function taskToWire(view: TaskView): MessageInitShape<typeof wire.TaskSchema> {
  const { endTime, dueTime, ...rest } = view;
  return {
    ...rest,
    state: TASK_STATES[view.state],
    createTime: timestampFromDate(view.createTime),
    ...(endTime && { endTime: timestampFromDate(endTime) }),
    ...(dueTime && { dueTime: timestampFromDate(dueTime) }),
  };
}

/** Lines about a task. */
export function taskLogChunkToWire(view: TaskLogChunkView): MessageInitShape<typeof wire.TaskLogChunkSchema> {
  const lines = view.lines.map(({ time, ...rest }) => ({ ...rest, ...(time && { time: timestampFromDate(time) }) }));
  return { ...view, lines };
}

/** A recorded turn. */
export function turnToWire(view: TurnView): MessageInitShape<typeof wire.TaskTurnSchema> {
  return { ...view, createTime: timestampFromDate(view.createTime) };
}

/** A row of the tool ledger. */
export function toolCallToWire(view: ToolCallView): MessageInitShape<typeof wire.ToolCallStatusSchema> {
  const { endTime, ...rest } = view;
  return {
    ...rest,
    createTime: timestampFromDate(view.createTime),
    ...(endTime && { endTime: timestampFromDate(endTime) }),
  };
}

/** A worker with a session. */
export function workerToWire(view: WorkerSessionView): MessageInitShape<typeof WorkerSchema> {
  return {
    ...view,
    runtimes: [...view.runtimes],
    handlers: [...view.handlers],
    connectTime: timestampFromDate(view.connectTime),
    lastSeenTime: timestampFromDate(view.lastSeenTime),
  };
}

/** A live lease. */
export function leaseToWire(view: LeaseView): MessageInitShape<typeof LeaseSchema> {
  return {
    ...view,
    claimTime: timestampFromDate(view.claimTime),
    expireTime: timestampFromDate(view.expireTime),
  };
}

/** A record of the audit trail. */
export function auditRecordToWire(view: AuditRecordView): MessageInitShape<typeof AuditRecordSchema> {
  return { ...view, time: timestampFromDate(view.time) };
}
