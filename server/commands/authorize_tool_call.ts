// Decides tool calls, a batch in one transaction: structure, then policy, then the ledger, then a grant that carries the means.
// Called through the authorize coalescer by dispatch/worker_facts. No record, no grant: both commit together.
// Lock order: leases (so that no grant follows a cancel), ledger rows ascending. The graph is not touched: a denial is settled
// afterwards in the settling transaction, which records the decision together with the task's end.

import { assert } from "../../kit/errors.ts";
import { isJsonObject, type Json, jsonDigest } from "../../kit/json.ts";
import { SECOND } from "../../kit/units.ts";
import { type StoredRecord, workerActor } from "../audit/events.ts";
import { auditRecord, decisionDetail, tokenHash } from "../audit/record.ts";
import { renderMeans } from "../grant/render.ts";
import { structuralDenial } from "../policy/evaluate.ts";
import type { Decision, Requester } from "../policy/types.ts";
import type { JournalRow, ToolCallRow } from "../storage/ledger_queries.ts";
import type { StoreQueries } from "../storage/store.ts";
import type { CallingTask } from "../storage/task_queries.ts";
import type { LiveState } from "./caches.ts";
import type { CompiledTool } from "./compiled_bundle.ts";
import type { CommandContext } from "./context.ts";
import { decideSubject, isNotable } from "./decisions.ts";
import { nextLedgerStep } from "./ledger_step.ts";
import type { Authorized, Grant, ToolCallFact } from "./tool_facts.ts";

/** Time that a grant outlives its tool's timeout, so that a result on its way still counts. */
const GRANT_MARGIN_MS = 10 * SECOND;
/** Largest result that a grant allows, in bytes. */
const RESULT_BYTES_MAX = 1_048_576;
/** How long a worker waits that asks for a tool of a run that is being stopped. */
const STOPPING_RETRY_MS = SECOND;

interface Call {
  readonly fact: ToolCallFact;
  readonly task: CallingTask;
  readonly requestId: string;
  readonly args: Json;
  readonly argumentsDigest: string;
  readonly tool: CompiledTool;
}

interface Batch {
  readonly context: CommandContext;
  readonly live: LiveState;
  readonly revision: string;
  readonly now: Date;
  /** Attempts and deliveries of each held task. */
  readonly begun: ReadonlyMap<string, number>;
  readonly calls: ToolCallRow[];
  readonly journal: JournalRow[];
  readonly audit: StoredRecord[];
}

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
    const held = await tx.tasks.hold(
      facts.map((fact) => ({ task_id: fact.taskId, token: fact.token, session_id: fact.sessionId })),
    );
    const holding = new Set(held.map((lease) => `${lease.task_id} ${lease.token}`));
    const tasks = new Map((await tx.tasks.calling(held.map((lease) => lease.task_id))).map((task) => [task.id, task]));
    const revisions = await tx.bundles.revisions();
    const live = await context.caches.live(tx, revisions.policy);
    const begun = new Map(held.map((lease) => [lease.task_id, lease.attempt + lease.delivery]));
    const writes = { calls: [], journal: [], audit: [] };
    const batch: Batch = { context, live, revision: revisions.policy, now: revisions.now, begun, ...writes };
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

function loseLease(batch: Batch, fact: ToolCallFact): Authorized {
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
  batch: Batch,
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
    return deny(fact, decision, { tool: fact.tool, requestId });
  }
  const args = parseArguments(fact.argumentsJson);
  const problem = args === undefined ? "the arguments are not a JSON object" : tool.input.check(args);
  if (args === undefined || problem !== undefined) {
    return await refuseArguments(tx, batch, { fact, task, requestId, tool }, problem ?? "");
  }
  const call: Call = { fact, task, requestId, args, argumentsDigest: jsonDigest(args), tool };
  const decision = decideSubject({
    checkpoint: "tool.call",
    ...{ live: batch.live, bundle, runId: task.run_id, tags: task.tags, metadata: task.metadata, now: batch.now },
    requester: JSON.parse(task.requester) as Requester,
    agent: task.agent,
    tool,
    args,
  });
  if (!decision.allowed) {
    return deny(fact, decision, { tool: tool.tool.name, requestId, argumentsDigest: call.argumentsDigest });
  }
  return await useLedger(tx, batch, call, decision, ledger);
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
  decision: Decision,
  subject: { tool: string; requestId: string; argumentsDigest?: string },
): Authorized {
  const { taskId, token, sessionId } = fact;
  return {
    answer: { type: "denied", code: decision.reason },
    settle: { type: "denied", taskId, token, sessionId, decision, subject },
  };
}

async function useLedger(
  tx: StoreQueries,
  batch: Batch,
  call: Call,
  decision: Decision,
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
      record(batch, call, { kind: "tool.cached", detail: { ...detail, ...noted(decision) } });
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
      return await grant(tx, batch, call, decision, { attempt: step.attempt, ledger });
  }
}

