// Durations as operators write them.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DAY, HOUR, KIB, MIB, MINUTE, parseDuration, SECOND } from "../../kit/units.ts";

test("units are what their names say", () => {
  expect([SECOND, MINUTE, HOUR, DAY]).toEqual([1_000, 60_000, 3_600_000, 86_400_000]);
  expect([KIB, MIB]).toEqual([1_024, 1_048_576]);
});

describe("parseDuration", () => {
  test.each([
    ["500ms", 500],
    ["30s", 30_000],
    ["15m", 900_000],
    ["2h", 7_200_000],
    ["90d", 7_776_000_000],
    ["0s", 0],
    ["007s", 7_000],
    ["999999999ms", 999_999_999],
  ])("%s is %d ms", (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  test.each([
    "",
    "5",
    "s",
    "ms",
    "-5s",
    "+5s",
    "1.5s",
    "1e3s",
    " 5s",
    "5s ",
    "5s\n",
    "5 s",
    "5S",
    "5M",
    "1h30m",
    "5w",
    "5y",
    "1000000000ms",
    "٥s",
    "0x5s",
    "5__proto__",
  ])("%j is not a duration", (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });

  test("of any text gives undefined or a whole, finite number that is not negative", () => {
    const almost = fc
      .tuple(fc.nat().map(String), fc.constantFrom("ms", "s", "m", "h", "d", "w", ""))
      .map((p) => p.join(""));
    fc.assert(
      fc.property(fc.oneof(almost, fc.string()), (text) => {
        const ms = parseDuration(text);
        if (ms !== undefined) expect(Number.isInteger(ms) && ms >= 0).toBe(true);
      }),
    );
  });
});
