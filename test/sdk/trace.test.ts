// The trace of a program that uses the client: that of its active span, by the real API of OpenTelemetry, and none without.

import { context, propagation, type SpanContext, trace } from "@opentelemetry/api";
import { StackContextManager } from "@opentelemetry/sdk-trace";
import { afterEach, expect, test } from "vitest";
import { activeTraceparent } from "../../sdk/trace.ts";

const SPAN: SpanContext = { traceId: "4bf92f3577b34da6a3ce929d0e0e4736", spanId: "00f067aa0ba902b7", traceFlags: 1 };

afterEach(() => {
  context.disable();
  propagation.disable();
});

function setUp(inject: (span: SpanContext | undefined) => string | undefined) {
  context.setGlobalContextManager(new StackContextManager().enable());
  propagation.setGlobalPropagator({
    inject(active, carrier, setter) {
      const header = inject(trace.getSpanContext(active));
      if (header !== undefined) setter.set(carrier, "traceparent", header);
    },
    extract: (active) => active,
    fields: () => ["traceparent"],
  });
}

const inSpan = <Result>(run: () => Result) => context.with(trace.setSpanContext(context.active(), SPAN), run);

test("a program that does not trace is in no trace", () => {
  expect(activeTraceparent()).toBe("");
  context.setGlobalContextManager(new StackContextManager().enable());
  expect(inSpan(activeTraceparent)).toBe("");
});

test("the active span is passed on as the program's propagator writes it, and none outside of one", () => {
  setUp((span) => span && `00-${span.traceId}-${span.spanId}-01`);
  expect(inSpan(activeTraceparent)).toBe(`00-${SPAN.traceId}-${SPAN.spanId}-01`);
  expect(activeTraceparent()).toBe("");
});

test("a propagator that throws costs the trace and not the invocation", () => {
  setUp(() => {
    throw new Error("broken");
  });
  expect(inSpan(activeTraceparent)).toBe("");
});
