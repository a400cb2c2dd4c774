// Decides tool calls, a batch in one transaction: structure, then policy, then the ledger, then a grant that carries the means.
// Called through the authorize coalescer by dispatch/worker_facts. No record, no grant: both commit together.
// Lock order: leases (so that no grant follows a cancel), ledger rows ascending. The graph is not touched: a denial is settled
// afterwards in the settling transaction, which records the decision together with the task's end.

import { assert } from "../../kit/errors.ts";
import { isJsonObject, type Json, jsonDigest } from "../../kit/json.ts";
import { SECOND } from "../../kit/units.ts";
import { workerActor } from "../audit/events.ts";
import { auditRecord, tokenHash } from "../audit/record.ts";
import { structuralDenial } from "../policy/evaluate.ts";
import type { Decision, PolicyInput, Requester } from "../policy/types.ts";
import type { ToolCallRow } from "../storage/ledger_queries.ts";
import type { StoreQueries } from "../storage/store.ts";
import type { CallingTask } from "../storage/task_queries.ts";
import type { CommandContext } from "./context.ts";
import { type Decided, decideSubject, noted } from "./decisions.ts";
import { grantTool } from "./grant_tool.ts";
import { nextLedgerStep } from "./ledger_step.ts";
import {
  callDetail,
  journalAnswer,
  recordCall,
  refuseArguments,
  type SoundCall,
  type ToolBatch,
} from "./tool_batch.ts";
import type { Authorized, ToolCallFact } from "./tool_facts.ts";

/** How long a worker waits that asks for a tool of a run that is being stopped. */
const STOPPING_RETRY_MS = SECOND;

/** The request id of a call: the same for every repetition, whoever runs the task. */
export function requestIdOf(originTaskId: string, turnSequence: number, callIndex: number): string {
  return `auto:${originTaskId}/${turnSequence}/${callIndex}`;
}

/** See the file header. @throws DomainError for database trouble: nothing of the batch happened, no grant left */
export async function authorizeToolCalls(
  context: CommandContext,
  facts: readonly ToolCallFact[],
): Promise<Authorized[]> {
  const { answers, runIds } = await context.store.transaction(async (tx) => {
    const held = await tx.leases.hold(
      facts.map((fact) => ({ task_id: fact.taskId, token: fact.token, session_id: fact.sessionId })),
    );
    const holding = new Set(held.map((lease) => `${lease.task_id} ${lease.token}`));
    const tasks = new Map((await tx.tasks.calling(held.map((lease) => lease.task_id))).map((task) => [task.id, task]));
    const revisions = await tx.bundles.revisions();
    const live = await context.caches.live(tx, revisions.policy);
    const begun = new Map(held.map((lease) => [lease.task_id, lease.attempt + lease.delivery]));
    const writes = { calls: [], journal: [], audit: [] };
    const batch: ToolBatch = { context, live, revision: revisions.policy, now: revisions.now, begun, ...writes };
    const requestIds = facts.flatMap((fact) => {
      const task = tasks.get(fact.taskId);
      return task === undefined ? [] : [requestIdOf(task.origin_task_id, fact.turnSequence, fact.callIndex)];
    });
    const ledger = new Map(
      (await tx.ledger.lockCalls([...new Set(requestIds)].sort())).map((row) => [row.request_id, row]),
    );
    const results: Authorized[] = [];
    for (const fact of facts) {
      const task = holding.has(`${fact.taskId} ${fact.token}`) ? tasks.get(fact.taskId) : undefined;
      results.push(task === undefined ? loseLease(batch, fact) : await authorize(tx, batch, fact, task, ledger));
    }
    await tx.ledger.putCalls(batch.calls);
    await tx.ledger.append(batch.journal);
    await tx.audit.insert(batch.audit);
    return { answers: results, runIds: [...new Set([...tasks.values()].map((task) => task.run_id))] };
  });
  context.hints.runsChanged(runIds);
  return answers;
}

function loseLease(batch: ToolBatch, fact: ToolCallFact): Authorized {
  const detail = {
    fact: "tool_call",
    tokenHash: tokenHash(fact.token),
    worker: fact.worker,
    sessionId: fact.sessionId,
  };
  batch.audit.push(auditRecord({ kind: "fact.refused", taskId: fact.taskId, actor: workerActor(fact.worker), detail }));
  return { answer: { type: "lease_lost" } };
}

