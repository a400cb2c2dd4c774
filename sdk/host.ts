// What the SDK takes from its host: waiting, jitter and unique keys.
// The only file of the SDK that touches time and randomness; tests pass their own Host.
// Never imports kit: the SDK is packed alone.

import { randomBytes, randomUUID } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";

/** Time and randomness of the process that uses the SDK. */
export interface Host {
  /** Resolves after delayMs, or at once when the signal aborts (never rejects). */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
  /** Uniform in [0, 1). */
  random(): number;
  /** A key nobody else makes. */
  uniqueKey(): string;
}

/** The host of this process. */
export const processHost: Host = {
  async sleep(delayMs, signal) {
    await wait(delayMs, undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
  },
  random: () => randomBytes(6).readUIntBE(0, 6) / 2 ** 48,
  uniqueKey: () => randomUUID(),
};

/** How delays between tries grow: full jitter, random(0, min(maxMs, initialMs × factor^(failures−1))). */
export interface RetryDelay {
  readonly initialMs: number;
  readonly maxMs: number;
  readonly factor: number;
}

/** Delay in ms after the given number of failed tries, from 1. */
export function retryDelayMs(delay: RetryDelay, failures: number, host: Host): number {
  return Math.round(host.random() * Math.min(delay.maxMs, delay.initialMs * delay.factor ** (failures - 1)));
}
