// Takes ready tasks from the queue for sessions of this replica, decides for each whether it may leave, and leases them.
// Called by dispatch/claimer with the free credits of one group of alike sessions. Claims, decisions, leases and records commit together.
// Locks only the rows it takes (SKIP LOCKED); never locks a run.

import { isDecidedAt } from "../policy/compile.ts";
import type { PolicySet } from "../policy/types.ts";
import { matchTasks } from "../queue/match.ts";
import type { Revisions } from "../storage/bundle_queries.ts";
import { Lastly } from "../storage/lastly.ts";
import type { JournalRow } from "../storage/ledger_queries.ts";
import type { StoreQueries } from "../storage/store.ts";
import type { ClaimedTask } from "../storage/task_queries.ts";
import type { CommandContext } from "./context.ts";
import { type Assigned, isSendable, type Leased, leasedRecord, leaseTask, unsendable } from "./lease_tasks.ts";
import type { SettleItem } from "./settle_items.ts";

/** Tasks in one claim at most. */
export const CLAIM_MAX = 200;

/** A session that may take tasks. */
export interface ClaimingSession {
  readonly sessionId: string;
  readonly worker: string;
  /** Free slots, 1 or more. */
  readonly free: number;
}

/** What a claim did. */
export interface Claimed {
  readonly assigned: readonly Assigned[];
  /** Tasks that policy denied or that lack a secret, for the settle coalescer. */
  readonly denied: readonly SettleItem[];
  /** True when the limit was reached: there may be more. */
  readonly more: boolean;
}

// What was taken from the queue, and what it is decided by.
interface Claiming {
  readonly tasks: readonly ClaimedTask[];
  readonly routes: readonly string[];
  readonly sessions: readonly ClaimingSession[];
  readonly revisions: Revisions;
}

/** See the file header. Sessions all serve the same routes. @throws DomainError for database trouble: nothing happened */
export async function claim(
  context: CommandContext,
  routes: readonly string[],
  sessions: readonly ClaimingSession[],
): Promise<Claimed> {
  const free = Math.min(
    CLAIM_MAX,
    sessions.reduce((sum, session) => sum + session.free, 0),
  );
  if (free === 0 || routes.length === 0) return { assigned: [], denied: [], more: false };
  const leased = await context.store.transaction(async (tx) => {
    // The claim shares the gate of policies, so the revisions come after it.
    const asksRuns = decidesRuns(context.caches.lastLive?.policies);
    const [tasks, revisions] = await Promise.all([
      tx.tasks.claim(routes, free, asksRuns),
      tx.bundles.revisions(),
      tx.identify(),
    ]);
    if (tasks.length === 0) return [];
    const leases = await lease(tx, context, { tasks, routes, sessions, revisions });
    return new Lastly(leases, [
      tx.leases.insert(leases.map((one) => one.lease)),
      tx.audit.insert(leases.filter(isSendable).map(leasedRecord)),
    ]);
  });
  context.hints.runsChanged([...new Set(leased.map((one) => one.task.run_id))]);
  return {
    assigned: leased.filter(isSendable),
    denied: leased.filter((one) => !isSendable(one)).map(unsendable),
    more: leased.length === free,
  };
}

async function lease(
  tx: StoreQueries,
  context: CommandContext,
  { tasks, routes, sessions, revisions }: Claiming,
): Promise<Leased[]> {
  const served = new Set(routes);
  const matches = matchTasks(
    tasks.map((task) => ({ taskId: task.id, route: task.route })),
    sessions.map(({ sessionId, free }) => ({ sessionId, free, routes: served })),
  );
  const sessionOf = new Map(matches.map((match) => [match.taskId, match.sessionId]));
  const live = await context.caches.live(tx, revisions.policy);
  const [journals, undispatched] = await Promise.all([
    journalsOf(tx, tasks),
    undispatchedRuns(tx, live.policies, tasks),
  ]);
  const leased: Leased[] = [];
  for (const task of tasks) {
    const sessionId = sessionOf.get(task.id) as string;
    const worker = sessions.find((session) => session.sessionId === sessionId)?.worker ?? "";
    const bundle = await context.caches.bundle(tx, task.bundle_digest);
    const journal = journals.get(task.id) ?? [];
    const first = undispatched.has(task.run_id);
    leased.push(leaseTask(context, { task, bundle, journal, sessionId, worker, first }, { live, now: revisions.now }));
  }
  return leased;
}

// Unknown policies may decide.
function decidesRuns(policies: PolicySet | undefined): boolean {
  return policies === undefined || isDecidedAt(policies, "workflow.run");
}

// Runs of which nothing has left the server yet; not looked for unless a policy is decided at workflow.run. The claim has told, unless
// such a policy is new.
async function undispatchedRuns(
  tx: StoreQueries,
  policies: PolicySet,
  tasks: readonly ClaimedTask[],
): Promise<ReadonlySet<string>> {
  if (!decidesRuns(policies)) return new Set();
  const fresh = tasks.filter((task) => task.fresh);
  const runs = new Set(fresh.map((task) => task.run_id));
  const untold = fresh.filter((task) => task.run_dispatched === null).map((task) => task.run_id);
  const begun = await tx.tasks.dispatchedRuns(
    untold,
    tasks.map(({ id }) => id),
  );
  for (const run of begun) runs.delete(run);
  for (const task of fresh) if (task.run_dispatched === true) runs.delete(task.run_id);
  return runs;
}

// A task that was never claimed before has no journal.
async function journalsOf(tx: StoreQueries, tasks: readonly ClaimedTask[]): Promise<Map<string, JournalRow[]>> {
  const rows = await tx.ledger.journal(tasks.filter((task) => !task.fresh).map((task) => task.id));
  return Map.groupBy(rows, (row) => row.task_id);
}
