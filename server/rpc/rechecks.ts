// Looks again at what is open, such as the credentials of streams: at all of it at the same moment, so that the looks share a statement.
// Made by authentication.ts, one a listener. Never decides anything, and has no timer while nothing is open.

import type { Clock } from "../../kit/clock.ts";

/** Looks under way at the same time; the next one begins when one of them has ended. */
const LANES = 1_000;

/** See the file header. */
export class Rechecks {
  readonly #clock: Clock;
  readonly #everyMs: number;
  readonly #looks = new Set<() => Promise<void>>();
  readonly #underWay = new Set<() => Promise<void>>();
  #isArmed = false;

  /** @param everyMs time between two looks at the same thing */
  constructor(clock: Clock, everyMs: number) {
    this.#clock = clock;
    this.#everyMs = everyMs;
  }

  /**
   * Looks every so often until the result is called; the first time may come sooner. A look that takes longer than that is not begun
   * again meanwhile, and holds up no other. It must not reject.
   */
  add(look: () => Promise<void>): () => void {
    this.#looks.add(look);
    this.#arm();
    return () => void this.#looks.delete(look);
  }

  #arm(): void {
    if (this.#isArmed || this.#looks.size === 0) return;
    this.#isArmed = true;
    this.#clock.after(this.#everyMs, () => {
      this.#isArmed = false;
      this.#arm();
      const due = [...this.#looks].filter((look) => !this.#underWay.has(look));
      const lanes = Math.min(LANES, due.length);
      for (let lane = 0; lane < lanes; lane += 1) void this.#goThrough(due);
    });
  }

  // Takes what is left of those that are due, one by one.
  async #goThrough(due: (() => Promise<void>)[]): Promise<void> {
    for (let look = due.pop(); look !== undefined; look = due.pop()) {
      if (!this.#looks.has(look)) continue;
      this.#underWay.add(look);
      await look().finally(() => this.#underWay.delete(look));
    }
  }
}
