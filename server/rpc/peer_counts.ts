// Counts what is open by peer, within a total and a share of each peer: connections in connections.ts, calls in calls.ts.
// Never waits: what is over is refused.

import { peerGroup } from "./peer_group.ts";

/** Why something is not taken in: everybody's together, or the peer's own, are too many. */
export type TooMany = "in all" | "of one peer";

/** See the file header. */
export class PeerCounts {
  readonly #max: number;
  readonly #perPeerMax: number;
  readonly #open = new Map<string, number>();
  #total = 0;

  constructor(max: number, perPeerMax: number) {
    this.#max = max;
    this.#perPeerMax = perPeerMax;
  }

  /** Counts one more of a peer, unless that is too many. Whoever counted one calls leave once. */
  enter(address: string): TooMany | undefined {
    const tooMany = this.full(address);
    if (tooMany !== undefined) return tooMany;
    const peer = peerGroup(address);
    this.#open.set(peer, (this.#open.get(peer) ?? 0) + 1);
    this.#total += 1;
    return undefined;
  }

  /** Why one more of a peer would be too many; undefined: it would not. */
  full(address: string): TooMany | undefined {
    if (this.#total >= this.#max) return "in all";
    return (this.#open.get(peerGroup(address)) ?? 0) >= this.#perPeerMax ? "of one peer" : undefined;
  }

  /** One that was counted is gone. */
  leave(address: string): void {
    const peer = peerGroup(address);
    const own = (this.#open.get(peer) ?? 0) - 1;
    if (own > 0) this.#open.set(peer, own);
    else this.#open.delete(peer);
    this.#total -= 1;
  }
}
