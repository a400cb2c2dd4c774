// The one JSON object that a chaos run ends with, and the guards: a run that saw too little proves nothing.
// Called by main.ts. Pure.

import type { CampaignDeeds } from "./campaign.ts";
import { LEASE_TTL_MS, type Profile } from "./profiles.ts";

/** Faults of the plan that this harness does not do, and why: never counted as passed. */
export const NOT_RUN: readonly { readonly fault: string; readonly why: string }[] = [
  { fault: "F6", why: "a failover needs a standby: pg_basebackup is not among the embedded programs" },
  { fault: "F9", why: "clocks are moved by libfaketime, which is not required here; the simulation moves them" },
  { fault: "F10", why: "a full disk needs a file system of its own, and so root" },
  { fault: "F13", why: "a tool runs outside the loop of its worker; a stopped loop is what a frozen worker has (F2)" },
  { fault: "F14", why: "there is one build: mixed versions need two" },
];

/** Everything that a run is told by. */
export interface Told {
  readonly profile: Profile;
  readonly seed: number;
  readonly seconds: number;
  readonly races: Readonly<Record<string, readonly [number, number]>>;
  readonly deeds: CampaignDeeds;
  readonly verdict: {
    readonly counts: Readonly<Record<string, number>>;
    readonly violations: readonly object[];
    readonly measures: Readonly<Record<string, unknown>>;
  };
}

/** See the file header. */
export function summary({ profile, seed, seconds, races, deeds, verdict }: Told) {
  const measures = verdict.measures as Record<string, number>;
  return {
    profile: profile.name,
    tasks: measures["tasks"] ?? 0,
    worker_kills: deeds.workerKills,
    zombies: deeds.zombies,
    replica_kills: deeds.replicaKills,
    postgres_kills: deeds.postgresKills,
    lost_commit_acks: deeds.lostCommitAcks,
    ...verdict.counts,
    ...verdict.measures,
    phases: deeds.phases,
    races,
    faults: deeds.faults,
    faults_not_run: NOT_RUN,
    guards_unmet: unmet(profile, measures, races, deeds),
    seed,
    seconds,
  };
}

function unmet(
  profile: Profile,
  measures: Readonly<Record<string, number>>,
  races: Readonly<Record<string, readonly [number, number]>>,
  deeds: CampaignDeeds,
): string[] {
  const needed: Readonly<Record<string, readonly [number, number]>> = {
    tasks: [measures["tasks"] ?? 0, profile.tasks],
    worker_kills: [deeds.workerKills, profile.workerKills],
    zombies: [deeds.zombies, profile.zombies],
    replica_kills: [deeds.replicaKills, profile.replicaKills],
    postgres_kills: [deeds.postgresKills, profile.postgresKills],
    lost_commit_acks: [deeds.lostCommitAcks, profile.lostCommitAcks],
    zombie_reports: [measures["zombie_reports"] ?? 0, profile.guards.zombieReports],
    takeovers_mid_effect: [measures["takeovers_mid_effect"] ?? 0, profile.guards.takeoversMidEffect],
    unknown_outcomes: [measures["unknown_outcomes"] ?? 0, profile.guards.unknownOutcomes],
    replays: [measures["replays"] ?? 0, profile.guards.replays],
    discards: [measures["discards"] ?? 0, profile.guards.discards],
    operations_before_fault_p50: [measures["operations_before_fault_p50"] ?? 0, profile.guards.operationsBeforeFault],
    redispatches: [measures["redispatches"] ?? 0, 1],
  };
  const short = Object.entries(needed).flatMap(([name, [had, least]]) =>
    had >= least ? [] : [`${name}: ${had} of ${least}`],
  );
  const p95 = measures["redispatch_p95_ms"] ?? 0;
  const slow = p95 > LEASE_TTL_MS + 1_000 ? [`redispatch_p95_ms: ${p95}, more than the lease and a second`] : [];
  const unseen = Object.entries(races).flatMap(([race, orders]) =>
    orders.flatMap((count, order) =>
      count >= profile.guards.races ? [] : [`race ${race}, order ${order}: ${count} of ${profile.guards.races}`],
    ),
  );
  return [...short, ...slow, ...unseen];
}
