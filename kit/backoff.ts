// Delay before the next try: full jitter, random(0, min(max, initial × factor^(n−1))).
// Used by task retries, tool retries and reconnects. Source: Marc Brooker, "Exponential Backoff And Jitter", 2015.
// Pure but for the randomness that comes in.

import type { Random } from "./random.ts";

/** How delays grow. */
export interface Backoff {
  /** Upper bound of the first delay, in ms. */
  readonly initialMs: number;
  /** Upper bound of any delay, in ms. */
  readonly maxMs: number;
  /** Growth of the upper bound from one try to the next, ≥ 1. */
  readonly factor: number;
  /** full: uniform in [0, bound]; none: the bound itself. */
  readonly jitter: "full" | "none";
}

/** Delay in ms before try n + 1, after n failed ones (n from 1). A longer wait that the peer asked for wins. */
export function backoffDelay(backoff: Backoff, failures: number, random: Random, retryAfterMs = 0): number {
  // Kept finite, since 0 × ∞ is not a number.
  const growth = Math.min(backoff.factor ** (failures - 1), Number.MAX_VALUE);
  const bound = Math.min(backoff.maxMs, backoff.initialMs * growth);
  const delay = backoff.jitter === "full" ? random.next() * bound : bound;
  return Math.max(Math.round(delay), retryAfterMs);
}
