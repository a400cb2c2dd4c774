// Windows of policies: cron fields, half-open ends, durations over days, and daylight saving in several zones.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseCron } from "../../language/cron.ts";
import { compileWindow, type WindowText } from "../../language/time_window.ts";
import { timeZone } from "../../language/time_zone.ts";

function contains(window: WindowText, instant: string): boolean {
  const compiled = compileWindow(window);
  if (!compiled.ok) throw new Error(compiled.error);
  return compiled.value.contains(Date.parse(instant));
}

const daily = (cron: string, duration: string, zone = "UTC"): WindowText => ({ cron, duration, timeZone: zone });

describe("a recurring window", () => {
  const office = daily("0 9 * * mon-fri", "8h", "Europe/Prague");
  const rows: [string, WindowText, string, boolean][] = [
    ["the last moment before it", office, "2026-01-05T07:59:59.999Z", false],
    ["its first moment", office, "2026-01-05T08:00:00Z", true],
    ["its last moment", office, "2026-01-05T15:59:59.999Z", true],
    ["the moment it ends", office, "2026-01-05T16:00:00Z", false],
    ["summer, an hour earlier in UTC", office, "2026-07-06T07:00:00Z", true],
    ["summer, after it", office, "2026-07-06T15:00:00Z", false],
    ["a Saturday", office, "2026-01-03T10:00:00Z", false],
    ["midnight inside a night window", daily("0 22 * * *", "8h"), "2026-01-05T00:00:00Z", true],
    ["the sixth day of a week's window", daily("0 0 * * sun", "6d"), "2026-01-09T23:59:59Z", true],
    ["the seventh day of it", daily("0 0 * * 7", "6d"), "2026-01-10T00:00:00Z", false],
    ["thirty days after a monthly fire", daily("0 0 1 * *", "31d"), "2026-01-31T12:00:00Z", true],
    ["a leap day", daily("0 0 29 2 *", "1d"), "2028-02-29T12:00:00Z", true],
    ["a year without that day", daily("0 0 29 2 *", "1d"), "2027-03-01T00:00:00Z", false],
    ["either day field", daily("0 0 13 * fri", "1d"), "2026-01-09T12:00:00Z", true],
    ["neither day field", daily("0 0 13 * fri", "1d"), "2026-01-12T12:00:00Z", false],
    ["steps", daily("*/20 8-10/2 * * *", "5m"), "2026-01-05T10:44:00Z", true],
    ["between steps", daily("*/20 8-10/2 * * *", "5m"), "2026-01-05T09:21:00Z", false],
    // Prague: 2026-03-29 02:00 → 03:00, 2026-10-25 03:00 → 02:00.
    [
      "the first instant after a skipped hour",
      daily("30 2 * * *", "1h", "Europe/Prague"),
      "2026-03-29T01:00:00Z",
      true,
    ],
    ["the instant before it", daily("30 2 * * *", "1h", "Europe/Prague"), "2026-03-29T00:59:59Z", false],
    ["an hour after the skipped one", daily("30 2 * * *", "1h", "Europe/Prague"), "2026-03-29T02:00:00Z", false],
    ["the first of two equal hours", daily("30 2 * * *", "30m", "Europe/Prague"), "2026-10-25T00:30:00Z", true],
    ["the second of two equal hours", daily("30 2 * * *", "30m", "Europe/Prague"), "2026-10-25T01:30:00Z", false],
    ["elapsed time over the repeated hour", daily("30 2 * * *", "90m", "Europe/Prague"), "2026-10-25T01:59:59Z", true],
    ["elapsed time, not wall time", daily("30 2 * * *", "90m", "Europe/Prague"), "2026-10-25T02:00:00Z", false],
    // Lord Howe sets its clocks by half an hour: 2026-10-04 02:00 → 02:30.
    ["half an hour skipped", daily("15 2 * * *", "10m", "Australia/Lord_Howe"), "2026-10-03T15:30:00Z", true],
    ["New York in summer", daily("0 17 * * *", "1h", "America/New_York"), "2026-07-01T21:00:00Z", true],
  ];
  test.each(rows)("at %s", (_name, window, instant, inside) => {
    expect(contains(window, instant)).toBe(inside);
  });

  test("answers the same in any order of instants", () => {
    const compiled = compileWindow(daily("0 9 * * *", "8h", "Europe/Prague"));
    if (!compiled.ok) throw new Error(compiled.error);
    const instants = fc.array(fc.integer({ min: 1_700_000_000_000, max: 1_900_000_000_000 }), { maxLength: 8 });
    fc.assert(
      fc.property(instants, (times) => {
        for (const time of times) {
          const wall = timeZone("Europe/Prague")?.wallAt(time) ?? 0;
          const hour = new Date(wall).getUTCHours();
          expect(compiled.value.contains(time)).toBe(hour >= 9 && hour < 17);
        }
      }),
    );
  });

  test("throws for what is no time, so that a policy has no answer", () => {
    const compiled = compileWindow(office);
    expect(compiled.ok && (() => compiled.value.contains(Number.NaN))).toThrow(RangeError);
  });
});

test("a wall clock and its instant are inverse where the wall clock shows every time once", () => {
  for (const name of ["UTC", "Asia/Kathmandu", "America/St_Johns", "Pacific/Apia"]) {
    const zone = timeZone(name);
    fc.assert(
      fc.property(fc.integer({ min: 1_325_000_000_000, max: 1_900_000_000_000 }), (instant) => {
        const wall = zone?.wallAt(instant) ?? Number.NaN;
        const first = zone?.instantOf(wall) ?? Number.NaN;
        expect(zone?.wallAt(first)).toBe(wall);
        expect(first).toBeLessThanOrEqual(instant);
      }),
      { numRuns: 200 },
    );
  }
});

test("words that are no cron, zone, duration or time are refused by the member that is wrong", () => {
  const wrong = (window: WindowText) => {
    const compiled = compileWindow(window);
    return compiled.ok ? "nothing" : compiled.member;
  };
  for (const cron of [
    "",
    "* * * *",
    "60 * * * *",
    "* 5-3 * * *",
    "*/0 * * * *",
    "* * 0 * *",
    "* * * foo *",
    "* * * * 8",
  ])
    expect(wrong(daily(cron, "1h")), cron).toBe("cron");
  for (const duration of ["", "0h", "30s", "32d", "forever"])
    expect(wrong(daily("0 9 * * *", duration))).toBe("duration");
  for (const zone of ["", "Mars/Base", "+02:00", "Europe Prague"])
    expect(wrong(daily("0 9 * * *", "1h", zone)), zone).toBe("timeZone");
  expect(wrong({ from: "yesterday", to: "2026-01-01T00:00:00Z" })).toBe("from");
  expect(wrong({ from: "2026-01-01T00:00:00", to: "2026-01-01T00:00:00Z" })).toBe("from");
  expect(wrong({ from: "2026-01-01T00:00:00Z", to: "2026-13-01T00:00:00Z" })).toBe("to");
  expect(wrong({ from: "2026-01-01T00:00:00Z", to: "2026-01-01T00:00:00Z" })).toBe("to");
  expect(parseCron("0 9 * * MON-FRI").ok).toBe(true);
});
