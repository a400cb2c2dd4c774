// Judges a hostile run. Called by main.ts and the test.

import type { Verdict } from "./campaign.ts";

/** True if nothing got through, everything is on record, and everything right succeeded. */
export function isSound(verdict: Verdict): boolean {
  const { attempts, audited, effects, accepted, accepted_twice: twice, legit, honest, problems } = verdict;
  const closed = effects === 0 && accepted === 0 && twice === 0 && audited === attempts && problems.length === 0;
  // Not vacuous: the same clients got what they had a right to, and others worked on beside them.
  const right = legit.grants > 0 && legit.results > 0 && legit.outcomes > 0;
  return closed && right && honest.succeeded > 0 && honest.succeeded === honest.runs;
}
