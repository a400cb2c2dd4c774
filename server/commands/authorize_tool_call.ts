// Decides tool calls, a batch in one transaction: structure (is the lease current, did the recorded turn ask for this), then policy, then the ledger, then a grant that carries the means.
// Called through the authorize coalescer by dispatch/worker_facts. No record, no grant: both commit together.
// Lock order: leases (so that no grant follows a cancel), ledger rows ascending. The graph is not touched: a denial is settled
// afterwards in the settling transaction, which records the decision together with the task's end.

import { assert } from "../../kit/errors.ts";
import { isJsonObject, type Json, jsonDigest, parseJson } from "../../kit/json.ts";
import { SECOND } from "../../kit/units.ts";
import { workerActor } from "../audit/events.ts";
import { auditRecord, tokenHash } from "../audit/record.ts";
import { structuralDenial } from "../policy/evaluate.ts";
import type { Decision, PolicyInput, Requester } from "../policy/types.ts";
import { argumentsAsked, isAskedFor, isOfNode } from "../queue/asked_call.ts";
import { nextLedgerStep } from "../queue/ledger.ts";
import { declaredRequestId, placedRequestId } from "../queue/request_id.ts";
import type { ToolCallRow } from "../storage/ledger_queries.ts";
import type { StoreQueries } from "../storage/store.ts";
import type { CallingTask } from "../storage/task_queries.ts";
import type { CompiledBundle, CompiledTool } from "./compiled_bundle.ts";
import type { CommandContext } from "./context.ts";
import { type Decided, decideSubject, noted } from "./decisions.ts";
import { grantTool } from "./grant_tool.ts";
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

/** Of a tool's name in the record of a refused call. */
const TOOL_CHARACTERS_MAX = 256;

/** See the file header. @throws DomainError for database trouble: nothing of the batch happened, no grant left */
export async function authorizeToolCalls(
  context: CommandContext,
  facts: readonly ToolCallFact[],
): Promise<Authorized[]> {
  const { answers, runIds } = await context.store.transaction(async (tx) => {
    const held = await tx.leases.hold(
      facts.map((fact) => ({ task_id: fact.taskId, token: fact.token, session_id: fact.sessionId })),
      true,
    );
    const holding = new Set(held.map((lease) => `${lease.task_id} ${lease.token} ${lease.session_id}`));
    const isHeld = (fact: ToolCallFact) => holding.has(`${fact.taskId} ${fact.token} ${fact.sessionId}`);
    const placed = facts
      .filter(isHeld)
      .map(({ taskId, turnSequence }) => ({ task_id: taskId, turn_sequence: turnSequence }));
    const tasks = new Map((await tx.tasks.calling(placed)).map((task) => [`${task.id} ${task.turn_sequence}`, task]));
    const revisions = await tx.bundles.revisions();
    const live = await context.caches.live(tx, revisions.policy);
    const begun = new Map(held.map((lease) => [lease.task_id, lease.attempt + lease.delivery]));
    const writes = { calls: [], journal: [], audit: [] };
    const batch: ToolBatch = { context, live, revision: revisions.policy, now: revisions.now, begun, ...writes };
    const calls: (IdentifiedCall | undefined)[] = [];
    for (const fact of facts) {
      const task = isHeld(fact) ? tasks.get(`${fact.taskId} ${fact.turnSequence}`) : undefined;
      const asked = task && askedFact(context, task, fact);
      calls.push(task && asked && (await identify(tx, context, asked, task)));
    }
    const ledger = await lockLedger(tx, calls, held);
    const results: Authorized[] = [];
    for (const [index, fact] of facts.entries()) {
      const call = calls[index];
      results.push(call === undefined ? refuse(batch, fact, isHeld(fact)) : await authorize(tx, batch, call, ledger));
    }
    await tx.ledger.putCalls(batch.calls);
    await tx.ledger.append(batch.journal);
    await tx.audit.insert(batch.audit);
    return { answers: results, runIds: [...new Set([...tasks.values()].map((task) => task.run_id))] };
  });
  context.hints.runsChanged(runIds);
  return answers;
}

// Neither a fact without a lease nor a call that the journal does not ask for changes anything: the task is not ended for the lie
// of a worker.
function refuse(batch: ToolBatch, fact: ToolCallFact, isHeld: boolean): Authorized {
  const { taskId, worker, sessionId, tool } = fact;
  const detail = {
    ...{ fact: "tool_call", tokenHash: tokenHash(fact.token), worker, sessionId },
    ...(isHeld && { reason: "not_asked", tool: tool.slice(0, TOOL_CHARACTERS_MAX) }),
  };
  batch.audit.push(auditRecord({ kind: "fact.refused", taskId, actor: workerActor(worker), detail }));
  return { answer: { type: isHeld ? "not_asked" : "lease_lost" } };
}

