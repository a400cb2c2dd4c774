// Times of the lease protocol, all derived from the ttl, and asserted once.
// Made by config; read by sessions, claimer, renewer and tick. Database time decides expiry; these only pace.

import { assert } from "../../kit/errors.ts";
import { KIB, MIB, SECOND } from "../../kit/units.ts";

/** Lease length unless configured, in ms. */
export const LEASE_TTL_MS = 30 * SECOND;
/** Largest frame on a session, in bytes. */
export const FRAME_BYTES_MAX = 4 * MIB;
/** Journal sent inside an assignment at most, in bytes; the rest is fetched. */
export const INLINE_PAYLOAD_BYTES_MAX = 256 * KIB;

/** See the file header; all in ms. */
export interface Timing {
  readonly leaseTtlMs: number;
  /** How often a worker renews. */
  readonly renewMs: number;
  /** How long a worker may take to accept an assignment. */
  readonly acceptMs: number;
  /** Longest wait of an Accept, or of a renewal of a session that holds tasks, before it reaches the store. */
  readonly flushMs: number;
  /** The same of a renewal of a session that holds none: so idle workers share few statements. */
  readonly idleFlushMs: number;
  /** Pace of the tick: a lost lease is found so long after its end at the latest, and that is to be little beside the ttl. */
  readonly tickMs: number;
  /** How long workers may take to move to another replica when this one shuts down. */
  readonly drainMs: number;
  /** Time without a tick of any replica after which the sweep waits: sessions may have had no chance to renew. */
  readonly sweepGapMs: number;
}

/** Times of a lease ttl. @throws CONFIG_INVALID beyond 1 s to 10 min */
export function timingOf(leaseTtlMs: number): Timing {
  const renewMs = Math.floor(leaseTtlMs / 3);
  const timing = {
    leaseTtlMs,
    renewMs,
    acceptMs: Math.floor(leaseTtlMs / 6),
    flushMs: Math.min(250, Math.floor(renewMs / 4)),
    idleFlushMs: Math.floor((leaseTtlMs * 3) / 20),
    tickMs: Math.min(SECOND, Math.floor(leaseTtlMs / 8)),
    drainMs: Math.min(2 * SECOND, renewMs),
    sweepGapMs: Math.floor(leaseTtlMs / 2),
  };
  assert(timing.leaseTtlMs >= 3 * timing.renewMs, "a lease outlives three renewals");
  assert(timing.sweepGapMs > timing.tickMs, "ticks follow each other faster than the sweep's watch ends");
  assert(
    timing.leaseTtlMs > timing.sweepGapMs + timing.renewMs + timing.idleFlushMs,
    "a session that renewed before a gap in the ticks that nobody notices has not expired after it",
  );
  assert(
    timing.renewMs > timing.acceptMs && timing.renewMs > timing.idleFlushMs && timing.idleFlushMs >= timing.flushMs,
    "a renewal is later than an accept and a flush",
  );
  return timing;
}
