// Records how granted attempts ended: ledger and journal in one transaction, a batch at a time.
// Called through the tool-result coalescer by dispatch/worker_facts. Fenced by the grant id and the lease token that it was given to, though
// that may be void by now: a late true result reaches the ledger, never the journal of somebody else's attempt, and nobody answers a
// grant that he was not given. Idempotent: a resent result is `duplicate`.

import { sha256 } from "../../kit/json.ts";
import { type StoredRecord, type ToolEnd, workerActor } from "../audit/events.ts";
import { auditRecord, tokenHash } from "../audit/record.ts";
import { type AnsweredRow, isSameAnswer, needsPerson, type ToolAnswerFact } from "../queue/tool_answer.ts";
import { Lastly } from "../storage/lastly.ts";
import type { JournalRow } from "../storage/ledger_queries.ts";
import type { StoreQueries } from "../storage/store.ts";
import type { CommandContext } from "./context.ts";
import { boundedFailure, type SettleItem, type SettleVerdict } from "./settle_items.ts";
import type { ToolResultFact } from "./tool_facts.ts";

/** A verdict, and what must be settled before it is given. */
export interface RecordedResult {
  readonly verdict: SettleVerdict;
  readonly settle?: SettleItem;
}

type Answered = Awaited<ReturnType<StoreQueries["ledger"]["answer"]>>[number];

/** See the file header. @throws DomainError for database trouble: nothing of the batch happened */
export async function recordToolResults(
  context: CommandContext,
  facts: readonly ToolResultFact[],
): Promise<RecordedResult[]> {
  const { results, runIds } = await context.store.transaction(async (tx) => {
    const firsts = firstOfEachGrant(facts);
    const [held, rows] = await Promise.all([
      tx.leases.hold(facts.map((fact) => ({ task_id: fact.taskId, token: fact.token, session_id: fact.sessionId }))),
      tx.ledger.answer([...firsts].map(grantAnswer)),
      tx.identify(),
    ]);
    const holding = new Set(held.map((lease) => `${lease.task_id} ${lease.token}`));
    const answered = new Map(rows.map((row) => [row.grant_id, row]));
    const answers = (fact: ToolResultFact, row = answered.get(fact.grantId)) =>
      firsts.has(fact) && isGrantee(fact, row) && row?.session_id === fact.sessionId;
    const missed = facts.filter((fact) => !answers(fact));
    const known = new Map(
      (await tx.ledger.byGrants(missed.map((fact) => fact.grantId))).map((row) => [row.grant_id, row]),
    );
    const journal: JournalRow[] = [];
    const audit: StoredRecord[] = [];
    const recorded: RecordedResult[] = [];
    for (const fact of facts) {
      const row = answered.get(fact.grantId);
      if (row === undefined || !answers(fact)) {
        recorded.push(repeatOrRefuse(context, fact, known.get(fact.grantId), audit));
        continue;
      }
      const holds = holding.has(`${fact.taskId} ${fact.token}`);
      if (holds && fact.journalSequence > 0) journal.push(journalRow(fact, row));
      audit.push(resultRecord(fact, row, holds));
      recorded.push(await judge(tx, context, fact, row, holds));
    }
    const runIds = [...new Set([...answered.values()].map((row) => row.run_id))];
    return new Lastly({ results: recorded, runIds }, [tx.ledger.appendResults(journal), tx.audit.insert(audit)]);
  });
  context.hints.runsChanged(runIds);
  return results;
}

// Of whom is this grant: the task and the token that it was given to.
function isGrantee(fact: ToolResultFact, row: { task_id: string; grant_token: string } | undefined): boolean {
  return row?.task_id === fact.taskId && row.grant_token === fact.token;
}

function grantAnswer(fact: ToolResultFact) {
  const { grantId: grant_id, taskId: task_id, token: grant_token, sessionId: session_id, result } = fact;
  if (result.ok)
    return {
      ...{ grant_id, task_id, grant_token, session_id, state: "done" as const, result: result.resultJson, known: true },
      ...{ failure_class: null, failure_message: null },
    };
  const failure = boundedFailure(result);
  return {
    grant_id,
    task_id,
    grant_token,
    session_id,
    state: "failed" as const,
    result: null,
    failure_class: failure.class,
    failure_message: failure.message,
    known: !result.ambiguous,
  };
}

