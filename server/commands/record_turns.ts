// Records model turns in the journal, a batch in one transaction: before any tool of a turn runs.
// Called through the turn coalescer by dispatch/worker_facts. Idempotent by (task, sequence): a resent turn is `duplicate`.

import { DomainError } from "../../kit/errors.ts";
import { isJsonObject, sha256 } from "../../kit/json.ts";
import { type StoredRecord, workerActor } from "../audit/events.ts";
import { auditRecord, tokenHash } from "../audit/record.ts";
import { fence } from "../queue/fence.ts";
import { judgeOtherTurn, takesNextEntry } from "../queue/journal.ts";
import { Lastly } from "../storage/lastly.ts";
import type { JournalRow } from "../storage/ledger_queries.ts";
import type { CommandContext } from "./context.ts";
import type { Presented, SettleVerdict } from "./settle_items.ts";

/** One model response. */
export interface TurnFact extends Presented {
  /** Journal sequence that it takes, from 1. */
  readonly sequence: number;
  /** Canonical JSON: {text, toolCalls: [{name, arguments}], usage?: {inputTokens, outputTokens}}. */
  readonly turnJson: string;
  readonly worker: string;
}

/** Times that a batch is recorded anew because a journal had grown when its lease was had at last. */
const TRIES_MAX = 3;

/** See the file header. @throws DomainError for database trouble: nothing of the batch happened */
export async function recordTurns(context: CommandContext, facts: readonly TurnFact[]): Promise<SettleVerdict[]> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await record(context, facts);
    } catch (error) {
      const grew = error instanceof DomainError && error.metadata["constraint"] === "journal_pkey";
      if (!grew || tries === TRIES_MAX) throw error;
    }
  }
}

async function record(context: CommandContext, facts: readonly TurnFact[]): Promise<SettleVerdict[]> {
  const changed = new Set<string>();
  const verdicts = await context.store.transaction(async (tx) => {
    const taskIds = [...new Set(facts.map((fact) => fact.taskId))];
    // The leases first: of a task that somebody else holds, what is read after it is not used.
    const [held, found, positions] = await Promise.all([
      tx.leases.hold(facts.map((fact) => ({ task_id: fact.taskId, token: fact.token, session_id: fact.sessionId }))),
      tx.tasks.byId(taskIds),
      tx.ledger.positions(taskIds.map((task_id) => ({ task_id, turn_sequence: 0, call_index: 0 }))),
      tx.identify(),
    ]);
    const leases = new Map(held.map((lease) => [lease.task_id, lease]));
    const leaseOf = (fact: TurnFact) => {
      const lease = leases.get(fact.taskId);
      const holder = lease && { token: lease.token, sessionId: lease.session_id };
      return fence({ lease: holder }, fact) === "held" ? lease : undefined;
    };
    const current = facts.filter((fact) => leaseOf(fact) !== undefined);
    const tasks = new Map(found.map((task) => [task.id, task]));
    const lengths = new Map(positions.map((row) => [row.task_id, row.length]));
    const next = inOrder(current, lengths);
    const clashing = current.filter((fact) => !next.has(fact));
    const rows = [...next].map(journalRow);
    // What a fact clashes with is on record, or comes in with it.
    const stored = [...rows, ...(await tx.ledger.journal(clashing.map((fact) => fact.taskId)))];
    const audit: StoredRecord[] = [];
    const results: SettleVerdict[] = [];
    for (const fact of facts) {
      const lease = leaseOf(fact);
      const subject = {
        namespace: tasks.get(fact.taskId)?.namespace ?? "",
        taskId: fact.taskId,
        actor: workerActor(fact.worker),
      };
      if (lease === undefined) {
        audit.push(refusedTurn(fact, subject));
        results.push({ verdict: "lease_lost" });
      } else if (next.has(fact)) {
        changed.add(lease.run_id);
        const detail = {
          sequence: fact.sequence,
          turnDigest: sha256(fact.turnJson),
          toolCalls: callsIn(fact.turnJson),
          worker: fact.worker,
        };
        audit.push(auditRecord({ kind: "turn.recorded", ...subject, runId: lease.run_id, detail }));
        results.push({ verdict: "committed" });
      } else {
        const row = stored.find((entry) => entry.task_id === fact.taskId && entry.sequence === fact.sequence);
        // What was recorded before a secret in it was known is told again without it.
        const told = row && { ...row, payload: row.payload && context.redactor.jsonText(row.payload) };
        const judged = judgeOtherTurn(told, fact.turnJson);
        const error =
          judged === "gap"
            ? `journal entry ${fact.sequence} would leave a gap; the next one is ${(lengths.get(fact.taskId) ?? 0) + 1}`
            : `journal entry ${fact.sequence} is already there with other content`;
        if (judged !== "duplicate") audit.push(refusedTurn(fact, { ...subject, runId: lease.run_id }, judged));
        results.push(judged === "duplicate" ? { verdict: "duplicate" } : { verdict: "refused", error });
      }
    }
    return new Lastly(results, [
      tx.ledger.appendNext(rows),
      tx.tasks.forgetLosses(lossesOvercome(next, tasks)),
      tx.audit.insert(audit),
    ]);
  });
  context.hints.runsChanged([...changed]);
  return verdicts;
}

function refusedTurn(
  { token, worker, sessionId }: TurnFact,
  subject: { namespace: string; taskId: string; runId?: string; actor: string },
  reason?: string,
): StoredRecord {
  const detail = {
    fact: "turn",
    tokenHash: tokenHash(token),
    worker,
    sessionId,
    ...(reason !== undefined && { reason }),
  };
  return auditRecord({ kind: "fact.refused", ...subject, detail });
}

// A task that gets on is no poison task, however many workers it has lost: a new turn is progress.
function lossesOvercome(
  recorded: ReadonlySet<TurnFact>,
  tasks: ReadonlyMap<string, { readonly deliveries: number }>,
): string[] {
  const ids = new Set([...recorded].map((fact) => fact.taskId));
  return [...ids].filter((id) => (tasks.get(id)?.deliveries ?? 0) > 0);
}

// A journal has no gaps: the turns that take the next entry of their task, in the order of the batch.
function inOrder(facts: readonly TurnFact[], lengths: Map<string, number>): Set<TurnFact> {
  const next = new Set<TurnFact>();
  for (const fact of facts) {
    if (!takesNextEntry(fact.sequence, lengths.get(fact.taskId) ?? 0)) continue;
    lengths.set(fact.taskId, fact.sequence);
    next.add(fact);
  }
  return next;
}

function journalRow(fact: TurnFact): JournalRow {
  return {
    task_id: fact.taskId,
    sequence: fact.sequence,
    kind: "turn",
    payload: fact.turnJson,
    turn_sequence: null,
    call_index: null,
    tool: null,
    failure_class: null,
    failure_message: null,
  };
}

function callsIn(turnJson: string): number {
  const turn: unknown = JSON.parse(turnJson);
  return isJsonObject(turn) && Array.isArray(turn["toolCalls"]) ? turn["toolCalls"].length : 0;
}
