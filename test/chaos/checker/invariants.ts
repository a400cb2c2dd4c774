// The invariants of reliability.md as functions from evidence to violations, each with the smallest witness: what, and where.
// Called by main.ts of this folder; tested with doctored evidence by checker.test.ts. Imports nothing of the product.
// Drained first, then judged: what is still open at the end is lost, unless it is parked for a person.

import { wrongReplays } from "./dead_letters.ts";
import type { AuditRow, Facts, TaskRow } from "./facts.ts";

/** One broken promise. */
export interface Violation {
  readonly invariant: string;
  readonly witness: string;
}

const FINAL_RUNS = new Set(["SUCCEEDED", "FAILED", "CANCELLED", "TIMED_OUT", "POLICY_DENIED"]);
const ENDS = /^task\.(succeeded|failed|cancelled|timed_out|denied|dead_lettered)$/;
/** Facts of a worker that count only under its lease. */
const ACCEPTED = /^(turn\.recorded|tool\.granted|tool\.result|task\.succeeded|task\.failed|task\.retrying)$/;
/** Operations that a workflow has done once it SUCCEEDED, and where its output shows the receipt. */
const DONE_BY: Readonly<Record<string, readonly string[]>> = {
  chain: ["charge"],
  late: ["charge"],
  fork: ["left", "right"],
  wire: ["wire"],
};

/** Acknowledged invocations that neither ended nor are parked, and work that nobody does. */
export function lost(facts: Facts): Violation[] {
  const runs = new Map(facts.runs.map((run) => [run.id, run]));
  const found: Violation[] = [];
  const add = (witness: string) => found.push({ invariant: "lost", witness });
  for (const event of facts.history) {
    if (event.type === "ok" && !runs.has(event.run))
      add(`run ${event.run} of key ${event.key} was acknowledged and is gone`);
    if (event.type === "given_up") add(`invocation ${event.key} was never answered`);
  }
  for (const run of facts.runs) {
    if (!FINAL_RUNS.has(run.state) && !run.conditions.includes("Parked")) add(`run ${run.id} is still ${run.state}`);
  }
  for (const task of facts.tasks) {
    if (task.state === "READY" || task.state === "WAITING") add(`task ${task.id} is still ${task.state}`);
  }
  for (const lease of facts.leases) add(`task ${lease.task_id} is still leased to ${lease.worker}`);
  for (const { task_id } of facts.ready) add(`task ${task_id} is still queued`);
  for (const node of facts.nodes) if (node.open_tasks > 0) add(`node ${node.node} of ${node.run_id} counts open tasks`);
  return [...found, ...lostEffects(facts)];
}

// A run that SUCCEEDED has had its effects, and tells the receipts that the outside world gave.
function lostEffects(facts: Facts): Violation[] {
  const operations = new Map(facts.operations.map((operation) => [operation.op, operation]));
  return facts.runs
    .filter((run) => run.state === "SUCCEEDED")
    .flatMap((run) =>
      (DONE_BY[run.workflow] ?? []).flatMap((part): Violation[] => {
        const op = `${run.idempotency_key}/${part}`;
        const receipt = operations.get(op)?.receipts[0];
        if (receipt === undefined)
          return [{ invariant: "lost", witness: `${op} of ${run.id} SUCCEEDED without its effect` }];
        if (run.output?.includes(JSON.stringify(receipt))) return [];
        return [{ invariant: "lost", witness: `${run.id} does not tell the receipt ${receipt} but ${run.output}` }];
      }),
    );
}