async function authorize(
  tx: StoreQueries,
  batch: ToolBatch,
  fact: ToolCallFact,
  task: CallingTask,
  ledger: Map<string, ToolCallRow>,
): Promise<Authorized> {
  if (task.run_state !== "RUNNING") return { answer: { type: "retry_after", delayMs: STOPPING_RETRY_MS } };
  const bundle = await batch.context.caches.bundle(tx, task.bundle_digest);
  const tool = bundle.agents.get(task.agent)?.tools.get(fact.tool);
  const requestId = requestIdOf(task.origin_task_id, fact.turnSequence, fact.callIndex);
  if (tool === undefined) {
    const decision = structuralDenial("undeclared", {
      checkpoint: "tool.call",
      policyRevision: batch.revision,
      nowMs: batch.now.getTime(),
    });
    return deny(fact, { decision }, { tool: fact.tool, requestId });
  }
  const args = parseArguments(fact.argumentsJson);
  const problem = args === undefined ? "the arguments are not a JSON object" : tool.input.check(args);
  if (args === undefined || problem !== undefined) {
    return await refuseArguments(tx, batch, { fact, task, requestId, tool }, problem ?? "");
  }
  const call: SoundCall = { fact, task, requestId, args, argumentsDigest: jsonDigest(args), tool };
  const decided = decideSubject({
    checkpoint: "tool.call",
    ...{ live: batch.live, bundle, runId: task.run_id, tags: task.tags, metadata: task.metadata, now: batch.now },
    requester: JSON.parse(task.requester) as Requester,
    agent: task.agent,
    tool,
    args,
  });
  if (!decided.decision.allowed) {
    return deny(fact, decided, { tool: tool.tool.name, requestId, argumentsDigest: call.argumentsDigest });
  }
  return await useLedger(tx, batch, call, decided, ledger);
}

function parseArguments(text: string): Json | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function deny(
  fact: ToolCallFact,
  decided: { readonly decision: Decision; readonly input?: PolicyInput },
  subject: { tool: string; requestId: string; argumentsDigest?: string },
): Authorized {
  const { taskId, token, sessionId } = fact;
  return {
    answer: { type: "denied", code: decided.decision.reason },
    settle: { type: "denied", taskId, token, sessionId, ...decided, subject },
  };
}

async function useLedger(
  tx: StoreQueries,
  batch: ToolBatch,
  call: SoundCall,
  decided: Decided,
  ledger: Map<string, ToolCallRow>,
): Promise<Authorized> {
  const row = ledger.get(call.requestId);
  const { taskId, token, sessionId } = call.fact;
  const presented = { taskId, token, sessionId };
  const step = nextLedgerStep(row, {
    token,
    argumentsDigest: call.argumentsDigest,
    begun: batch.begun.get(taskId) ?? 1,
    tool: call.tool.tool.spec,
  });
  switch (step.type) {
    case "cached": {
      await journalAnswer(tx, batch, call, { kind: "result", payload: step.result });
      const detail = {
        ...callDetail(call, row?.attempt ?? 1),
        resultDigest: jsonDigest(JSON.parse(step.result) as Json),
      };
      recordCall(batch, call, { kind: "tool.cached", detail: { ...detail, ...noted(decided) } });
      return { answer: { type: "cached", resultJson: step.result } };
    }
    case "conflict": {
      const failure = {
        class: "IdempotencyConflict",
        message: `request ${call.requestId} was made before with other arguments`,
      };
      return { answer: { type: "conflict" }, settle: { type: "fail", ...presented, failure } };
    }
    case "exhausted": {
      const failure = {
        class: "ToolAttemptsExhausted",
        message: `tool ${call.fact.tool} was tried as often as its retry allows`,
      };
      return { answer: { type: "failed" }, settle: { type: "fail", ...presented, failure } };
    }
    case "unknown": {
      assert(row !== undefined, "an unknown outcome has a ledger row");
      batch.calls.push({ ...row, state: "unknown" });
      const message = `nobody knows whether ${call.tool.tool.name} had its effect (request ${call.requestId}); a person has to decide`;
      return {
        answer: { type: "unknown_outcome" },
        settle: { type: "park", ...presented, failure: { class: "UnknownOutcome", message } },
      };
    }
    case "grant":
      return await grantTool(tx, batch, call, decided, { ...step, ledger });
  }
}
