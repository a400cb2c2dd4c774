// Knows whether this worker's leases are sound, and when to renew them.
// Driven by session.ts; asked by task_port.ts before anything new is started.
// Measures with the monotonic clock from before the renewal was sent: what the server grants cannot end earlier than that says.
// Never decides that a lease is lost: only the server does.

import type { Clock } from "../../kit/clock.ts";
import { orStopped } from "../agent/stop.ts";

/** Parts of the ttl that are kept as margin: in the last fifteenth nothing new is started. */
const MARGIN_PARTS = 15;
/** Renewals that may wait for their acknowledgement; older ones are forgotten. */
const UNACKNOWLEDGED_MAX = 16;

/** Lengths that the server named in Welcome, in ms. */
export interface LeaseTimes {
  readonly ttlMs: number;
  readonly renewMs: number;
}

/** See the file header. */
export class LeaseKeeper {
  readonly #clock: Clock;
  readonly #renew: (sequence: bigint) => void;
  #times: LeaseTimes = { ttlMs: 0, renewMs: 0 };
  #soundUntilMs = 0;
  #sequence = 0n;
  readonly #sentMs = new Map<bigint, number>();
  #cancelTimer = () => {};
  #waiters: (() => void)[] = [];

  /** @param renew sends a renewal with this sequence. */
  constructor(clock: Clock, renew: (sequence: bigint) => void) {
    this.#clock = clock;
    this.#renew = renew;
  }

  /** A Welcome came for a Hello sent at that monotonic time: renews every renewMs from now on. */
  connected(times: LeaseTimes, helloSentMs: number): void {
    this.#times = times;
    this.#sentMs.clear();
    this.#confirmed(helloSentMs);
    this.#arm();
  }

  /** The stream ended: no renewals until the next Welcome. */
  disconnected(): void {
    this.#cancelTimer();
    this.#sentMs.clear();
  }

  /** The server acknowledged a renewal. */
  acknowledged(sequence: bigint): void {
    const sentMs = this.#sentMs.get(sequence);
    if (sentMs === undefined) return;
    this.#sentMs.delete(sequence);
    this.#confirmed(sentMs);
  }

  /** True while something new may be started. */
  sound(): boolean {
    return this.#clock.monotonic() < this.#soundUntilMs;
  }

  /** Resolves when leases are sound; rejects with the signal's reason. */
  async whenSound(signal: AbortSignal): Promise<void> {
    while (!this.sound()) {
      await orStopped(new Promise<void>((resolve) => this.#waiters.push(resolve)), signal);
    }
  }

  #arm(): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#clock.after(this.#times.renewMs, () => {
      this.#sequence += 1n;
      this.#sentMs.set(this.#sequence, this.#clock.monotonic());
      if (this.#sentMs.size > UNACKNOWLEDGED_MAX) this.#sentMs.delete(this.#sentMs.keys().next().value as bigint);
      this.#renew(this.#sequence);
      this.#arm();
    });
  }

  #confirmed(sentMs: number): void {
    const { ttlMs } = this.#times;
    this.#soundUntilMs = Math.max(this.#soundUntilMs, sentMs + ttlMs - ttlMs / MARGIN_PARTS);
    for (const resolve of this.#waiters.splice(0)) resolve();
  }
}
