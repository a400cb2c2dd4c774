// Makes the lease of a task that is given to a session: what policies say, the token, what goes with it, and its record.
// Called by claim.ts for tasks of the queue and by new_leases.ts for those that are never queued, in their transactions.
// A denied task is leased too, never sent, and settled as POLICY_DENIED.

import { assert } from "../../kit/errors.ts";
import { leaseSpanId, traceparentOf } from "../../kit/trace.ts";
import type { StoredRecord } from "../audit/events.ts";
import { auditRecord, decisionDetail, targetDetail } from "../audit/record.ts";
import type { FailureValue } from "../graph/types.ts";
import type { Secret } from "../secrets/secret.ts";
import type { NewLease } from "../storage/lease_queries.ts";
import type { JournalRow } from "../storage/ledger_queries.ts";
import type { ClaimedTask } from "../storage/task_queries.ts";
import { type AgentMeans, agentMeansOf } from "./agent_means.ts";
import type { LiveState } from "./caches.ts";
import type { CompiledBundle } from "./compiled_bundle.ts";
import type { CommandContext } from "./context.ts";
import { type DecidedAssignment, decideAssignment } from "./decide_assignment.ts";
import { noted } from "./decisions.ts";
import { modelKeyOf } from "./model_key.ts";
import type { SettleItem } from "./settle_items.ts";

/** A leased task, ready to be sent. */
export interface Assigned {
  readonly sessionId: string;
  readonly token: string;
  readonly task: ClaimedTask;
  readonly bundle: CompiledBundle;
  readonly journal: readonly JournalRow[];
  /** W3C trace context of the lease; empty if the run is in no trace. */
  readonly traceparent: string;
  /** The key that the agent's model names; absent if it names none. */
  readonly modelKey?: Secret;
  /** How an agent outside of the worker is reached; absent for other agents. */
  readonly agentMeans?: AgentMeans;
  /** Tools that the model must not hear of, as the agent declares them. */
  readonly withheldTools: readonly string[];
}

/** A leased task with its lease, and why it may not be sent. */
export interface Leased extends Assigned {
  readonly lease: NewLease;
  readonly assignment: DecidedAssignment;
  /** Why it cannot be sent though it is allowed. */
  readonly failure?: FailureValue;
}

/** A task, and who gets it. */
export interface Leasing {
  readonly task: ClaimedTask;
  readonly bundle: CompiledBundle;
  readonly journal: readonly JournalRow[];
  readonly sessionId: string;
  readonly worker: string;
  /** Nothing of its run has left the server yet, and workflow.run was not decided in this transaction. */
  readonly first: boolean;
}

/** Decides a task, and makes its lease. */
export function leaseTask(
  context: CommandContext,
  { task, bundle, journal, sessionId, worker, first }: Leasing,
  on: { readonly live: LiveState; readonly now: Date },
): Leased {
  const token = context.ids.token();
  const assignment = decideAssignment(task, { ...on, bundle, first });
  const withheldTools = assignment.withheld.map(({ name }) => name);
  const lease = {
    task_id: task.id,
    run_id: task.run_id,
    token,
    session_id: sessionId,
    worker,
    attempt: task.attempt,
    delivery: task.deliveries,
    journal_length: journal.length,
    withheld: withheldTools,
  };
  // Keys and addresses leave the server only after the agent was allowed.
  const { allowed } = assignment.decided.decision;
  const traceparent = leaseTraceparent(task, sessionId);
  const needs = allowed
    ? { ...modelKeyOf(context, bundle, task.agent), ...agentMeansOf(context, bundle, task, traceparent) }
    : {};
  return { sessionId, token, task, bundle, journal, traceparent, withheldTools, lease, assignment, ...needs };
}

function leaseTraceparent(task: ClaimedTask, sessionId: string): string {
  if (task.trace_id === "") return "";
  const spanId = leaseSpanId({ taskId: task.id, attempt: task.attempt, delivery: task.deliveries, sessionId });
  return traceparentOf({ traceId: task.trace_id, spanId, sampled: task.trace_sampled });
}

/** The record of a lease that is sent. */
export function leasedRecord({ task, lease, bundle, assignment }: Leased): StoredRecord {
  const { decided, run, withheld } = assignment;
  const runDecision = run && noted(run).decision;
  const withheldTools = withheld.map(({ name, decided: { decision, input } }) => {
    return { name, decision: decisionDetail(decision, input) };
  });
  const agent = bundle.agents.get(task.agent)?.agent;
  assert(agent !== undefined, `the bundle of task ${task.id} has agent ${task.agent}`);
  return auditRecord({
    kind: "task.leased",
    namespace: task.namespace,
    runId: task.run_id,
    taskId: task.id,
    actor: "server",
    detail: {
      node: task.node,
      iteration: task.iteration,
      attempt: task.attempt,
      agent: task.agent,
      target: targetDetail(agent),
      ...(task.item >= 0 && { item: task.item }),
      sessionId: lease.session_id,
      worker: lease.worker,
      delivery: task.deliveries,
      ...noted(decided),
      ...(runDecision && { runDecision }),
      ...(withheldTools.length > 0 && { withheldTools }),
    },
  });
}

/** It is allowed, and has all that it needs. */
export function isSendable({ assignment, failure }: Leased): boolean {
  return assignment.decided.decision.allowed && failure === undefined;
}

/** How a task ends that may not be sent. */
export function unsendable({ task, token, sessionId, assignment, failure }: Leased): SettleItem {
  const { decided, subject } = assignment;
  const presented = { taskId: task.id, token, sessionId };
  if (failure !== undefined) return { type: "fail", ...presented, failure };
  return { type: "denied", ...presented, ...decided, subject };
}
