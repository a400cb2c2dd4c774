// A budget that fills up with time: so much at once, and so much a second after that.
// Used wherever a rate is bounded: pings, frames, calls, failed attempts, invocations. Pure: time comes in as a value of the monotonic clock.

import { SECOND } from "./units.ts";

/** A rate with what may come at once. */
export interface Rate {
  /** What a full bucket holds. */
  readonly atOnce: number;
  /** What flows in a second. */
  readonly perSecond: number;
}

/** See the file header. */
export class TokenBucket {
  readonly #rate: Rate;
  #left: number;
  #atMs: number;

  /** A full one. */
  constructor(rate: Rate, nowMs: number) {
    this.#rate = rate;
    this.#left = rate.atOnce;
    this.#atMs = nowMs;
  }

  /** Takes one if it is there. */
  take(nowMs: number): boolean {
    this.#flow(nowMs);
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }

  /** Takes one whether it is there or not. @returns ms until it is there; 0: it was */
  owe(nowMs: number): number {
    this.#flow(nowMs);
    this.#left -= 1;
    return this.#left >= 0 ? 0 : (-this.#left / this.#rate.perSecond) * SECOND;
  }

  /** Ms until one is there; 0: it is. */
  waitMs(nowMs: number): number {
    this.#flow(nowMs);
    return this.#left >= 1 ? 0 : ((1 - this.#left) / this.#rate.perSecond) * SECOND;
  }

  #flow(nowMs: number): void {
    const { atOnce, perSecond } = this.#rate;
    this.#left = Math.min(atOnce, this.#left + ((nowMs - this.#atMs) / SECOND) * perSecond);
    this.#atMs = nowMs;
  }
}

/** A bucket for each key; of more keys than keysMax those that were not used for longest begin anew. */
export class KeyedBuckets {
  readonly #keysMax: number;
  readonly #buckets = new Map<string, TokenBucket>();

  constructor(keysMax: number) {
    this.#keysMax = keysMax;
  }

  /** The bucket of a key, full at first. @param rate of a bucket that is made */
  of(key: string, rate: Rate, nowMs: number): TokenBucket {
    const bucket = this.#buckets.get(key) ?? new TokenBucket(rate, nowMs);
    this.#buckets.delete(key);
    if (this.#buckets.size >= this.#keysMax) this.#buckets.delete(this.#buckets.keys().next().value as string);
    this.#buckets.set(key, bucket);
    return bucket;
  }
}
