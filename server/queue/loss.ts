// Decides what a lease that ended without an outcome does to its task: expired, never accepted, given back, taken away.
// Called by commands/settle_loss.ts under the locks of run and lease; `leaseLoss` and `watchSweep` are repeated in SQL by the tick.
// Pure. Only an expiry of an accepted lease spends a delivery, and only then the token stays good until the next claim (I4).

import type { RunState } from "./states.ts";

/** Why a lease ended without an outcome. */
export type LossReason = "expired" | "unaccepted" | "unsent" | "yielded" | "revoked";

/** Deliveries after which a task is a poison task. */
export const DELIVERIES_MAX = 10;

/** What decides; read under the lock of the lease. */
export interface LosingLease {
  readonly reason: LossReason;
  readonly accepted: boolean;
  /** Its session renewed in time after all. */
  readonly alive: boolean;
  readonly runState: RunState;
  /** Leases lost before this one. */
  readonly deliveries: number;
}

/** What becomes of the task. */
export type LossStep =
  /** It was accepted or renewed before the lock was had: nothing happens. */
  | { readonly type: "kept" }
  /** Its run stops: the task ends. */
  | { readonly type: "cancelled" }
  /** READY again. A token that is kept still counts until the next claim. */
  | { readonly type: "requeued"; readonly deliveries: number; readonly keepsToken: boolean }
  /** Its deliveries are used up. */
  | { readonly type: "poisoned"; readonly deliveries: number };

/** See the file header. */
export function afterLoss({ reason, accepted, alive, runState, deliveries }: LosingLease): LossStep {
  if ((reason === "unaccepted" && accepted) || (reason === "expired" && alive)) return { type: "kept" };
  if (runState !== "RUNNING") return { type: "cancelled" };
  if (reason !== "expired") return { type: "requeued", deliveries, keepsToken: false };
  const spent = deliveries + 1;
  if (spent >= DELIVERIES_MAX) return { type: "poisoned", deliveries: spent };
  return { type: "requeued", deliveries: spent, keepsToken: true };
}

/** A live lease as the sweep sees it. Times are of the database, in ms. */
export interface SweptLease {
  readonly accepted: boolean;
  readonly claimMs: number;
  /** When its session expires; absent when it is lost or closed. */
  readonly sessionExpireMs?: number | undefined;
}

/** Why a lease is lost at a time, if it is. @param acceptMs how long an Accept may take to reach the store */
export function leaseLoss(lease: SweptLease, nowMs: number, acceptMs: number): "expired" | "unaccepted" | undefined {
  if (lease.claimMs >= nowMs - acceptMs) return undefined;
  if (!lease.accepted) return "unaccepted";
  return lease.sessionExpireMs === undefined || lease.sessionExpireMs < nowMs ? "expired" : undefined;
}

/** The watch that all replicas share: when one of them last looked for lost leases, and from when on those may be taken away. */
export interface SweepWatch {
  readonly seenMs: number;
  readonly sweepFromMs: number;
}

/**
 * The watch after a look, and whether that look may take leases away. After a gap in which nobody looked, all replicas or the
 * database were away: workers get one ttl to renew first. It is written every tenth of a ttl at most.
 */
export function watchSweep(
  watch: SweepWatch,
  nowMs: number,
  { ttlMs, gapMs }: { readonly ttlMs: number; readonly gapMs: number },
): { readonly watch: SweepWatch; readonly sweeps: boolean } {
  const isWritten = watch.seenMs < nowMs - ttlMs / 10;
  const sweepFromMs = isWritten && watch.seenMs < nowMs - gapMs ? nowMs + ttlMs : watch.sweepFromMs;
  return { watch: { seenMs: isWritten ? nowMs : watch.seenMs, sweepFromMs }, sweeps: sweepFromMs <= nowMs };
}
