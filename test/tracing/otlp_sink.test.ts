// The sink: what a span is on the wire, what is told when nothing can be sent, and when the packages are missing.

import { expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import type { EndedSpan } from "../../kit/spans.ts";
import { openSpans } from "../../tracing/otlp_sink.ts";
import { readTracing, type TracingSettings } from "../../tracing/settings.ts";
import { startOtlpReceiver } from "../harness/otlp_receiver.ts";

const SETTINGS = readTracing({ ORLOJ_TRACING: "otlp", OTEL_BSP_SCHEDULE_DELAY: "50" }, "orloj-test") as TracingSettings;
const SPAN: EndedSpan = {
  ...{ name: "chat m", kind: "client", traceId: "4bf92f3577b34da6a3ce929d0e0e4736", spanId: "00f067aa0ba902b7" },
  ...{
    parentSpanId: "0000000000000001",
    startMs: 1_767_225_600_000.25,
    endMs: 1_767_225_600_001.5,
    error: "ModelTimeout",
  },
  attributes: { "orloj.turn": 2, "orloj.node": "é", "orloj.duplicate": true, part: 0.5 },
  events: [{ name: "tool.granted", timeMs: 1_767_225_600_001, attributes: { "orloj.tool": "t" } }],
  links: [
    { traceId: "4bf92f3577b34da6a3ce929d0e0e4736", spanId: "0000000000000002", attributes: { "orloj.link": "retry" } },
  ],
};

function opened(endpoint: string) {
  const troubles: string[] = [];
  process.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint;
  const onTrouble = (message: string, spans: number) => void troubles.push(`${spans}: ${message}`);
  return { troubles, sink: openSpans(SETTINGS, { clock: systemClock(), onTrouble }) };
}

test("a span arrives as it was, and the last ones when the sink is closed", async () => {
  const collector = await startOtlpReceiver();
  const { sink, troubles } = opened(collector.url);
  const spans = await sink;
  spans.add(SPAN);
  const [arrived] = await collector.waitFor((all) => all.length === 1);
  expect(arrived).toEqual({
    ...{ service: "orloj-test", traceId: SPAN.traceId, spanId: SPAN.spanId, parentSpanId: "0000000000000001" },
    ...{ name: "chat m", kind: 3, startNs: 1_767_225_600_000_250_000n, endNs: 1_767_225_600_001_500_000n },
    attributes: {
      "orloj.turn": 2,
      "orloj.node": "é",
      "orloj.duplicate": true,
      part: 0.5,
      "error.type": "ModelTimeout",
    },
    events: [{ name: "tool.granted", attributes: { "orloj.tool": "t" } }],
    links: [{ spanId: "0000000000000002", attributes: { "orloj.link": "retry" } }],
    error: "ModelTimeout",
  });
  spans.add({ ...SPAN, name: "last" });
  await spans.close();
  expect(collector.spans.map(({ name }) => name)).toEqual(["chat m", "last"]);
  expect(troubles).toEqual([]);
});

test("spans that no collector takes are told once, and closing does not wait for ever", async () => {
  const collector = await startOtlpReceiver();
  const { sink, troubles } = opened(`${collector.url}/nowhere`);
  const spans = await sink;
  spans.add(SPAN);
  spans.add(SPAN);
  await spans.close();
  expect(troubles).toHaveLength(1);
  expect(troubles[0]).toMatch(/^2: ./);
  expect(collector.spans).toEqual([]);
});

test("missing packages are an error that says what to install", async () => {
  const missing = Object.assign(new Error("Cannot find package '@opentelemetry/sdk-trace'"), {
    code: "ERR_MODULE_NOT_FOUND",
  });
  const load = () => Promise.reject(missing);
  const open = openSpans(SETTINGS, { clock: systemClock(), onTrouble: () => undefined, load });
  await expect(open).rejects.toMatchObject({
    reason: "CONFIG_INVALID",
    message: expect.stringMatching(/not installed: npm install @opentelemetry\/api@.*set ORLOJ_TRACING=off/),
  });
});
