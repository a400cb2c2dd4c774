// The endpoint that tools call, outside of everything that is tested: it counts effects itself, and is the ground truth.
// It honours idempotency keys: a request sent again with the key of one that had its effect gets the first answer.

export interface Effect {
  readonly request: string;
  readonly grant: string;
  readonly tool: string;
  readonly arg: number;
}

/** What a caller hears. */
export type Heard = { readonly ok: true; readonly value: string } | { readonly ok: false; readonly ambiguous: boolean };

export class Sink {
  /** Effects that happened, by request id. */
  readonly effects = new Map<string, Effect[]>();
  /** An effect of a write that happened oftener than it may. */
  repeated: Effect | undefined;
  readonly #allowed = new Map<string, number>();
  readonly #answers = new Map<string, string>();
  #values = 0;

  /** A person lets a request have its effect once more: a holder that was thought lost may still have it, too. */
  allowAgain(request: string): void {
    this.#allowed.set(request, (this.#allowed.get(request) ?? 1) + 1);
  }

  /** A call arrives. how: 0..4 works, 5 fails before its effect and says so, 6 works and the answer is lost, 7 is lost on the way. */
  call(effect: Effect, how: number): Heard {
    if (how === 5) return { ok: false, ambiguous: false };
    if (how === 7) return { ok: false, ambiguous: true };
    let value = effect.tool === "rewrite" ? this.#answers.get(effect.request) : undefined;
    if (value === undefined) {
      this.#values += 1;
      value = `v${this.#values}`;
      const happened = this.effects.get(effect.request);
      if (happened === undefined) this.effects.set(effect.request, [effect]);
      else {
        happened.push(effect);
        const isMore = happened.length > (this.#allowed.get(effect.request) ?? 1);
        if (effect.tool !== "look" && isMore) this.repeated ??= effect;
      }
      this.#answers.set(effect.request, value);
    }
    return how === 6 ? { ok: false, ambiguous: true } : { ok: true, value };
  }
}