/** Tasks that ended twice, attempts with two outcomes, nodes executed twice, keys with two runs. */
export function doubleAccepted(facts: Facts): Violation[] {
  const found: Violation[] = [];
  const add = (witness: string) => found.push({ invariant: "double_accepted", witness });
  for (const [task, records] of grouped(
    facts.audit.filter(({ kind }) => ENDS.test(kind)),
    ({ task_id }) => task_id,
  )) {
    if (records.length > 1) add(`task ${task} ended ${records.length} times: ${names(records)}`);
  }
  const outcomes = facts.audit.filter(({ kind }) => ENDS.test(kind) || kind === "task.retrying");
  for (const [attempt, records] of grouped(outcomes, ({ task_id, detail }) => `${task_id} attempt ${detail.attempt}`)) {
    if (records.length > 1) add(`${attempt} has ${records.length} outcomes: ${names(records)}`);
  }
  const place = ({ run_id, node, iteration, item }: TaskRow) => `${run_id} ${node}/${iteration}/${item}`;
  for (const [where, tasks] of grouped(
    facts.tasks.filter((task) => task.origin_task_id === task.id),
    place,
  )) {
    if (tasks.length > 1) add(`node ${where} was queued ${tasks.length} times: ${tasks.map(({ id }) => id).join(" ")}`);
  }
  for (const [key, runs] of grouped(
    facts.runs.filter((run) => run.idempotency_key !== null),
    (run) => run.idempotency_key ?? "",
  )) {
    if (runs.length > 1) add(`key ${key} made ${runs.length} runs: ${runs.map(({ id }) => id).join(" ")}`);
  }
  const told = facts.history.flatMap((event) => (event.type === "ok" ? [event] : []));
  for (const [key, events] of grouped(told, (event) => event.key)) {
    const ids = new Set(events.map((event) => event.run));
    if (ids.size > 1) add(`key ${key} was acknowledged with ${[...ids].join(" and ")}`);
  }
  for (const [run, records] of grouped(
    facts.audit.filter((record) => endsRun(record)),
    ({ run_id }) => run_id,
  )) {
    if (records.length > 1) add(`run ${run} ended ${records.length} times: ${names(records)}`);
  }
  return found;
}

function endsRun({ detail }: AuditRow): boolean {
  return transitionsOf(detail).some((one) => one.of === "run" && FINAL_RUNS.has(one.to));
}

/** Facts that were accepted from a worker which was not the last one to lease the task. */
export function staleAccepted(facts: Facts): Violation[] {
  const holder = new Map<string, string>();
  const found: Violation[] = [];
  for (const { id, kind, task_id, actor, detail } of facts.audit) {
    if (kind === "task.leased") holder.set(task_id, `worker:${detail.worker}`);
    else if (ACCEPTED.test(kind) && actor.startsWith("worker:") && holder.get(task_id) !== actor) {
      const witness = `record ${id}: ${kind} of ${task_id} by ${actor}, while ${holder.get(task_id) ?? "nobody"} held it`;
      found.push({ invariant: "stale_accepted", witness });
    }
  }
  return found;
}

/** Operations that had an effect more often than they may, and calls of what is denied. */
export function duplicateEffects(facts: Facts): Violation[] {
  const found = facts.operations.flatMap(({ op, path, arrivals, effects }): Violation[] => {
    if (path === "/honour" && effects > 1)
      return [{ invariant: "duplicate_effects", witness: `${op} had ${effects} effects` }];
    if (path === "/once" && arrivals > 1)
      return [{ invariant: "duplicate_effects", witness: `${op} was sent ${arrivals} times` }];
    return [];
  });
  if (facts.deniedCalls > 0) {
    found.push({ invariant: "duplicate_effects", witness: `a denied tool was called ${facts.deniedCalls} times` });
  }
  return found;
}

