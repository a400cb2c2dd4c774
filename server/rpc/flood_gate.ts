// Lets a peer back in slowly whose connection has just been ended for a flood: its next connections are looked at one after the other.
// Without that, who floods opens the next connection at once, and what the server allows a connection to do it allows without end.
// Asked by connections.ts for every new connection of a port; others wait for nothing. Each replica, and each port, for itself.

import type { Clock } from "../../kit/clock.ts";
import { TokenBucket } from "../../kit/token_bucket.ts";
import { type RpcLimits, rateOf } from "./limits.ts";
import { peerGroup } from "./peer_group.ts";

const PEERS_MAX = 10_000;

interface Flooder {
  readonly connections: TokenBucket;
  /** On the monotonic clock: it is like others then. */
  readonly untilMs: number;
}

/** See the file header. */
export class FloodGate {
  readonly #clock: Clock;
  readonly #limits: RpcLimits;
  /** By peer, the one that flooded last at the end. */
  readonly #flooders = new Map<string, Flooder>();

  constructor(clock: Clock, limits: RpcLimits) {
    this.#clock = clock;
    this.#limits = limits;
  }

  /** A connection of that address was ended for a flood. */
  flooded(address: string): void {
    const peer = peerGroup(address);
    const nowMs = this.#clock.monotonic();
    const connections =
      this.#of(peer, nowMs)?.connections ?? new TokenBucket(rateOf(this.#limits, "flooderConnection"), nowMs);
    this.#flooders.delete(peer);
    if (this.#flooders.size >= PEERS_MAX) this.#flooders.delete(this.#flooders.keys().next().value as string);
    this.#flooders.set(peer, { connections, untilMs: nowMs + this.#limits.flooderMs });
  }

  /** When a new connection of that address may be looked at, in ms from now; undefined: never, it is one too many. */
  waitMs(address: string): number | undefined {
    const nowMs = this.#clock.monotonic();
    const flooder = this.#of(peerGroup(address), nowMs);
    if (flooder === undefined) return 0;
    return flooder.connections.waitMs(nowMs) > this.#limits.flooderWaitMs ? undefined : flooder.connections.owe(nowMs);
  }

  #of(peer: string, nowMs: number): Flooder | undefined {
    const flooder = this.#flooders.get(peer);
    if (flooder === undefined || flooder.untilMs > nowMs) return flooder;
    this.#flooders.delete(peer);
    return undefined;
  }
}