// A grant takes one answer; a second one in the same batch is judged like a resent one.
function firstOfEachGrant(facts: readonly ToolResultFact[]): Set<ToolResultFact> {
  return new Set(
    new Map(
      facts.toReversed().map((fact) => [`${fact.grantId} ${fact.taskId} ${fact.token} ${fact.sessionId}`, fact]),
    ).values(),
  );
}

function answerOf({ result }: ToolResultFact): ToolAnswerFact {
  return result.ok
    ? { result: result.resultJson, known: true }
    : { failureClass: boundedFailure(result).class, known: !result.ambiguous };
}

function repeatOrRefuse(
  { redactor }: CommandContext,
  fact: ToolResultFact,
  row: (AnsweredRow & { task_id: string; grant_token: string }) | undefined,
  audit: StoredRecord[],
): RecordedResult {
  // What was recorded before a secret in it was known is told again without it.
  const told = row && { ...row, result: row.result && redactor.jsonText(row.result) };
  if (told !== undefined && isGrantee(fact, told) && isSameAnswer(told, answerOf(fact)))
    return { verdict: { verdict: "duplicate" } };
  const detail = {
    fact: "tool_result",
    tokenHash: tokenHash(fact.token),
    worker: fact.worker,
    sessionId: fact.sessionId,
  };
  audit.push(auditRecord({ kind: "fact.refused", taskId: fact.taskId, actor: workerActor(fact.worker), detail }));
  return { verdict: { verdict: "refused", error: `grant ${fact.grantId} is not open for this task` } };
}

// A write that may have happened, at an endpoint that honours no key, is for a person to judge; also when the task has moved on,
// for its next holder would send it again.
async function judge(
  tx: StoreQueries,
  context: CommandContext,
  fact: ToolResultFact,
  row: Answered,
  holds: boolean,
): Promise<RecordedResult> {
  const committed: RecordedResult = { verdict: { verdict: holds ? "committed" : "lease_lost" } };
  const answer = answerOf(fact);
  if (answer.known) return committed;
  const [task] = await tx.tasks.calling([{ task_id: fact.taskId, turn_sequence: 0 }]);
  if (task === undefined) return committed;
  const bundle = await context.caches.bundle(tx, task.bundle_digest);
  const spec = [...(bundle.agents.get(task.agent)?.tools.values() ?? [])].find((tool) => tool.tool.name === row.tool)
    ?.tool.spec;
  if (spec === undefined || !needsPerson(answer, spec)) return committed;
  await tx.ledger.markUnknown(fact.grantId);
  if (!holds || task.run_state !== "RUNNING") return committed;
  const message = `${row.tool} failed with ${answer.failureClass} after the request was sent (request ${row.request_id}); a person has to decide`;
  const { taskId, token, sessionId } = fact;
  return {
    verdict: { verdict: "lease_lost" },
    settle: { type: "park", taskId, token, sessionId, failure: { class: "UnknownOutcome", message } },
  };
}

function journalRow(fact: ToolResultFact, row: Answered): JournalRow {
  const { result } = fact;
  const failure = result.ok ? undefined : boundedFailure(result);
  return {
    task_id: fact.taskId,
    sequence: fact.journalSequence,
    kind: result.ok ? "result" : "failure",
    payload: result.ok ? result.resultJson : null,
    turn_sequence: row.turn_sequence,
    call_index: row.call_index,
    tool: row.tool,
    failure_class: failure?.class ?? null,
    failure_message: failure?.message ?? null,
  };
}

function resultRecord(fact: ToolResultFact, row: Answered, holds: boolean): StoredRecord {
  const { result } = fact;
  const end: ToolEnd = result.ok
    ? { ok: true, resultDigest: sha256(result.resultJson) }
    : { ok: false, failure: boundedFailure(result), final: fact.journalSequence > 0 };
  const detail = {
    ...{
      tool: row.tool,
      requestId: row.request_id,
      attempt: row.attempt,
      argumentsDigest: row.arguments_digest,
      grantId: fact.grantId,
    },
    ...{ durationMs: fact.durationMs, ...end },
  };
  const subject = { namespace: row.namespace, runId: row.run_id, taskId: row.task_id, actor: workerActor(fact.worker) };
  return auditRecord({ kind: holds ? "tool.result" : "tool.late_result", ...subject, detail });
}
