// A short hostile run with every commit; `npm run hostile` is the long one. What got through, or left no record, is named.

import { expect, test } from "vitest";
import { Cleanup } from "../../demo/fleet.ts";
import { systemClock } from "../../kit/clock.ts";
import { atEndOfFile } from "../harness/cleanup.ts";
import { testDatabase } from "../harness/database.ts";
import { campaign, type Verdict } from "./campaign.ts";
import { isSound } from "./verdict.ts";

test("hundreds of lies of worker clients have no effect and are all on record, and honest workers finish their runs", {
  timeout: 240_000,
}, async () => {
  const cleanup = new Cleanup();
  atEndOfFile(() => cleanup.run());
  const env = { ORLOJ_DATABASE_URL: (await testDatabase()).url };
  const verdict = await campaign(500, systemClock(), cleanup, env);
  await cleanup.run();
  expect(verdict.problems).toEqual([]);
  expect(verdict).toMatchObject({ effects: 0, accepted: 0, accepted_twice: 0, audited: verdict.attempts });
  expect(isSound(verdict)).toBe(true);
  expect(Object.keys(verdict.by_kind).length).toBeGreaterThan(45);
});

test("a run is not sound when anything got through, is not on record, or when nothing right was done beside it", () => {
  const sound: Verdict = {
    ...{ attempts: 10, effects: 0, accepted: 0, audited: 10, by_kind: {}, replays: 5, accepted_twice: 0, problems: [] },
    legit: { runs: 1, turns: 1, grants: 1, results: 1, outcomes: 1 },
    honest: { runs: 1, succeeded: 1 },
  };
  expect(isSound(sound)).toBe(true);
  for (const broken of [
    { effects: 1 },
    { accepted: 1 },
    { audited: 9 },
    { accepted_twice: 1 },
    { problems: ["a result is refused"] },
    { legit: { ...sound.legit, grants: 0 } },
    { honest: { runs: 2, succeeded: 1 } },
    { honest: { runs: 0, succeeded: 0 } },
  ]) {
    expect(isSound({ ...sound, ...broken })).toBe(false);
  }
});
