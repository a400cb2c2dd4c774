// What a chaos run measured: times to a new lease, takeovers in the middle of an effect, reports of zombies, unknown outcomes.
// Called by main.ts of this folder. Counts and times only: invariants.ts judges.

import type { AuditRow, Facts } from "./facts.ts";

/** See the file header; times in ms. */
export interface Measures {
  readonly tasks: number;
  readonly redispatches: number;
  readonly redispatch_p50_ms: number;
  readonly redispatch_p95_ms: number;
  readonly redispatch_max_ms: number;
  /** Facts acknowledged in the second before a fault: median over all faults. */
  readonly operations_before_fault_p50: number;
  readonly takeovers_mid_effect: number;
  readonly zombie_reports: number;
  readonly unknown_outcomes: number;
  /** Dead letters that were replayed, and that were given up. */
  readonly replays: number;
  readonly discards: number;
  readonly retries: number;
  readonly runs: Readonly<Record<string, number>>;
}

/** Measures the evidence. */
export function measure(facts: Facts): Measures {
  const times = redispatchTimes(facts).sort((a, b) => a - b);
  const at = (share: number) => Math.round(times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0);
  const count = (kind: string) => facts.audit.filter((record) => record.kind === kind).length;
  return {
    // The join has no tool.
    tasks: facts.tasks.filter(({ agent, state }) => agent !== "sum" && state !== "READY" && state !== "WAITING").length,
    redispatches: times.length,
    redispatch_p50_ms: at(0.5),
    redispatch_p95_ms: at(0.95),
    redispatch_max_ms: Math.round(times.at(-1) ?? 0),
    operations_before_fault_p50: operationsBeforeFault(facts),
    takeovers_mid_effect: takeoversMidEffect(facts),
    zombie_reports: zombieReports(facts),
    unknown_outcomes: facts.audit.filter(
      ({ kind, detail }) => kind === "task.dead_lettered" && detail.cause === "unknown_outcome",
    ).length,
    replays: count("dead_letter.replayed"),
    discards: count("dead_letter.discarded"),
    retries: count("task.retrying"),
    runs: Object.fromEntries(
      [...Map.groupBy(facts.runs, ({ state }) => state)].map(([state, runs]) => [state, runs.length]),
    ),
  };
}

// From SIGKILL to the next lease of each task that the worker held.
function redispatchTimes(facts: Facts): number[] {
  const leases = Map.groupBy(
    facts.audit.filter(({ kind }) => kind === "task.leased"),
    ({ task_id }) => task_id,
  );
  return facts.history.flatMap((event) => {
    if (event.type !== "worker_killed" || !event.settled) return [];
    return event.tasks.flatMap((task) => {
      const next = (leases.get(task) ?? []).find(
        (lease) => Number(lease.ms) > event.at && lease.detail.worker !== event.worker,
      );
      return next === undefined ? [] : [Number(next.ms) - event.at];
    });
  });
}

// Each accepted fact has its record, so records are counted. Times are of one machine.
function operationsBeforeFault(facts: Facts): number {
  const times = facts.audit.map(({ ms }) => Number(ms)).sort((a, b) => a - b);
  const before = (at: number) => {
    let [low, high] = [0, times.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((times[middle] as number) < at) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  const counts = facts.history
    .filter(({ type }) => type === "worker_killed" || type === "worker_frozen" || type === "fault")
    .map(({ at }) => before(at) - before(at - 1_000))
    .sort((a, b) => a - b);
  return counts[counts.length >> 1] ?? 0;
}

// A call that was granted to two workers, or that nobody knows the outcome of.
function takeoversMidEffect(facts: Facts): number {
  const workers = new Map<string, Set<string>>();
  for (const { kind, actor, detail } of facts.audit) {
    if (kind !== "tool.granted") continue;
    const seen = workers.get(detail.requestId) ?? new Set();
    workers.set(detail.requestId, seen.add(actor));
  }
  return [...workers.values()].filter((seen) => seen.size > 1).length;
}

// Facts that a woken worker still told about what others had taken over, refused or kept only in the ledger.
function zombieReports(facts: Facts): number {
  const woken = new Map<string, number>();
  for (const event of facts.history) if (event.type === "worker_woken") woken.set(`worker:${event.worker}`, event.at);
  const late = ({ kind, actor, ms }: AuditRow) =>
    (kind === "fact.refused" || kind === "tool.late_result") &&
    Number(ms) >= (woken.get(actor) ?? Number.POSITIVE_INFINITY);
  return facts.audit.filter(late).length;
}
