// The control plane in memory: each operation is the thin mirror of one command, and one transaction.
// Called by the simulated replicas (driver.ts). Decisions are the product's: queue/, graph/ and the ledger's step.

import { isAskedFor } from "../../server/queue/asked_call.ts";
import { fence } from "../../server/queue/fence.ts";
import { judgeOtherTurn, takesNextEntry } from "../../server/queue/journal.ts";
import { nextLedgerStep } from "../../server/queue/ledger.ts";
import { matchTasks } from "../../server/queue/match.ts";
import { isSameAnswer, needsPerson, takesAnswer } from "../../server/queue/tool_answer.ts";
import { RUN_TIMEOUT_MS, TOOLS, TTL_MS } from "./flows.ts";
import { find, heldLease, hold } from "./holding.ts";
import type {
  Answer,
  Assigned,
  CallFact,
  Fault,
  Item,
  Op,
  Presented,
  Result,
  ResultFact,
  TaskRow,
  TurnFact,
} from "./rows.ts";
import { settle, startRun } from "./settling.ts";
import type { Tables } from "./tables.ts";
import { turnText } from "./turn_text.ts";

/** Runs an operation as one transaction; undefined when it never commits. */
export function perform(tables: Tables, op: Op, replica: number, fault: Fault): Result | undefined {
  tables.records = [];
  // Two transactions are never at the same time.
  tables.nowMs += 1;
  if (fault === "abort") return undefined;
  return run(tables, op, replica);
}

function run(tables: Tables, op: Op, replica: number): Result {
  switch (op.op) {
    case "invoke":
      return leasingNew(tables, op.seat, () => invoke(tables, op.flow, op.key));
    case "open":
      return open(tables, op, replica);
    case "renew":
      return renew(tables, op);
    case "accept": {
      const lease = tables.leases.get(op.task);
      if (lease?.token === op.token) lease.accepted = true;
      return {};
    }
    case "claim":
      return claim(tables, op.session, op.free);
    case "turns":
      return { verdicts: turns(tables, op.facts) };
    case "calls":
      return calls(tables, op.facts);
    case "results":
      return results(tables, op.facts);
    case "settle":
      return leasingNew(tables, op.seat, () => ({ verdicts: settle(tables, op.items) }));
    case "find":
      return { found: find(tables) };
    case "mark_lost":
      for (const id of op.sessions) {
        const session = tables.sessions.get(id);
        if (session === undefined || session.expireMs >= tables.nowMs) continue;
        if (session.state !== "active" && session.state !== "draining") continue;
        session.state = "lost";
        tables.record("worker.lost", id);
      }
      return {};
    case "drain":
    case "close": {
      const session = tables.sessions.get(op.session);
      if (session?.state === "active" || session?.state === "draining") {
        session.state = op.op === "drain" ? "draining" : "closed";
      }
      return {};
    }
    case "time":
      tables.nowMs += op.ms;
      return {};
    case "policy":
      tables.denied = op.denied;
      return {};
  }
}

function invoke(tables: Tables, flow: number, key: string): Result {
  const first = key === "" ? undefined : tables.keys.get(key);
  if (first !== undefined) return first.flow === flow ? { run: first.id } : { verdicts: ["IDEMPOTENCY_CONFLICT"] };
  const made = tables.newRun(flow, key, tables.nowMs + RUN_TIMEOUT_MS);
  startRun(tables, made);
  // The start is part of the record of the run.
  tables.records = [{ kind: "run.created", of: made.id }];
  return { run: made.id };
}

// What steps of the graph make goes to the session at once, unless something else is queued with it, or it may not leave.
function leasingNew(tables: Tables, seat: string | undefined, work: () => Result): Result {
  const before = new Set(tables.tasks.keys());
  const result = work();
  const queued = [...tables.ready.values()].map(({ task }) => task);
  const made = queued.filter((task) => !before.has(task.id) && task.replayOf === "");
  if (seat === undefined || tables.denied === "agent" || made.length < queued.length) return result;
  return { ...result, assigned: made.map((task) => ({ ...lease(tables, task, seat), journal: [] })) };
}

function lease(tables: Tables, task: TaskRow, sessionId: string): Presented {
  const token = tables.id("k");
  const { attempt, deliveries: delivery } = task;
  tables.ready.delete(task.id);
  tables.leases.set(task.id, { task, token, sessionId, attempt, delivery, claimMs: tables.nowMs, accepted: false });
  tables.claimed.add(task.id);
  if (tables.denied !== "agent") tables.record("task.leased", task.id);
  return { task: task.id, token, session: sessionId };
}

