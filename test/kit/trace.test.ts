// Trace ids: what is taken from a header, and what stands in for it.

import { expect, test } from "vitest";
import { traceIdIn, traceIdOf } from "../../kit/trace.ts";

const ID = "4bf92f3577b34da6a3ce929d0e0e4736";

test("a trace id is taken from a traceparent of any version, and from nothing else", () => {
  expect(traceIdIn(`00-${ID}-00f067aa0ba902b7-01`)).toBe(ID);
  expect(traceIdIn(`cc-${ID}-00f067aa0ba902b7-01-later`)).toBe(ID);
  for (const header of [
    ...[null, "", ID, `00-${ID}`, `00-${ID.toUpperCase()}-00f067aa0ba902b7-01`, `ff-${ID}-00f067aa0ba902b7-01`],
    ...[`00-${"0".repeat(32)}-00f067aa0ba902b7-01`, `00-${ID}-00f067aa0ba902b7-01x`, `00-${ID}0-00f067aa0ba902b7-01`],
  ]) {
    expect(traceIdIn(header), String(header)).toBeUndefined();
  }
});

test("a run without a caller's trace has one of its own, always the same", () => {
  expect(traceIdOf("run_a")).toMatch(/^[0-9a-f]{32}$/);
  expect(traceIdOf("run_a")).toBe(traceIdOf("run_a"));
  expect(traceIdOf("run_a")).not.toBe(traceIdOf("run_b"));
});
