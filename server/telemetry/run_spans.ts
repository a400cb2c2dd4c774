// The server's spans of runs and tasks, made of what the trail says: how long a task waited, each of its leases, and what was decided in them.
// Called by run_tracer.ts for tasks and runs that have ended. Pure.
// Ids are made of what a span is about (kit/trace.ts), so that the spans of a worker, which is told the id of its lease, fit in; also
// those of a worker that died are told here. Arguments, results, messages and request ids, which may hold a declared key, stay out.

import type { EndedSpan, SpanAttributes, SpanEvent, SpanLink } from "../../kit/spans.ts";
import { leaseSpanId, spanIdOf } from "../../kit/trace.ts";
import type { AuditKind } from "../audit/events.ts";

/** A run, as its span needs it. Times are since the epoch, in ms. */
export interface TracedRun {
  readonly id: string;
  readonly namespace: string;
  readonly workflow: string;
  readonly state: string;
  /** Empty: nothing failed. */
  readonly failureClass: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly traceId: string;
  /** The run whose dead letter it replays; empty: it was invoked. */
  readonly replayOf: string;
}

/** A task, as its spans need it, with its records in order. */
export interface TracedTask extends Omit<TracedRun, "replayOf"> {
  readonly runId: string;
  readonly node: string;
  readonly iteration: number;
  /** -1: of no mapped node. */
  readonly item: number;
  readonly agent: string;
  /** The task that it replays; empty: none. */
  readonly replayOf: string;
  readonly records: readonly TracedRecord[];
}

/** A record of the trail about a task. */
export interface TracedRecord {
  readonly kind: AuditKind;
  readonly timeMs: number;
  readonly detail: Readonly<Record<string, unknown>>;
}

/** Kinds that end a lease. */
const LEASE_ENDS: ReadonlySet<AuditKind> = new Set([
  "task.succeeded",
  "task.failed",
  "task.cancelled",
  "task.timed_out",
  "task.denied",
  "task.dead_lettered",
  "task.retrying",
  "task.requeued",
  "lease.expired",
  "lease.revoked",
]);
const IN_LEASE = ["turn.recorded", "tool.granted", "tool.cached", "tool.refused", "tool.result"] as const;
const IN_LEASES: ReadonlySet<AuditKind> = new Set(IN_LEASE);
/** Kinds of records that spans are made of. */
export const SPAN_KINDS: readonly AuditKind[] = ["task.leased", ...LEASE_ENDS, ...IN_LEASE];
/** Events of one span; what more happened is counted in the attribute orloj.events.dropped. */
const EVENTS_MAX = 128;

/** Id of the span of the invocation that made a run; its run's span is part of it. */
export function invocationSpanId(runId: string): string {
  return spanIdOf(`invocation of ${runId}`);
}

/** Id of the span of a run. */
export function runSpanId(runId: string): string {
  return spanIdOf(`run ${runId}`);
}

/** Id of the span of a task. */
export function taskSpanId(taskId: string): string {
  return spanIdOf(`task ${taskId}`);
}

/** The span of a run. */
export function runSpan(run: TracedRun): EndedSpan {
  const { id, workflow, state, traceId, startMs, endMs } = run;
  return {
    ...{ name: `run ${workflow}`, kind: "internal", traceId, spanId: runSpanId(id), startMs, endMs },
    ...(run.replayOf === "" && { parentSpanId: invocationSpanId(id) }),
    attributes: {
      ...{ "orloj.run.id": id, "orloj.namespace": run.namespace, "orloj.workflow": workflow, "orloj.run.state": state },
      ...(run.replayOf !== "" && { "orloj.replay_of": run.replayOf }),
    },
    ...errorOf(run),
  };
}

/** The spans of a task: itself, and for each lease how long it waited for it and what became of it. */
export function taskSpans(task: TracedTask): EndedSpan[] {
  const { id, node, state, traceId, startMs, endMs } = task;
  const leases = leasesOf(task);
  const { attempt, delivery } = leases.at(-1) ?? { attempt: 1, delivery: 0 };
  const span: EndedSpan = {
    ...{ name: `task ${node}`, kind: "internal", traceId, spanId: taskSpanId(id), startMs, endMs },
    parentSpanId: runSpanId(task.runId),
    attributes: {
      ...subject(task),
      ...{ "orloj.task.state": state, "orloj.attempt": attempt, "orloj.delivery": delivery },
      "orloj.leases": leases.length,
      ...(task.replayOf !== "" && { "orloj.replay_of": task.replayOf }),
    },
    ...(task.replayOf !== "" && {
      links: [{ traceId, spanId: taskSpanId(task.replayOf), attributes: { "orloj.link": "replay" } }],
    }),
    ...errorOf(task),
  };
  return [
    span,
    ...leases.flatMap((lease, index) => [waitSpan(task, lease), leaseSpan(task, lease, leases[index - 1])]),
  ];
}

interface Lease {
  readonly spanId: string;
  readonly attempt: number;
  readonly delivery: number;
  readonly worker: string;
  /** When the task was there to be taken. */
  readonly readyMs: number;
  readonly startMs: number;
  endMs: number;
  /** Kind of the record that ended it, and the class of what went wrong. */
  end: string;
  error: string;
  readonly events: SpanEvent[];
  dropped: number;
}