/** Changes of state without a record. */
export function unaudited(facts: Facts): Violation[] {
  const found: Violation[] = [];
  const add = (witness: string) => found.push({ invariant: "unaudited", witness });
  const ended = new Set(facts.audit.flatMap(({ kind, task_id }) => (ENDS.test(kind) ? [task_id] : [])));
  const moved = new Set<string>();
  for (const { run_id, detail } of facts.audit) {
    for (const one of transitionsOf(detail)) {
      if (one.of === "task") moved.add(`task ${one.taskId} ${one.to}`);
      else moved.add(`${one.of} ${run_id} ${one.node ?? ""} ${one.to}`);
    }
  }
  for (const { id, state } of facts.tasks) {
    if (state !== "READY" && state !== "WAITING" && !ended.has(id) && !moved.has(`task ${id} ${state}`)) {
      add(`task ${id} is ${state} without a record`);
    }
  }
  for (const { id, state } of facts.runs) {
    if (!moved.has(`run ${id}  ${state}`)) add(`run ${id} is ${state} without a record`);
  }
  for (const { run_id, node, state } of facts.nodes) {
    if (state !== "PENDING" && !moved.has(`node ${run_id} ${node} ${state}`))
      add(`node ${node} of ${run_id} is ${state} without a record`);
  }
  // A person who found out tells a result in the record of a replay.
  const told = new Set(facts.audit.flatMap(({ detail }) => Object.keys(detail?.toldResults ?? {})));
  const granted = new Set(facts.audit.flatMap(({ kind, detail }) => (kind === "tool.granted" ? [detail.grantId] : [])));
  const answered = new Set(
    facts.audit.flatMap(({ kind, detail }) => (/^tool\.(result|late_result)$/.test(kind) ? [detail.grantId] : [])),
  );
  for (const { request_id, state, grant_id } of facts.calls) {
    if (!granted.has(grant_id)) add(`call ${request_id} has the grant ${grant_id} without a record`);
    if (state === "done" && !answered.has(grant_id) && !told.has(request_id))
      add(`call ${request_id} is done without a record`);
  }
  const turns = new Set(
    facts.audit.flatMap(({ kind, task_id, detail }) =>
      kind === "turn.recorded" ? [`${task_id}/${detail.sequence}`] : [],
    ),
  );
  const parents = new Map(facts.tasks.map(({ id, replay_of }) => [id, replay_of]));
  // A replay inherits the journal of the task that it replays.
  const isRecorded = (task: string | null | undefined, sequence: number): boolean =>
    task != null && (turns.has(`${task}/${sequence}`) || isRecorded(parents.get(task), sequence));
  for (const { task_id, sequence, kind } of facts.journal) {
    if (kind === "turn" && !isRecorded(task_id, sequence)) add(`turn ${sequence} of ${task_id} has no record`);
  }
  return found;
}

/** Journals with a gap. */
export function journalGaps(facts: Facts): Violation[] {
  return [...grouped(facts.journal, ({ task_id }) => task_id)].flatMap(([task, rows]): Violation[] => {
    const sequences = rows.map(({ sequence }) => sequence).sort((a, b) => a - b);
    const gap = sequences.findIndex((sequence, index) => sequence !== index + 1);
    return gap < 0 ? [] : [{ invariant: "journal_gap", witness: `journal of ${task}: ${sequences.join(" ")}` }];
  });
}

/** Processes that ended by themselves. */
export function unexpectedExits(facts: Facts): Violation[] {
  return facts.unexpectedExits.map((witness) => ({ invariant: "unexpected_exits", witness }));
}

/** Every invariant by the name that the summary counts it under. */
export const INVARIANTS: Readonly<Record<string, (facts: Facts) => Violation[]>> = {
  lost,
  double_accepted: doubleAccepted,
  stale_accepted: staleAccepted,
  duplicate_effects: duplicateEffects,
  unaudited,
  journal_gaps: journalGaps,
  wrong_replays: wrongReplays,
  unexpected_exits: unexpectedExits,
};

function transitionsOf(detail: {
  transitions?: readonly { of: string; to: string; node?: string; taskId?: string }[];
}) {
  return detail?.transitions ?? [];
}

function grouped<Row>(rows: readonly Row[], keyOf: (row: Row) => string): Map<string, Row[]> {
  return Map.groupBy(rows, keyOf);
}

function names(records: readonly AuditRow[]): string {
  return records.map(({ id, kind, actor }) => `${id} ${kind} by ${actor}`).join(", ");
}
