// What counters and histograms keep, and that a reader of the exposition format reads back what was meant.

import { describe, expect, test } from "vitest";
import { Counter, exposition, gauge, Histogram, OTHER, SERIES_MAX } from "../../kit/metrics.ts";
import { parseScrape } from "../harness/scrape.ts";

const HOSTILE = 'a"b\\c\nd{}=,\u0000 é';

describe("exposition", () => {
  test("labels with quotes, backslashes, line feeds and braces are read back as they were", () => {
    const counter = new Counter("hits_total", "Hits \\ of\nall.", ["path"]);
    counter.add([HOSTILE], 3);
    const read = parseScrape(exposition([counter.family()]));
    expect(read.samples).toEqual([{ name: "hits_total", labels: { path: HOSTILE }, value: 3 }]);
    expect(read.text.split("\n")[0]).toBe("# HELP hits_total Hits \\\\ of\\nall.");
  });

  test("a histogram has cumulative buckets that end with all of its values", () => {
    const histogram = new Histogram("seconds", "Time.", [0.1, 1]);
    for (const value of [0.05, 0.1, 0.5, 7]) histogram.observe(value, { kind: "x" });
    const read = parseScrape(exposition([histogram.family()]));
    const bucket = (le: string) => read.value("seconds_bucket", { kind: "x", le });
    expect([bucket("0.1"), bucket("1"), bucket("+Inf")]).toEqual([2, 3, 4]);
    expect([read.value("seconds_count"), read.value("seconds_sum")]).toEqual([4, 7.65]);
  });

  test("families without samples are named, and a counter without labels begins with 0", () => {
    const families = [new Counter("a_total", "A.", ["x"]).family(), new Counter("b_total", "B.", []).family()];
    const read = parseScrape(exposition([...families, gauge("c", "C.", 2)]));
    expect(Object.fromEntries(read.types)).toEqual({ a_total: "counter", b_total: "counter", c: "gauge" });
    expect(read.samples.map(({ name, value }) => [name, value])).toEqual([
      ["b_total", 0],
      ["c", 2],
    ]);
  });
});

test("a full counter keeps its closed labels apart and counts new values of open ones as one", () => {
  const counter = new Counter("ends_total", "Ends.", ["namespace", "state"], new Set(["namespace"]));
  for (let index = 0; index < SERIES_MAX; index += 1) counter.add([`ns${index}`, "done"]);
  for (let index = 0; index < 1_000; index += 1) counter.add([`later${index}`, index % 2 === 0 ? "done" : "failed"]);
  counter.add(["ns0", "done"]);
  const read = parseScrape(exposition([counter.family()]));
  expect(read.samples).toHaveLength(SERIES_MAX + 2);
  expect(read.value("ends_total", { namespace: OTHER, state: "done" })).toBe(500);
  expect(read.value("ends_total", { namespace: OTHER, state: "failed" })).toBe(500);
  expect(read.value("ends_total", { namespace: "ns0" })).toBe(2);
  expect(read.value("ends_total")).toBe(SERIES_MAX + 1_001);
});

test("values that are alike once they are shortened are one series, which a scrape names once", () => {
  const counter = new Counter("fails_total", "Failures.", ["class"], new Set(["class"]));
  for (const end of ["a", "b", "a"]) counter.add([`${"x".repeat(200)}${end}`]);
  for (const surrogate of ["\ud800", "\udbff"]) counter.add([surrogate]);
  const read = parseScrape(exposition([counter.family()]));
  expect(read.samples.map(({ value }) => value)).toEqual([3, 2]);
});