function open(tables: Tables, op: Extract<Op, { op: "open" }>, replica: number): Result {
  const { session: id, instance, resume } = op;
  const known = tables.sessions.get(resume);
  const expireMs = tables.nowMs + TTL_MS;
  if (known !== undefined && known.state !== "closed" && known.instance === instance) {
    // What an operator asked for outlives a reconnect.
    const state = known.state === "draining" ? "draining" : "active";
    Object.assign(known, { epoch: known.epoch + 1, replica, state, expireMs });
    return { session: resume, epoch: known.epoch };
  }
  tables.sessions.set(id, { id, instance, epoch: 1, replica, state: "active", expireMs });
  return { session: id, epoch: 1 };
}

function renew(tables: Tables, op: Extract<Op, { op: "renew" }>): Result {
  const session = tables.sessions.get(op.session);
  const alive = session?.epoch === op.epoch && (session.state === "active" || session.state === "draining");
  if (alive) session.expireMs = tables.nowMs + TTL_MS;
  const still = op.held.flatMap(({ task, token }) => {
    const holders = { lease: tables.leases.get(task), late: tables.ready.get(task)?.late };
    const holds = fence(holders, { token, sessionId: op.session }) !== "lost";
    return holds ? [{ token, stopping: tables.task(task).run.graph.run === "CANCELLING" }] : [];
  });
  return { alive, still };
}

function claim(tables: Tables, session: string, free: number): Result {
  const queue = [...tables.ready.values()].sort(
    (a, b) => a.task.claimOrder - b.task.claimOrder || Number(a.task.id.slice(1)) - Number(b.task.id.slice(1)),
  );
  const offered = queue.slice(0, free).map(({ task }) => ({ taskId: task.id, route: "model" }));
  const matches = matchTasks(offered, [{ sessionId: session, free, routes: new Set(["model"]) }]);
  const assigned: Assigned[] = [];
  const settleLater: Item[] = [];
  for (const { taskId, sessionId } of matches) {
    const journal = tables.claimed.has(taskId) ? [...tables.journal(taskId)] : [];
    const leased = lease(tables, tables.task(taskId), sessionId);
    if (tables.denied === "agent") settleLater.push({ type: "denied", ...leased });
    else assigned.push({ ...leased, journal });
  }
  return { assigned, settle: settleLater };
}

function turns(tables: Tables, facts: readonly TurnFact[]): string[] {
  hold(tables, facts);
  return facts.map((fact) => {
    if (heldLease(tables, fact) === undefined) {
      tables.record("fact.refused", fact.task);
      return "lease_lost";
    }
    const journal = tables.journal(fact.task);
    if (takesNextEntry(fact.sequence, journal.length)) {
      journal.push({ kind: "turn", turn: fact.body });
      tables.task(fact.task).deliveries = 0;
      tables.record("turn.recorded", fact.task);
      return "committed";
    }
    const there = journal[fact.sequence - 1];
    const recorded = there && { kind: there.kind, payload: there.turn === undefined ? null : `${there.turn.nonce}` };
    if (judgeOtherTurn(recorded, `${fact.body.nonce}`) === "duplicate") return "duplicate";
    tables.record("fact.refused", fact.task);
    return "refused";
  });
}

function calls(tables: Tables, facts: readonly CallFact[]): Result {
  hold(tables, facts);
  const settleLater: Item[] = [];
  const answers = facts.map((fact): Answer => {
    const lease = heldLease(tables, fact);
    if (lease === undefined) {
      tables.record("fact.refused", fact.task);
      return { type: "lease_lost" };
    }
    const asked = tables.journal(fact.task)[fact.turnSequence - 1]?.turn;
    const call = { callIndex: 0, tool: fact.tool, argumentsJson: JSON.stringify({ n: fact.arg }) };
    if (!isAskedFor(asked === undefined ? null : turnText(asked), call)) {
      tables.record("fact.refused", fact.task);
      return { type: "not_asked" };
    }
    const presented = { task: fact.task, token: fact.token, session: fact.session };
    if (lease.task.run.graph.run !== "RUNNING") return { type: "retry_after" };
    if (tables.denied === "tool") {
      settleLater.push({ type: "denied", ...presented });
      return { type: "denied" };
    }
    return useLedger(tables, fact, lease.attempt + lease.delivery, settleLater);
  });
  return { answers, settle: settleLater };
}

