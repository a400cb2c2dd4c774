// Places in a trace: what is taken from a header and written into one, and what stands in for it.

import { expect, test } from "vitest";
import { leaseSpanId, spanIdOf, traceContextIn, traceIdOf, traceparentOf } from "../../kit/trace.ts";

const ID = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN = "00f067aa0ba902b7";

test("a place is taken from a traceparent of any version, and from nothing else", () => {
  const place = { traceId: ID, spanId: SPAN, sampled: true };
  expect(traceContextIn(`00-${ID}-${SPAN}-01`)).toEqual(place);
  expect(traceContextIn(`cc-${ID}-${SPAN}-03-later`)).toEqual(place);
  expect(traceContextIn(`00-${ID}-${SPAN}-00`)).toEqual({ ...place, sampled: false });
  for (const header of [
    ...[null, undefined, "", ID, `00-${ID}`, `00-${ID.toUpperCase()}-${SPAN}-01`, `ff-${ID}-${SPAN}-01`],
    ...[
      `00-${"0".repeat(32)}-${SPAN}-01`,
      `00-${ID}-${"0".repeat(16)}-01`,
      `00-${ID}-${SPAN}-01x`,
      `00-${ID}0-${SPAN}-01`,
    ],
  ]) {
    expect(traceContextIn(header), String(header)).toBeUndefined();
  }
});

test("a place that was written is read as it was", () => {
  for (const sampled of [true, false]) {
    const place = { traceId: ID, spanId: SPAN, sampled };
    expect(traceContextIn(traceparentOf(place))).toEqual(place);
  }
});

test("a run without a caller's trace has one of its own, always the same", () => {
  expect(traceIdOf("run_a")).toMatch(/^[0-9a-f]{32}$/);
  expect(traceIdOf("run_a")).toBe(traceIdOf("run_a"));
  expect(traceIdOf("run_a")).not.toBe(traceIdOf("run_b"));
});

test("spans of the same thing have the same id everywhere, those of two leases never", () => {
  expect(spanIdOf("run run_a")).toMatch(/^[0-9a-f]{16}$/);
  expect(spanIdOf("run run_a")).toBe(spanIdOf("run run_a"));
  const lease = { taskId: "task_a", attempt: 1, delivery: 0, sessionId: "ses_a" };
  const others = [
    { ...lease, attempt: 2 },
    { ...lease, delivery: 1 },
    { ...lease, sessionId: "ses_b" },
  ];
  expect(new Set([lease, ...others].map(leaseSpanId)).size).toBe(4);
});
