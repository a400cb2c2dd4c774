// Bounds what wrong credentials may cost: each peer may fail a number of times at once and some times a second, then it is turned away
// before anything is looked up. Credentials that were right before are always looked at, so that nobody behind the same address is shut out.
// Owned by rpc_handler.ts, one a listener. Keeps hashes of credentials, never credentials.

import type { Clock } from "../../kit/clock.ts";
import { sha256 } from "../../kit/json.ts";
import { KeyedBuckets } from "../../kit/token_bucket.ts";
import { peerGroup } from "./peer_group.ts";

/** Failures that a peer may have at once. */
export const FAILURES_AT_ONCE = 500;
/** Failures that it may have a second after that. */
export const FAILURES_A_SECOND = 50;
const RATE = { atOnce: FAILURES_AT_ONCE, perSecond: FAILURES_A_SECOND } as const;
const PEERS_MAX = 10_000;
const KNOWN_MAX = 10_000;

/** See the file header. */
export class FailedAttempts {
  readonly #clock: Clock;
  readonly #left = new KeyedBuckets(PEERS_MAX);
  readonly #known = new Set<string>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** False if the peer at that address failed too often and these credentials were never right. */
  mayTry(address: string, credentials: string): boolean {
    return this.#of(address).waitMs(this.#clock.monotonic()) === 0 || this.#known.has(sha256(credentials));
  }

  /** The credentials were wrong. */
  failed(address: string, credentials: string): void {
    this.#known.delete(sha256(credentials));
    this.#of(address).owe(this.#clock.monotonic());
  }

  /** The credentials were right. */
  succeeded(credentials: string): void {
    const hash = sha256(credentials);
    if (this.#known.has(hash)) return;
    if (this.#known.size >= KNOWN_MAX) this.#known.delete(this.#known.values().next().value as string);
    this.#known.add(hash);
  }

  #of(address: string) {
    return this.#left.of(peerGroup(address), RATE, this.#clock.monotonic());
  }
}
