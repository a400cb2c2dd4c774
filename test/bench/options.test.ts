// What `npm run bench` takes and refuses.

import { expect, test } from "vitest";
import { readOptions, SUITES, type SuiteName } from "../../bench/options.ts";

test("without options it is noop, one round, without other engines", () => {
  expect(readOptions([])).toMatchObject({ suite: "noop", rounds: 1, peers: false, inFlight: 50, json: false });
});

test("with other engines there are five rounds, unless it is told", () => {
  expect(readOptions(["--peers"])).toMatchObject({ peers: true, rounds: 5 });
  expect(readOptions(["--peers", "--rounds", "2"])).toMatchObject({ rounds: 2 });
});

test("lists are read, and an empty database is a stage", () => {
  expect(readOptions(["--suite", "growth", "--finished", "0,200"])).toMatchObject({ finished: [0, 200] });
  expect(readOptions(["--suite", "scale", "--replicas", "1,2"])).toMatchObject({ replicas: [1, 2] });
});

test("help is no settings", () => {
  expect(readOptions(["-h"])).toBeUndefined();
});

test.each([
  [["--suite", "nop"], '--suite: "nop" is none of noop, steps3, tools, '],
  [["--suite", "constructor"], '--suite: "constructor" is none of'],
  [["--runs", "many"], '--runs: "many" is not a whole number from 1 to 10000000'],
  [["--runs", "0"], '--runs: "0" is not a whole number'],
  [["--runs", "-1"], "--runs"],
  [["--in-flight", "1001"], '--in-flight: "1001" is not a whole number from 1 to 1000'],
  [["--suite", "growth", "--finished", "0,,5"], '--finished: "" is not a whole number from 0 to'],
  [["--suite", "scale", "--replicas", "0"], '--replicas: "0" is not a whole number from 1 to 9'],
  [["--suite", "idle", "--peers"], "--peers: the suite idle does not look at it; it takes --workers, --seconds"],
  [["--suite", "decide", "--runs", "5"], "--runs: the suite decide does not look at it; it takes --samples"],
  [["--fast"], "Unknown option '--fast'"],
  [["noop"], "Unexpected argument 'noop'"],
])("%j is refused", (args, message) => {
  expect(() => readOptions(args)).toThrow(message);
});

test("every suite has settings for what it is asked", () => {
  for (const suite of Object.keys(SUITES) as SuiteName[]) expect(readOptions(["--suite", suite])?.suite).toBe(suite);
});
