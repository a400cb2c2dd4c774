// Tasks that a worker gives back again and again: how long it is offered no more of their kind.
// Kept by each worker session, asked by the claimer. A first return costs nothing, as a worker may drain or be full for a moment;
// one that goes on returning them would otherwise be claimed for as fast as the database can.
// Pure: time comes in.

const REST_MS_MIN = 250;
const REST_MS_MAX = 30_000;

/** Rest in ms after so many returns in a row. */
export function restMs(returns: number): number {
  if (returns <= 1) return 0;
  return Math.min(REST_MS_MAX, REST_MS_MIN * 2 ** (returns - 2));
}

/** See the file header. Routes are the kinds; there are as many as distinct requirements. */
export class Rests {
  readonly #routes = new Map<string, { returns: number; untilMs: number }>();

  /** A task of the route came back unfinished. */
  returned(route: string, nowMs: number): void {
    const returns = (this.#routes.get(route)?.returns ?? 0) + 1;
    this.#routes.set(route, { returns, untilMs: nowMs + restMs(returns) });
  }

  /** A task of the route came to its end. */
  ended(route: string): void {
    this.#routes.delete(route);
  }

  isResting(route: string, nowMs: number): boolean {
    return nowMs < (this.#routes.get(route)?.untilMs ?? nowMs);
  }
}
