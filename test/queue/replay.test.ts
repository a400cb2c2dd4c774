// What stands against a replay, row by row.

import { expect, test } from "vitest";
import { type LineageCall, refuseReplay } from "../../server/queue/replay.ts";

const call = (state: LineageCall["state"], effect = "write"): LineageCall => ({
  ...{ requestId: `auto:task_1/1/${state}`, tool: "pay", state, effect },
});
const PLAIN = { anew: false, repeatEffects: false, results: new Set<string>() };

test.each([
  ["nothing on record", [], PLAIN, undefined],
  ["a result on record", [call("done")], PLAIN, undefined],
  ["a failure on record", [call("failed")], PLAIN, undefined],
  ["a read that was under way", [call("granted", "read")], PLAIN, undefined],
  ["a write of unknown outcome", [call("unknown")], PLAIN, "outcome_unknown"],
  ["a write that was granted and never answered", [call("granted")], PLAIN, "outcome_unknown"],
  ["the same, when it may be repeated", [call("unknown")], { ...PLAIN, repeatEffects: true }, undefined],
  [
    "the same, with its result told",
    [call("unknown")],
    { ...PLAIN, results: new Set(["auto:task_1/1/unknown"]) },
    undefined,
  ],
  [
    "a result told of a call that is known",
    [call("done")],
    { ...PLAIN, results: new Set(["auto:task_1/1/done"]) },
    "not_unknown",
  ],
  ["a result told of no call", [], { ...PLAIN, results: new Set(["x"]) }, "not_unknown"],
  ["anew, with a write on record", [call("done")], { ...PLAIN, anew: true }, "effects_recorded"],
  ["anew, with a write of unknown outcome", [call("unknown")], { ...PLAIN, anew: true }, "effects_recorded"],
  ["anew, with a read on record", [call("done", "read")], { ...PLAIN, anew: true }, undefined],
  ["anew, with a write that failed for sure", [call("failed")], { ...PLAIN, anew: true }, undefined],
  [
    "anew, when effects may be repeated",
    [call("done")],
    { anew: true, repeatEffects: true, results: new Set<string>() },
    undefined,
  ],
] as const)("%s", (_what, calls, request, refusal) => {
  expect(refuseReplay(calls, request)?.type).toBe(refusal);
});
