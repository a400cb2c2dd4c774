// Who holds what, in memory: the mirror of lease_queries.hold(), of renewals and of the tick's look at leases.

import { fence, isPresented } from "../../server/queue/fence.ts";
import { leaseLoss, watchSweep } from "../../server/queue/loss.ts";
import { ACCEPT_MS, GAP_MS, TTL_MS } from "./flows.ts";
import type { Findings, LeaseRow, Presented } from "./rows.ts";
import type { Tables } from "./tables.ts";

/** Locks the leases that the presented tokens hold; a late token that nobody superseded becomes the lease again. */
export function hold(tables: Tables, presented: readonly Presented[]): void {
  for (const fact of presented) {
    const holders = { lease: tables.leases.get(fact.task), late: tables.ready.get(fact.task)?.late };
    if (fence(holders, { token: fact.token, sessionId: fact.session }) !== "revived") continue;
    const task = tables.task(fact.task);
    tables.ready.delete(fact.task);
    tables.leases.set(fact.task, {
      ...{ task, token: fact.token, sessionId: fact.session, attempt: task.attempt, delivery: task.deliveries },
      ...{ claimMs: tables.nowMs, accepted: true },
    });
  }
}

/** True if a lease is the one that was presented; what the server found out by itself comes without a session. */
export function presentsLease(lease: LeaseRow, presented: { token: string; session?: string }): boolean {
  return isPresented(lease, { token: presented.token, sessionId: presented.session });
}

/** The lease that a fact holds, after hold(). */
export function heldLease(tables: Tables, fact: Presented): LeaseRow | undefined {
  const lease = tables.leases.get(fact.task);
  return lease !== undefined && presentsLease(lease, fact) ? lease : undefined;
}

/** When a session expires; absent when it is lost or closed. */
function expiryOf(tables: Tables, id: string): number | undefined {
  const session = tables.sessions.get(id);
  return session?.state === "active" || session?.state === "draining" ? session.expireMs : undefined;
}

export function isAlive(tables: Tables, sessionId: string): boolean {
  return (expiryOf(tables, sessionId) ?? -1) >= tables.nowMs;
}

/** What a tick finds. */
export function find(tables: Tables): Findings {
  const { nowMs } = tables;
  const { watch, sweeps } = watchSweep(tables.watch, nowMs, { ttlMs: TTL_MS, gapMs: GAP_MS });
  tables.watch = watch;
  const lost = [];
  for (const { task, token, accepted, claimMs, sessionId } of sweeps ? tables.leases.values() : []) {
    const swept = { accepted, claimMs, sessionExpireMs: expiryOf(tables, sessionId) };
    const reason = leaseLoss(swept, nowMs, ACCEPT_MS);
    if (reason !== undefined) lost.push({ task: task.id, token, reason });
  }
  const due = [...tables.tasks.values()].filter((task) => task.dueMs !== undefined && task.dueMs <= nowMs);
  const dueRuns = [...tables.runs.values()].filter((run) => run.dueMs !== undefined && run.dueMs <= nowMs);
  const sessions = sweeps ? [...tables.sessions.values()] : [];
  const expired = sessions.filter((session) => (expiryOf(tables, session.id) ?? nowMs) < nowMs);
  const ids = (rows: readonly { id: string }[]) => rows.map((row) => row.id);
  return { lost, due: ids(due), dueRuns: ids(dueRuns), expired: ids(expired) };
}