async function grant(
  tx: StoreQueries,
  batch: Batch,
  call: Call,
  decision: Decision,
  of: { attempt: number; ledger: Map<string, ToolCallRow> },
): Promise<Authorized> {
  const spec = call.tool.tool.spec;
  const rendered = renderMeans(spec, call.args, batch.context.readSecret, { requestId: call.requestId });
  if (!rendered.ok) {
    if (rendered.class === "InvalidArguments") return await refuseArguments(tx, batch, call, rendered.message);
    const { taskId, token, sessionId } = call.fact;
    const failure = { class: rendered.class, message: `tool ${call.tool.tool.name}: ${rendered.message}` };
    return { answer: { type: "failed" }, settle: { type: "fail", taskId, token, sessionId, failure } };
  }
  const grantId = batch.context.ids.next("gra");
  const row: ToolCallRow = {
    request_id: call.requestId,
    namespace: call.task.namespace,
    run_id: call.task.run_id,
    task_id: call.task.id,
    tool: call.tool.tool.name,
    tool_generation: call.tool.tool.generation,
    effect: spec.effect,
    arguments_digest: call.argumentsDigest,
    state: "granted",
    attempt: of.attempt,
    grant_id: grantId,
    grant_token: call.fact.token,
    grant_expire_time: new Date(batch.now.getTime() + spec.timeoutMs + GRANT_MARGIN_MS),
    result: null,
    failure_class: null,
    failure_message: null,
  };
  of.ledger.set(call.requestId, row);
  batch.calls.push(row);
  const detail = {
    ...callDetail(call, of.attempt),
    grantId,
    effect: spec.effect,
    generation: call.tool.tool.generation,
  };
  record(batch, call, { kind: "tool.granted", detail: { ...detail, ...noted(decision) } });
  const made: Grant = {
    grantId,
    requestId: call.requestId,
    timeoutMs: spec.timeoutMs,
    resultBytesMax: Math.min(RESULT_BYTES_MAX, spec.command?.maxOutputBytes ?? RESULT_BYTES_MAX),
    means: rendered.means,
    ...(spec.outputSchema !== undefined && { outputSchemaJson: JSON.stringify(spec.outputSchema) }),
  };
  return { answer: { type: "granted", grant: made } };
}

async function refuseArguments(
  tx: StoreQueries,
  batch: Batch,
  call: Pick<Call, "fact" | "task" | "requestId" | "tool">,
  message: string,
): Promise<Authorized> {
  await journalAnswer(tx, batch, call, {
    kind: "failure",
    failure_class: "InvalidArguments",
    failure_message: message,
  });
  const detail = {
    tool: call.tool.tool.name,
    requestId: call.requestId,
    attempt: call.fact.attempt,
    argumentsDigest: "",
    reason: "invalid_args",
    message,
  };
  record(batch, call, { kind: "tool.refused", detail });
  return { answer: { type: "invalid_arguments", message } };
}

// An answer that the server knows goes into the journal here; asked again after a lost answer, it is there already.
async function journalAnswer(
  tx: StoreQueries,
  batch: Batch,
  call: Pick<Call, "fact" | "task" | "tool">,
  entry: { kind: "result" | "failure"; payload?: string; failure_class?: string; failure_message?: string },
): Promise<void> {
  const at = { task_id: call.task.id, turn_sequence: call.fact.turnSequence, call_index: call.fact.callIndex };
  const [position] = await tx.ledger.positions([at]);
  const written = batch.journal.filter((row) => row.task_id === at.task_id);
  const isWritten = written.some((row) => row.turn_sequence === at.turn_sequence && row.call_index === at.call_index);
  if (position === undefined || position.recorded !== null || isWritten) return;
  batch.journal.push({
    ...at,
    sequence: position.length + written.length + 1,
    kind: entry.kind,
    payload: entry.payload ?? null,
    tool: call.fact.tool,
    failure_class: entry.failure_class ?? null,
    failure_message: entry.failure_message ?? null,
  });
}

function callDetail(call: Call, attempt: number) {
  const { requestId, argumentsDigest } = call;
  return { tool: call.tool.tool.name, requestId, attempt, argumentsDigest };
}

function noted(decision: Decision) {
  return isNotable(decision) ? { decision: decisionDetail(decision) } : {};
}

function record(
  batch: Batch,
  call: Pick<Call, "fact" | "task">,
  event: Pick<Extract<Parameters<typeof auditRecord>[0], { kind: `tool.${string}` }>, "kind" | "detail">,
): void {
  const { namespace, run_id: runId, id: taskId } = call.task;
  const subject = { namespace, runId, taskId, actor: workerActor(call.fact.worker) };
  batch.audit.push(auditRecord({ ...event, ...subject } as Parameters<typeof auditRecord>[0]));
}
