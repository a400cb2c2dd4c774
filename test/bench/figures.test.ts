// Medians, percentiles, slopes, and the table that sets engines side by side.

import { expect, test } from "vitest";
import { failuresIn, tableOf } from "../../bench/comparison_table.ts";
import { median, slopeOf, timesOf } from "../../bench/figures.ts";

test("a median is the middle one, or the mean of the two middle ones", () => {
  expect([median([3]), median([9, 1, 5]), median([4, 1, 2, 30])]).toEqual([3, 5, 3]);
  expect(() => median([])).toThrow("no median");
});

test("times are the half and the hundredth", () => {
  expect(timesOf(Array.from({ length: 100 }, (_, index) => index + 0.25))).toEqual({ p50: 50.3, p99: 99.3 });
});

test("a slope is how much a line grows", () => {
  expect(slopeOf([0, 1, 2, 3].map((x) => ({ x, y: 10 + 2 * x })))).toBeCloseTo(2);
  expect(slopeOf([{ x: 1, y: 5 }])).toBe(0);
});

test("ours and the others stand side by side; alone there is no table", () => {
  const ours = { runs_per_s: 2_000 };
  expect([...tableOf({ ours }), ...failuresIn({ ours })]).toEqual([]);
  const peers = { "pg-boss": { version: "1.2.3", runs_per_s: 800 }, dbos: { version: "4.5", failed: "too late" } };
  const lines = tableOf({ ours, peers, ratios: { "pg-boss": 2.5 }, raw_limit: { tasks_per_s: 8_000, ours: 0.25 } });
  expect(lines.map((line) => line.split(/ {2,}/))).toEqual([
    ["", "runs/s", "ours is"],
    ["ours", "2000"],
    ["pg-boss 1.2.3", "800", "2.5 ×"],
    ["dbos 4.5", "failed"],
    ["raw limit, tasks/s", "8000", "0.25 of it"],
  ]);
  expect(failuresIn({ ours, peers })).toEqual(["dbos failed: too late"]);
});