function leasesOf(task: TracedTask): Lease[] {
  const leases: Lease[] = [];
  const ids = new Set<string>();
  let open: Lease | undefined;
  let readyMs = task.startMs;
  for (const { kind, timeMs, detail } of task.records) {
    if (kind === "task.leased") {
      open = leaseAt(task.id, detail, readyMs, timeMs);
      // A session that gave the task back and was given it again, without a loss between: the worker's spans are of both.
      if (ids.has(open.spanId)) open = { ...open, spanId: spanIdOf(`${open.spanId} ${leases.length}`) };
      ids.add(open.spanId);
      leases.push(open);
    } else if (LEASE_ENDS.has(kind)) {
      if (open !== undefined) {
        open.endMs = timeMs;
        open.end = kind;
        open.error = endClass(kind, detail);
        open = undefined;
      }
      readyMs = timeMs;
    } else if (open !== undefined && IN_LEASES.has(kind)) {
      if (open.events.length < EVENTS_MAX)
        open.events.push({ name: kind, timeMs, attributes: eventAttributes(detail) });
      else open.dropped += 1;
    }
  }
  return leases;
}

function leaseAt(taskId: string, detail: TracedRecord["detail"], readyMs: number, startMs: number): Lease {
  const attempt = numberOf(detail["attempt"], 1);
  const delivery = numberOf(detail["delivery"], 0);
  const spanId = leaseSpanId({ taskId, attempt, delivery, sessionId: textOf(detail["sessionId"]) });
  const worker = textOf(detail["worker"]);
  const open = { endMs: startMs, end: "", error: "", events: [], dropped: 0 };
  return { ...{ spanId, attempt, delivery, worker }, readyMs: Math.min(readyMs, startMs), startMs, ...open };
}

function waitSpan(task: TracedTask, lease: Lease): EndedSpan {
  return {
    ...{
      name: `wait ${task.node}`,
      kind: "internal",
      traceId: task.traceId,
      spanId: spanIdOf(`wait for ${lease.spanId}`),
    },
    ...{ parentSpanId: taskSpanId(task.id), startMs: lease.readyMs, endMs: lease.startMs },
    attributes: { ...subject(task), "orloj.attempt": lease.attempt, "orloj.delivery": lease.delivery },
  };
}

function leaseSpan(task: TracedTask, lease: Lease, before: Lease | undefined): EndedSpan {
  const { attempt, delivery, worker, end, error, events, dropped } = lease;
  const why = before === undefined ? "" : attempt > before.attempt ? "retry" : "redelivery";
  const links: SpanLink[] =
    before === undefined ? [] : [{ traceId: task.traceId, spanId: before.spanId, attributes: { "orloj.link": why } }];
  return {
    ...{ name: `lease ${task.node}`, kind: "internal", traceId: task.traceId, spanId: lease.spanId },
    ...{ parentSpanId: taskSpanId(task.id), startMs: lease.startMs, endMs: lease.endMs },
    attributes: {
      ...subject(task),
      ...{ "orloj.attempt": attempt, "orloj.delivery": delivery, "orloj.worker": worker, "orloj.lease.end": end },
      ...(dropped > 0 && { "orloj.events.dropped": dropped }),
    },
    ...{ links, events },
    ...(error !== "" && { error }),
  };
}

function subject(task: TracedTask): SpanAttributes {
  return {
    ...{ "orloj.run.id": task.runId, "orloj.task.id": task.id, "orloj.namespace": task.namespace },
    ...{ "orloj.workflow": task.workflow, "orloj.node": task.node, "orloj.agent": task.agent },
    ...(task.iteration > 0 && { "orloj.iteration": task.iteration }),
    ...(task.item >= 0 && { "orloj.item": task.item }),
  };
}

const ENDS_WELL: ReadonlySet<string> = new Set(["task.succeeded", "task.requeued", "task.cancelled"]);

function endClass(kind: AuditKind, detail: TracedRecord["detail"]): string {
  const { class: failureClass } = (detail["failure"] ?? {}) as { class?: unknown };
  if (typeof failureClass === "string") return failureClass;
  if (kind === "lease.expired") return "LeaseExpired";
  if (kind === "lease.revoked") return "LeaseRevoked";
  return ENDS_WELL.has(kind) ? "" : kind;
}

// Of a record: what was called, which attempt, how it ended, and who decided. Nothing of what it was called with.
function eventAttributes(detail: TracedRecord["detail"]): SpanAttributes {
  const attributes: Record<string, string | number | boolean> = {};
  for (const name of ["tool", "attempt", "effect", "reason", "ok", "durationMs", "sequence", "toolCalls"]) {
    const value = detail[name];
    if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") {
      attributes[`orloj.${name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`] = value;
    }
  }
  const { class: failureClass } = (detail["failure"] ?? {}) as { class?: unknown };
  if (typeof failureClass === "string") attributes["error.type"] = failureClass;
  const { allowed, reason, decidedBy } = (detail["decision"] ?? {}) as Record<string, unknown>;
  if (typeof allowed === "boolean") attributes["orloj.decision"] = allowed ? "allowed" : "denied";
  if (typeof reason === "string") attributes["orloj.decision.reason"] = reason;
  if (typeof decidedBy === "string" && decidedBy !== "") attributes["orloj.decision.policy"] = decidedBy;
  return attributes;
}

function errorOf({ state, failureClass }: { readonly state: string; readonly failureClass: string }) {
  if (state === "SUCCEEDED" || state === "CANCELLED") return {};
  return { error: failureClass === "" ? state : failureClass };
}

function numberOf(value: unknown, otherwise: number): number {
  return typeof value === "number" ? value : otherwise;
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}
