// How much is broken in one run, and what the run must have seen to mean anything.
// Read by main.ts. Counts are minimums: a run goes on until each is reached, or its time is over, which is a guard unmet.

/** One profile. */
export interface Profile {
  readonly name: string;
  /** Tasks with tools that must have ended. */
  readonly tasks: number;
  /** Workers ended by SIGKILL. */
  readonly workerKills: number;
  /** Workers stopped beyond their lease and woken after others took over. */
  readonly zombies: number;
  readonly replicaKills: number;
  readonly postgresKills: number;
  /** COMMITs whose answer was lost. */
  readonly lostCommitAcks: number;
  /** Partitions, half-open links, resets, slow links: one of each kind a round. */
  readonly networkRounds: number;
  readonly guards: {
    /** Times that each named race is forced in each order. */
    readonly races: number;
    /** Median of the facts acknowledged in the second before a fault: a system at rest proves nothing. */
    readonly operationsBeforeFault: number;
    readonly zombieReports: number;
    readonly takeoversMidEffect: number;
    readonly unknownOutcomes: number;
    /** Dead letters that were replayed after the faults. */
    readonly replays: number;
    /** Those that were given up. */
    readonly discards: number;
  };
  /** The run gives up beyond it, in ms. */
  readonly timeMsMax: number;
}

const MINUTE = 60_000;

/** Every profile by name. */
export const PROFILES: Readonly<Record<string, Profile>> = {
  /** In CI: a few minutes. */
  ci: {
    ...{
      name: "ci",
      tasks: 3_000,
      workerKills: 60,
      zombies: 20,
      replicaKills: 10,
      postgresKills: 5,
      lostCommitAcks: 20,
    },
    networkRounds: 1,
    guards: {
      races: 1,
      operationsBeforeFault: 50,
      zombieReports: 20,
      takeoversMidEffect: 20,
      unknownOutcomes: 1,
      replays: 1,
      discards: 1,
    },
    timeMsMax: 8 * MINUTE,
  },
  /** Before a release: most of an hour. */
  full: {
    ...{ name: "full", tasks: 50_000, workerKills: 700, zombies: 300, replicaKills: 200, postgresKills: 100 },
    ...{ lostCommitAcks: 1_000, networkRounds: 10 },
    guards: {
      races: 20,
      operationsBeforeFault: 50,
      zombieReports: 50,
      takeoversMidEffect: 20,
      unknownOutcomes: 1,
      replays: 10,
      discards: 10,
    },
    timeMsMax: 100 * MINUTE,
  },
  /** While working on the harness itself. */
  try: {
    ...{ name: "try", tasks: 200, workerKills: 4, zombies: 2, replicaKills: 1, postgresKills: 1, lostCommitAcks: 2 },
    networkRounds: 1,
    guards: {
      races: 1,
      operationsBeforeFault: 1,
      zombieReports: 1,
      takeoversMidEffect: 1,
      unknownOutcomes: 0,
      replays: 0,
      discards: 0,
    },
    timeMsMax: 3 * MINUTE,
  },
};

/** Lease length of every chaos run, in ms. */
export const LEASE_TTL_MS = 2_000;
