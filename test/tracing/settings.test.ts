// What switches tracing on, and what of the standard variables is refused because it would be ignored.

import { expect, test } from "vitest";
import { readTracing } from "../../tracing/settings.ts";

const ON = { ORLOJ_TRACING: "otlp" };

test("tracing is off unless it is switched on, whatever else is set", () => {
  for (const env of [
    ...[{}, { ORLOJ_TRACING: "" }, { ORLOJ_TRACING: "off" }, { ...ON, OTEL_SDK_DISABLED: "true" }],
    { OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector:4318" },
  ]) {
    expect(readTracing(env, "orloj-server"), JSON.stringify(env)).toBeUndefined();
  }
});

test("the standard variables say the rest, and what is empty is not set", () => {
  expect(readTracing(ON, "orloj-server")).toEqual({
    ...{ serviceName: "orloj-server", resource: {}, ratio: 1, followsCaller: true, delayMs: 5_000, waitingMax: 2_048 },
  });
  const env = {
    ...ON,
    OTEL_SERVICE_NAME: "plane",
    OTEL_RESOURCE_ATTRIBUTES: "deployment.environment=prod, team = a%20b ,",
    OTEL_TRACES_SAMPLER: "traceidratio",
    OTEL_TRACES_SAMPLER_ARG: "0.25",
    OTEL_BSP_SCHEDULE_DELAY: "100",
    OTEL_BSP_MAX_QUEUE_SIZE: "10",
    OTEL_EXPORTER_OTLP_ENDPOINT: "",
  };
  expect(readTracing(env, "orloj-server")).toEqual({
    ...{ serviceName: "plane", resource: { "deployment.environment": "prod", team: "a b" } },
    ...{ ratio: 0.25, followsCaller: false, delayMs: 100, waitingMax: 10 },
  });
  const off = { ...ON, OTEL_TRACES_SAMPLER: "parentbased_always_off" };
  expect(readTracing(off, "x")).toMatchObject({ ratio: 0, followsCaller: true });
});

test.each([
  [{ ORLOJ_TRACING: "on" }, 'ORLOJ_TRACING must be otlp or off, not "on"'],
  [{ OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" }, "spans are sent by http/protobuf"],
  [{ OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: "http/json" }, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: "collector:4318" }, "write it as http://collector:4318"],
  [{ OTEL_TRACES_SAMPLER: "jaeger_remote" }, "always_on, always_off or traceidratio"],
  [{ OTEL_TRACES_SAMPLER: "traceidratio", OTEL_TRACES_SAMPLER_ARG: "2" }, "a number from 0 to 1"],
  [{ OTEL_RESOURCE_ATTRIBUTES: "novalue" }, "not of the form key=value"],
  [{ OTEL_RESOURCE_ATTRIBUTES: "a=%zz" }, "percent-encoded"],
  [{ OTEL_BSP_SCHEDULE_DELAY: "soon" }, "OTEL_BSP_SCHEDULE_DELAY must be a whole number"],
])("%j is refused: %s", (env, message) => {
  expect(() => readTracing({ ...ON, ...env }, "orloj-server")).toThrow(message);
});
