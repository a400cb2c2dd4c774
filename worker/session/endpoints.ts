// In which order a worker tries its endpoints, and when it goes back to the one that is its own.
// Owned by session.ts. Every worker has an order of its own, by chance, so that a fleet spreads over the endpoints; what one endpoint
// loses comes to all others alike, and comes back one by one, each worker at a time of its own.

import type { Random } from "../../kit/random.ts";
import { MINUTE } from "../../kit/units.ts";

/** Wait before the first try to go back, and the longest one, in ms; each is taken by half more or less. */
const RETURN_MS = 1 * MINUTE;
const RETURN_MS_MAX = 15 * MINUTE;

/** See the file header. */
export class Endpoints {
  readonly #order: readonly string[];
  readonly #random: Random;
  #at = 0;
  #failedReturns = 0;

  /** @param endpoints host:port, at least one. */
  constructor(endpoints: readonly string[], random: Random) {
    this.#random = random;
    this.#order = shuffled([...new Set(endpoints)], random);
  }

  /** How many there are. */
  get size(): number {
    return this.#order.length;
  }

  /** The endpoint whose turn it is. */
  get current(): string {
    return this.#order[this.#at % this.#order.length] as string;
  }

  /** The endpoint that is this worker's own: the first of its order. */
  get own(): string {
    return this.#order[0] as string;
  }

  /** The next one's turn. */
  next(): string {
    this.#at += 1;
    return this.current;
  }

  /** The server at that endpoint took the worker in. */
  reached(endpoint: string): void {
    this.#at = this.#order.indexOf(endpoint);
    if (this.#at === 0) this.#failedReturns = 0;
  }

  /** A try to go back was in vain: the next one waits twice as long. */
  returnFailed(): void {
    this.#failedReturns += 1;
  }

  /** Time until the next try to go back, in ms; undefined when the worker is there. */
  returnMs(): number | undefined {
    if (this.current === this.own) return undefined;
    const boundMs = Math.min(RETURN_MS_MAX, RETURN_MS * 2 ** Math.min(this.#failedReturns, 30));
    return Math.round(boundMs * (0.5 + this.#random.next()));
  }
}

/** The items in an order by chance. */
export function shuffled<Item>(items: readonly Item[], random: Random): Item[] {
  return items
    .map((item) => ({ item, key: random.next() }))
    .sort((a, b) => a.key - b.key)
    .map(({ item }) => item);
}