// A turn that was recorded before this replica knew a secret in it stands as it was, and so does a node's input, while the fact comes
// without it. The call is compared without the secret, and made as recorded: so its digest is the same whenever it is asked again.
function askedFact({ redactor }: CommandContext, task: CallingTask, fact: ToolCallFact): ToolCallFact | undefined {
  const { turn, tool_input: input } = task;
  if (isAskedFor(turn, fact) && isOfNode(input, fact)) return fact;
  if (!isAskedFor(turn && redactor.jsonText(turn), fact)) return undefined;
  if (!isOfNode(input && redactor.jsonText(input), fact)) return undefined;
  return { ...fact, argumentsJson: input ?? argumentsAsked(turn, fact.callIndex) ?? fact.argumentsJson };
}

/** A call of a held task with its identity, or why it has none. */
interface IdentifiedCall {
  readonly fact: ToolCallFact;
  readonly task: CallingTask;
  readonly bundle: CompiledBundle;
  readonly tool: CompiledTool | undefined;
  readonly args: Json | undefined;
  readonly requestId: string;
  /** What is wrong with the arguments, if anything. */
  readonly problem: string | undefined;
}

/** The rows of a batch's calls, locked, and the tokens that hold their tasks. */
interface LockedLedger {
  readonly rows: Map<string, ToolCallRow>;
  readonly living: ReadonlySet<string>;
}

async function identify(
  tx: StoreQueries,
  context: CommandContext,
  fact: ToolCallFact,
  task: CallingTask,
): Promise<IdentifiedCall> {
  const bundle = await context.caches.bundle(tx, task.bundle_digest);
  const tool = bundle.agents.get(task.agent)?.tools.get(fact.tool);
  const requestId = placedRequestId(task.origin_task_id, fact.turnSequence, fact.callIndex);
  const args = parseArguments(fact.argumentsJson);
  const problem = args === undefined ? "the arguments are not a JSON object" : tool?.input.check(args);
  const call = { fact, task, bundle, tool, args, requestId, problem };
  if (tool?.key === undefined || args === undefined || problem !== undefined) return call;
  const key = tool.key.evaluate({ args });
  const { namespace, name } = tool.tool;
  const declared = key.ok
    ? declaredRequestId(namespace, name, key.value)
    : ({ ok: false, error: `idempotency.key: ${key.error}` } as const);
  return declared.ok ? { ...call, requestId: declared.value } : { ...call, problem: declared.error };
}

async function lockLedger(
  tx: StoreQueries,
  calls: readonly (IdentifiedCall | undefined)[],
  held: readonly { readonly token: string }[],
): Promise<LockedLedger> {
  const ids = [...new Set(calls.flatMap((call) => (call === undefined ? [] : [call.requestId])))].sort();
  await tx.ledger.lockKeys(ids.filter((id) => id.startsWith("key:")));
  const rows = await tx.ledger.lockCalls(ids);
  const own = new Set(held.map((lease) => lease.token));
  const others = rows.filter((row) => row.state === "granted" && !own.has(row.grant_token));
  const living = await tx.ledger.livingTokens(others.map((row) => ({ task_id: row.task_id, token: row.grant_token })));
  return { rows: new Map(rows.map((row) => [row.request_id, row])), living: new Set([...living, ...own]) };
}

async function authorize(
  tx: StoreQueries,
  batch: ToolBatch,
  { fact, task, bundle, tool, args, requestId, problem }: IdentifiedCall,
  ledger: LockedLedger,
): Promise<Authorized> {
  if (task.run_state !== "RUNNING") return { answer: { type: "retry_after", delayMs: STOPPING_RETRY_MS } };
  if (tool === undefined) {
    const decision = structuralDenial("undeclared", {
      checkpoint: "tool.call",
      policyRevision: batch.revision,
      nowMs: batch.now.getTime(),
    });
    return deny(fact, { decision }, { tool: fact.tool, requestId });
  }
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
    const value = parseJson(text);
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
  ledger: LockedLedger,
): Promise<Authorized> {
  const row = ledger.rows.get(call.requestId);
  const { taskId, token, sessionId } = call.fact;
  const presented = { taskId, token, sessionId };
  const step = nextLedgerStep(row, {
    token,
    toolName: call.tool.tool.name,
    argumentsDigest: call.argumentsDigest,
    originTaskId: call.task.origin_task_id,
    begun: batch.begun.get(taskId) ?? 1,
    tool: call.tool.tool.spec,
    holderLives: row !== undefined && ledger.living.has(row.grant_token),
    nowMs: batch.now.getTime(),
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
    case "in_flight":
      return { answer: { type: "retry_after", delayMs: step.delayMs } };
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
      return await grantTool(tx, batch, call, decided, { ...step, ledger: ledger.rows });
  }
}
