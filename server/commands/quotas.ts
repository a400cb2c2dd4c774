// What a namespace may have at most: invocations a second, and stored resources. Off unless the configuration names it.
// Asked by replica.ts before an invocation is queued, and by apply.ts in its transaction.
// Invocations are counted in memory, by each replica for itself: this protects the control plane. What a namespace may spend in all is a
// limit of a policy, which is exact.

import type { Clock } from "../../kit/clock.ts";
import { DomainError } from "../../kit/errors.ts";
import { KeyedBuckets } from "../../kit/token_bucket.ts";

/** Quotas of a namespace; what is absent is not bounded. */
export interface NamespaceQuota {
  readonly invocationsPerSecond?: number;
  readonly resources?: number;
}

/** By namespace; "*" for those that are not named. */
export type QuotaSettings = Readonly<Record<string, NamespaceQuota>>;

/** The quota of every other namespace. */
export const OTHERS = "*";
const NAMESPACES_MAX = 10_000;
/** Seconds of its rate that a namespace may spend at once. */
const BURST_SECONDS = 5;

/** See the file header. */
export class Quotas {
  readonly #settings: QuotaSettings;
  readonly #clock: Clock;
  readonly #buckets = new KeyedBuckets(NAMESPACES_MAX);

  constructor(settings: QuotaSettings, clock: Clock) {
    this.#settings = settings;
    this.#clock = clock;
  }

  /** Counts an invocation. @throws TOO_MANY with retry_after_ms when the namespace invokes too often */
  invoked(namespace: string): void {
    const { invocationsPerSecond: perSecond } = this.#of(namespace);
    if (perSecond === undefined) return;
    const nowMs = this.#clock.monotonic();
    const bucket = this.#buckets.of(namespace, { atOnce: perSecond * BURST_SECONDS, perSecond }, nowMs);
    if (bucket.take(nowMs)) return;
    const retryAfterMs = Math.ceil(bucket.waitMs(nowMs));
    const message = `namespace ${namespace} invokes more often than ${perSecond} times a second: try again in ${retryAfterMs} ms`;
    throw new DomainError("TOO_MANY", message, { namespace, retry_after_ms: String(retryAfterMs) });
  }

  /** Most resources of a namespace; undefined: as many as it likes. */
  resourcesMax(namespace: string): number | undefined {
    return this.#of(namespace).resources;
  }

  #of(namespace: string): NamespaceQuota {
    const own = Object.hasOwn(this.#settings, namespace) ? this.#settings[namespace] : undefined;
    return own ?? this.#settings[OTHERS] ?? {};
  }
}
