// Bounds what wrong credentials may cost: each address may fail a number of times at once and some times a second, then it is turned away
// before anything is looked up. Credentials that were right before are always looked at, so that nobody behind the same address is shut out.
// Owned by rpc_handler.ts, one a listener. Keeps hashes of credentials, never credentials.

import type { Clock } from "../../kit/clock.ts";
import { sha256 } from "../../kit/json.ts";
import { SECOND } from "../../kit/units.ts";

/** Failures that an address may have at once. */
export const FAILURES_AT_ONCE = 500;
/** Failures that it may have a second after that. */
export const FAILURES_A_SECOND = 50;
const ADDRESSES_MAX = 10_000;
const KNOWN_MAX = 10_000;

/** See the file header. */
export class FailedAttempts {
  readonly #clock: Clock;
  readonly #left = new Map<string, { left: number; at: number }>();
  readonly #known = new Set<string>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** False if the address failed too often and these credentials were never right. */
  mayTry(address: string, credentials: string): boolean {
    return this.#of(address).left >= 1 || this.#known.has(sha256(credentials));
  }

  /** The credentials were wrong. */
  failed(address: string, credentials: string): void {
    const { left, at } = this.#of(address);
    this.#known.delete(sha256(credentials));
    this.#left.delete(address);
    if (this.#left.size >= ADDRESSES_MAX) this.#left.delete(this.#left.keys().next().value as string);
    this.#left.set(address, { left: left - 1, at });
  }

  /** The credentials were right. */
  succeeded(credentials: string): void {
    const hash = sha256(credentials);
    if (this.#known.has(hash)) return;
    if (this.#known.size >= KNOWN_MAX) this.#known.delete(this.#known.values().next().value as string);
    this.#known.add(hash);
  }

  #of(address: string): { left: number; at: number } {
    const now = this.#clock.monotonic();
    const { left, at } = this.#left.get(address) ?? { left: FAILURES_AT_ONCE, at: now };
    return { left: Math.min(FAILURES_AT_ONCE, left + ((now - at) / SECOND) * FAILURES_A_SECOND), at: now };
  }
}