function useLedger(tables: Tables, fact: CallFact, begun: number, settleLater: Item[]): Answer {
  const requestId = `${tables.task(fact.task).origin}/${fact.turnSequence}/0`;
  const row = tables.ledger.get(requestId);
  const tool = TOOLS[fact.tool] as (typeof TOOLS)[string];
  const digest = `${fact.tool}(${fact.arg})`;
  // Calls are named by their place in one lineage: whoever asks is its only living holder.
  const placed = { grant_expire_time: new Date(tables.nowMs), origin_task_id: null, expire_time: null };
  const step = nextLedgerStep(row && { ...row, ...placed }, {
    ...{
      token: fact.token,
      toolName: fact.tool,
      argumentsDigest: digest,
      originTaskId: tables.task(fact.task).origin,
      begun,
      tool,
    },
    ...{ holderLives: false, nowMs: tables.nowMs },
  });
  const presented = { task: fact.task, token: fact.token, session: fact.session };
  switch (step.type) {
    case "cached": {
      const journal = tables.journal(fact.task);
      const isThere = journal.some((entry) => entry.turnSequence === fact.turnSequence);
      if (!isThere) journal.push({ kind: "result", turnSequence: fact.turnSequence, result: step.result });
      tables.record("tool.cached", fact.task);
      return { type: "cached", result: step.result };
    }
    case "in_flight":
      throw new Error("a lineage has one living holder");
    case "conflict":
      settleLater.push({ type: "fail", ...presented, class: "IdempotencyConflict" });
      return { type: "conflict" };
    case "exhausted":
      settleLater.push({ type: "fail", ...presented, class: "ToolAttemptsExhausted" });
      return { type: "failed" };
    case "unknown":
      if (row !== undefined) row.state = "unknown";
      settleLater.push({ type: "park", ...presented, class: "UnknownOutcome" });
      return { type: "unknown_outcome" };
    case "grant": {
      const grant = step.grantId ?? tables.id("g");
      tables.ledger.set(requestId, {
        ...{ request_id: requestId, task: tables.task(fact.task), tool: fact.tool, arguments_digest: digest },
        ...{
          state: "granted",
          attempt: step.attempt,
          grant_id: grant,
          grant_token: fact.token,
          result: null,
          failure: null,
        },
      });
      tables.record("tool.granted", fact.task);
      return { type: "granted", grant, request: requestId };
    }
  }
}

function results(tables: Tables, facts: readonly ResultFact[]): Result {
  hold(tables, facts);
  const settleLater: Item[] = [];
  const verdicts = facts.map((fact) => {
    const holds = heldLease(tables, fact) !== undefined;
    const row = [...tables.ledger.values()].find(
      (call) => call.grant_id === fact.grant && call.task.id === fact.task && call.grant_token === fact.token,
    );
    const answer = fact.ok
      ? { result: fact.value, known: true }
      : { failureClass: failureOf(fact), known: !fact.ambiguous };
    if (row === undefined || !takesAnswer(row, answer)) {
      if (row !== undefined && isSameAnswer({ ...row, failure_class: row.failure }, answer)) return "duplicate";
      tables.record("fact.refused", fact.task);
      return "refused";
    }
    row.state = fact.ok ? "done" : "failed";
    row.result = fact.ok ? fact.value : null;
    row.failure = fact.ok ? null : failureOf(fact);
    const journal = tables.journal(fact.task);
    if (holds && fact.sequence === journal.length + 1) {
      const turnSequence = Number(row.request_id.split("/")[1]);
      journal.push({ kind: fact.ok ? "result" : "failure", turnSequence, result: fact.ok ? fact.value : "" });
    }
    tables.record(holds ? "tool.result" : "tool.late_result", fact.task);
    const tool = TOOLS[row.tool] as (typeof TOOLS)[string];
    if (!needsPerson(answer, tool)) return holds ? "committed" : "lease_lost";
    row.state = "unknown";
    const { task, token, session } = fact;
    if (!holds || tables.task(task).run.graph.run !== "RUNNING") return holds ? "committed" : "lease_lost";
    settleLater.push({ type: "park", task, token, session, class: "UnknownOutcome" });
    return "lease_lost";
  });
  return { verdicts, settle: settleLater };
}

/** The class of a tool's failure: whether the effect may have happened is all that matters here. */
export function failureOf({ ambiguous }: Pick<ResultFact, "ambiguous">): string {
  return ambiguous ? "Timeout" : "Http503";
}
