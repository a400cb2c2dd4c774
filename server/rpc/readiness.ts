// Whether this replica should get work: ready() of the control plane, asked at most once a second, and never while draining.
// Called by health.ts, ops.ts and listeners.ts.
// Never throws: trouble is "not ready".

import type { Clock } from "../../kit/clock.ts";
import { SECOND } from "../../kit/units.ts";
import type { ControlPlane } from "../commands/control_plane.ts";

// The probes need no credentials, so a flood of them must not become a flood of queries.
const CACHE_MS = 1 * SECOND;
const ANSWER_MS_MAX = 2 * SECOND;

/** See the file header. */
export class Readiness {
  readonly #controlPlane: Pick<ControlPlane, "ready">;
  readonly #clock: Clock;
  readonly #draining = new AbortController();
  #answer: Promise<boolean> | undefined;
  #askedMs = 0;

  constructor(controlPlane: Pick<ControlPlane, "ready">, clock: Clock) {
    this.#controlPlane = controlPlane;
    this.#clock = clock;
  }

  /** Aborts when draining begins. */
  get draining(): AbortSignal {
    return this.#draining.signal;
  }

  /** From now on: not ready. */
  drain(): void {
    this.#draining.abort();
  }

  /** True when calls are welcome; at most 1 s old, false when no answer comes within 2 s. */
  async ready(): Promise<boolean> {
    if (this.draining.aborted) return false;
    const nowMs = this.#clock.monotonic();
    if (this.#answer === undefined || nowMs - this.#askedMs >= CACHE_MS) {
      this.#askedMs = nowMs;
      this.#answer = this.#ask();
    }
    return (await this.#answer) && !this.draining.aborted;
  }

  #ask(): Promise<boolean> {
    return new Promise((resolve) => {
      const cancel = this.#clock.after(ANSWER_MS_MAX, () => resolve(false));
      const settle = (ready: boolean) => {
        cancel();
        resolve(ready);
      };
      this.#controlPlane.ready().then(settle, () => settle(false));
    });
  }
}
