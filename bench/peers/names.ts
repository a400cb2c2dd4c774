// The other engines that ours is compared with, the packages that they are, and the shapes of work that they are given.
// Read by the driver (peer_rounds.ts) and by the program that runs one of them (main.ts); knows none of their packages.

/** A durable no-op, or three durable steps of nothing, each on record before the next one. */
export type PeerShape = "noop" | "steps3";

/** Peers by name: the package, and the shapes that it has. Queues have no steps. */
export const PEERS = {
  "dbos-queue": { package: "@dbos-inc/dbos-sdk", shapes: ["noop", "steps3"] },
  "dbos-in-process": { package: "@dbos-inc/dbos-sdk", shapes: ["noop", "steps3"] },
  "graphile-worker": { package: "graphile-worker", shapes: ["noop"] },
  "graphile-worker-batched": { package: "graphile-worker", shapes: ["noop"] },
  "pg-boss": { package: "pg-boss", shapes: ["noop"] },
} as const satisfies Readonly<Record<string, { readonly package: string; readonly shapes: readonly PeerShape[] }>>;

/** Name of a peer. */
export type PeerName = keyof typeof PEERS;

/** What a peer is told to do. */
export interface PeerWork {
  readonly peer: PeerName;
  readonly shape: PeerShape;
  readonly runs: number;
  /** Runs before the measured ones. */
  readonly warmUp: number;
  /** Additions under way at the same time, and what its worker does at the same time. */
  readonly inFlight: number;
  /** Until it has to be done with all of it, from the start of its process. */
  readonly secondsMax: number;
}

/** What it says about it, as the last line on standard output; with exit code 1 if it failed. */
export type PeerResult =
  | {
      readonly runs: number;
      /** From the first addition until all runs are durably done. */
      readonly seconds: number;
    }
  | {
      /** Why it did not do what it was told. */
      readonly failed: string;
    };
