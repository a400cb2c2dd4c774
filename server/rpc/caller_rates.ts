// Bounds how often one caller may call, by what its roles allow: the most generous of them counts.
// Owned by rpc_handler.ts through the gate, one a listener of one replica. Callers are told apart by who they are, not by where they call from.

import type { Clock } from "../../kit/clock.ts";
import { DomainError } from "../../kit/errors.ts";
import { KeyedBuckets, type Rate } from "../../kit/token_bucket.ts";
import type { Principal, Role } from "../commands/views.ts";

/** Calls a second of a caller with that role; a role that is not named has the usual rate. */
export type CallRates = Readonly<Partial<Record<Role, number>>>;

const CALLERS_MAX = 10_000;
/** Seconds of its rate that a caller whose role has one of its own may spend at once. */
const BURST_SECONDS = 5;

/** See the file header. */
export class CallerRates {
  readonly #clock: Clock;
  readonly #usual: Rate;
  readonly #rates: CallRates;
  readonly #buckets = new KeyedBuckets(CALLERS_MAX);

  constructor(clock: Clock, usual: Rate, rates: CallRates) {
    this.#clock = clock;
    this.#usual = usual;
    this.#rates = rates;
  }

  /** Counts a call. @throws TOO_MANY with retry_after_ms when the caller calls too often */
  take(principal: Principal): void {
    const nowMs = this.#clock.monotonic();
    const rate = this.#rateOf(principal);
    const bucket = this.#buckets.of(`${principal.method} ${principal.id}`, rate, nowMs);
    if (bucket.take(nowMs)) return;
    const retryAfterMs = Math.ceil(bucket.waitMs(nowMs));
    const message = `${principal.id} calls more often than ${rate.perSecond} times a second: try again in ${retryAfterMs} ms`;
    throw new DomainError("TOO_MANY", message, { retry_after_ms: String(retryAfterMs) });
  }

  #rateOf({ roles, grants = [] }: Principal): Rate {
    const held = [...roles, ...grants.map(({ right }) => right)];
    let most: Rate | undefined;
    for (const role of held) {
      const perSecond = this.#rates[role as Role];
      const rate = perSecond === undefined ? this.#usual : { atOnce: perSecond * BURST_SECONDS, perSecond };
      if (most === undefined || rate.perSecond > most.perSecond) most = rate;
    }
    return most ?? this.#usual;
  }
}
