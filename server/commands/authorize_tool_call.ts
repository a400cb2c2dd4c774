// Decides tool calls, a batch in one transaction: structure (is the lease current, did the recorded turn ask for this), then policy, then the ledger, then a grant that carries the means.
// Called through the authorize coalescer by dispatch/worker_facts. No record, no grant: both commit together.
// Lock order: leases (so that no grant follows a cancel), ledger rows, tools that are limited, counters of limits. The graph is not touched: a denial is settled
// afterwards in the settling transaction, which records the decision together with the task's end.

import { jsonDigest } from "../../kit/json.ts";
import { SECOND } from "../../kit/units.ts";
import { workerActor } from "../audit/events.ts";
import { auditRecord, tokenHash } from "../audit/record.ts";
import { structuralDenial } from "../policy/evaluate.ts";
import type { Decision, Requester } from "../policy/types.ts";
import { isFirstGrant } from "../queue/ledger.ts";
import { Lastly } from "../storage/lastly.ts";
import type { StoreQueries } from "../storage/store.ts";
import type { LimitedTool } from "../storage/tool_turn_queries.ts";
import type { CompiledTool } from "./compiled_bundle.ts";
import type { CommandContext } from "./context.ts";
import { decideLive, type Moment } from "./decide_live.ts";
import { type Decided, decideSubject } from "./decisions.ts";
import { askedFact, type IdentifiedCall, identify, type LockedLedger, lockLedger } from "./identify_calls.ts";
import { refuseArguments, type SoundCall, type ToolBatch } from "./tool_batch.ts";
import type { Authorized, ToolCallFact } from "./tool_facts.ts";
import { ToolTurns } from "./tool_turns.ts";
import { deny, subjectOf, useLedger } from "./use_ledger.ts";

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
    // The leases first: of a task that somebody else holds, what is read after it is not used.
    const [held, called] = await Promise.all([
      tx.leases.hold(
        facts.map((fact) => ({ task_id: fact.taskId, token: fact.token, session_id: fact.sessionId })),
        true,
      ),
      tx.tasks.calling(facts.map(({ taskId, turnSequence }) => ({ task_id: taskId, turn_sequence: turnSequence }))),
      tx.identify(),
    ]);
    const leases = new Map(held.map((lease) => [`${lease.task_id} ${lease.token} ${lease.session_id}`, lease]));
    const leaseOf = (fact: ToolCallFact) => leases.get(`${fact.taskId} ${fact.token} ${fact.sessionId}`);
    const tasks = new Map(called.map((task) => [`${task.id} ${task.turn_sequence}`, task]));
    const begun = new Map(held.map((lease) => [lease.task_id, lease.attempt + lease.delivery]));
    const calls: (IdentifiedCall | undefined)[] = [];
    for (const fact of facts) {
      const lease = leaseOf(fact);
      const task = lease && tasks.get(`${fact.taskId} ${fact.turnSequence}`);
      const asked = task && askedFact(context, task, fact);
      calls.push(task && asked && (await identify(tx, context, asked, { task, withheld: lease.withheld })));
    }
    const ledger = await lockLedger(tx, calls, held);
    const turns = new ToolTurns();
    const { judged, limits, moment } = await decideLive(
      tx,
      context,
      (now) => calls.map((call) => call && judge(now, call)),
      (all) => mayCount(all, ledger),
      async (all) => {
        await turns.lock(tx, limitedTools(all));
        // Policies do not change while this transaction shares their gate.
        return false;
      },
      ledger.revisions,
    );
    const batch: ToolBatch = { context, now: moment.now, begun, limits, turns, calls: [], journal: [], audit: [] };
    const results: Authorized[] = [];
    for (const [index, fact] of facts.entries()) {
      const one = judged[index];
      const isHeld = leaseOf(fact) !== undefined;
      results.push(one === undefined ? refuse(batch, fact, isHeld) : await authorize(tx, batch, one, ledger));
    }
    await limits.giveBack(tx);
    await turns.write(tx);
    const runIds = [...new Set(held.map((lease) => lease.run_id))];
    return new Lastly({ answers: results, runIds }, [
      tx.ledger.putCalls(batch.calls),
      tx.ledger.append(batch.journal),
      tx.audit.insert(batch.audit),
    ]);
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

/** A call, and what structure and policies say of it. */
type Judged = { readonly identified: IdentifiedCall } & (
  | { readonly type: "stopping" }
  | { readonly type: "undeclared"; readonly decision: Decision }
  | { readonly type: "unsound"; readonly tool: CompiledTool; readonly problem: string }
  | { readonly type: "decided"; readonly call: SoundCall; readonly decided: Decided }
);

function judge({ live, policy, now }: Moment, identified: IdentifiedCall): Judged {
  const { fact, task, bundle, tool, args, requestId, problem } = identified;
  if (task.run_state !== "RUNNING") return { identified, type: "stopping" };
  if (tool === undefined) {
    const of = { checkpoint: "tool.call", policyRevision: policy, nowMs: now.getTime() } as const;
    return { identified, type: "undeclared", decision: structuralDenial("undeclared", of) };
  }
  if (args === undefined || problem !== undefined) return { identified, type: "unsound", tool, problem: problem ?? "" };
  const decided = decideSubject({
    checkpoint: "tool.call",
    ...{ live, bundle, runId: task.run_id, tags: task.tags, metadata: task.metadata, now },
    requester: JSON.parse(task.requester) as Requester,
    agent: task.agent,
    tool,
    args,
  });
  const { namespace, name } = tool.tool;
  const max = live.toolConcurrency(namespace, name);
  const limited = max === undefined ? {} : { limited: { tool: `${namespace}/${name}`, max } };
  const call = { fact, task, requestId, args, argumentsDigest: jsonDigest(args), tool, ...limited };
  return { identified, type: "decided", call, decided };
}

// Decisions that limits may have to count: those of calls that were never granted.
function mayCount(judged: readonly (Judged | undefined)[], { rows }: LockedLedger): Decision[] {
  return judged.flatMap((one) => {
    if (one?.type !== "decided" || !one.decided.decision.allowed) return [];
    const { requestId, task } = one.call;
    return isFirstGrant(rows.get(requestId), task.origin_task_id) ? [one.decided.decision] : [];
  });
}

function limitedTools(judged: readonly (Judged | undefined)[]): LimitedTool[] {
  return judged.flatMap((one) =>
    one?.type === "decided" && one.decided.decision.allowed ? (one.call.limited ?? []) : [],
  );
}

async function authorize(
  tx: StoreQueries,
  batch: ToolBatch,
  judged: Judged,
  ledger: LockedLedger,
): Promise<Authorized> {
  const { fact, requestId } = judged.identified;
  switch (judged.type) {
    case "stopping":
      return { answer: { type: "retry_after", delayMs: STOPPING_RETRY_MS } };
    case "undeclared":
      return deny(fact, { decision: judged.decision }, { tool: fact.tool, requestId });
    case "unsound": {
      const { tool, problem, identified } = judged;
      return await refuseArguments(tx, batch, { fact, task: identified.task, requestId, tool }, problem);
    }
    case "decided": {
      const { call, decided } = judged;
      return decided.decision.allowed
        ? await useLedger(tx, batch, call, decided, ledger)
        : deny(fact, decided, subjectOf(call));
    }
  }
}
