// The guards of a chaos run: one that saw too little is not green.

import { expect, test } from "vitest";
import { LEASE_TTL_MS, PROFILES, type Profile } from "./profiles.ts";
import { NOT_RUN, summary } from "./summary.ts";

const profile = PROFILES["full"] as Profile;
const races = (times: number): Record<string, [number, number]> => ({ "two joins": [times, times] });
/** A run that saw just what its profile asks for. */
function enough() {
  const { tasks, workerKills, zombies, replicaKills, postgresKills, lostCommitAcks, guards } = profile;
  const measures = {
    ...{ tasks, redispatches: 1, redispatch_p95_ms: LEASE_TTL_MS + 1_000, zombie_reports: guards.zombieReports },
    ...{ takeovers_mid_effect: guards.takeoversMidEffect, unknown_outcomes: guards.unknownOutcomes },
    replays: guards.replays,
    discards: guards.discards,
    operations_before_fault_p50: guards.operationsBeforeFault,
  };
  const deeds = { workerKills, zombies, replicaKills, postgresKills, lostCommitAcks, phases: {}, faults: {} };
  return { measures, deeds, races: races(guards.races) };
}
const unmet = ({ measures, deeds, races: seen }: ReturnType<typeof enough>) =>
  summary({ profile, seed: 1, seconds: 1, races: seen, deeds, verdict: { counts: {}, violations: [], measures } })
    .guards_unmet;

test("a run that saw just enough meets its guards, and names what was not run", () => {
  expect(unmet(enough())).toEqual([]);
  expect(NOT_RUN.every(({ why }) => why.length > 20)).toBe(true);
});

test.each([
  ...(["workerKills", "zombies", "replicaKills", "postgresKills", "lostCommitAcks"] as const).map(
    (name) =>
      [name, (run: ReturnType<typeof enough>) => Object.assign(run.deeds, { [name]: run.deeds[name] - 1 })] as const,
  ),
  ...(
    [
      "tasks",
      "zombie_reports",
      "takeovers_mid_effect",
      "unknown_outcomes",
      "operations_before_fault_p50",
      "replays",
      "discards",
      "redispatches",
    ] as const
  ).map(
    (name) =>
      [
        name,
        (run: ReturnType<typeof enough>) => Object.assign(run.measures, { [name]: run.measures[name] - 1 }),
      ] as const,
  ),
  ["redispatch_p95_ms", (run: ReturnType<typeof enough>) => Object.assign(run.measures, { redispatch_p95_ms: 3_001 })],
  ["races", (run: ReturnType<typeof enough>) => Object.assign(run, { races: races(profile.guards.races - 1) })],
] as const)("one less of %s is a guard unmet", (_name, doctor) => {
  const run = enough();
  doctor(run);
  expect(unmet(run).length).toBeGreaterThan(0);
});
