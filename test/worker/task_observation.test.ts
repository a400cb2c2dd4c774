// What is told of one task: lines without secrets, spans where the run is traced, and to whom the trace is passed on.

import { expect, test } from "vitest";
import { seededRandom } from "../../kit/random.ts";
import { Redactor } from "../../kit/redactor.ts";
import type { EndedSpan } from "../../kit/spans.ts";
import { observe } from "../../worker/agent/observer.ts";
import { TaskStopped } from "../../worker/agent/stop.ts";
import { ModelError } from "../../worker/model/adapter.ts";
import { type ObservationParts, TaskObservation } from "../../worker/telemetry/task_observation.ts";
import { manualClock } from "../rpc/manual_clock.ts";

const TRACE = { traceId: "4bf92f3577b34da6a3ce929d0e0e4736", spanId: "00f067aa0ba902b7", sampled: true };
const TASK = {
  ...{ taskId: "task_1", runId: "run_1", namespace: "ns", node: "n", agent: "writer", attempt: 2, delivery: 1 },
};

function observed(more: { trace?: typeof TRACE; level?: ObservationParts["level"]; traces?: boolean } = {}) {
  const clock = manualClock();
  const lines: string[] = [];
  const spans: EndedSpan[] = [];
  const redactor = new Redactor();
  redactor.learn("canary-4711");
  const sink = { add: (span: EndedSpan) => void spans.push(span), close: () => Promise.resolve() };
  const { trace = TRACE, traces = true } = more;
  const level = "level" in more ? more.level : "debug";
  const parts = { clock, random: seededRandom(1), redactor, level, worker: "w", ...(traces && { sink }) };
  const observation = new TaskObservation(parts, { ...TASK, trace }, { add: (line) => void lines.push(line) });
  const words = () => lines.map((line) => line.replace(/^2026-01-01T00:00:0\S+Z /, ""));
  return { clock, spans, words, observation };
}

const MODEL = { of: "model", provider: "openai", model: "m", turn: 1 } as const;

test("parts of parts are spans below each other, with their times and what they ended with", async () => {
  const { clock, spans, words, observation } = observed();
  await observe(
    observation,
    { of: "call", tool: "t", turn: 1, index: 0 },
    async (call) => {
      await observe(
        call,
        { of: "attempt", tool: "t", means: "http", attempt: 1 },
        async () => clock.advance(30),
        () => ({ facts: { bytes: 7 } }),
      );
    },
    () => ({}),
  );
  observation.end({ kind: "succeeded", output: { secret: "value" } });
  const [attempt, call, execute] = spans;
  expect(spans.map(({ name, kind, startMs, endMs }) => [name, kind, endMs - startMs])).toEqual([
    ["http t", "client", 30],
    ["execute_tool t", "internal", 30],
    ["execute writer", "consumer", 30],
  ]);
  expect([attempt?.parentSpanId, call?.parentSpanId, execute?.parentSpanId]).toEqual([
    call?.spanId,
    execute?.spanId,
    TRACE.spanId,
  ]);
  expect(attempt?.attributes).toMatchObject({
    "orloj.task.id": "task_1",
    "orloj.worker": "w",
    "orloj.result.bytes": 7,
  });
  expect(words()).toEqual([
    "info attempt begins attempt=2 delivery=1 agent=writer worker=w",
    "info tool answered tool=t type=http attempt=1 ms=30 bytes=7",
    "debug tool call ended tool=t turn=1 index=0 ms=30",
    "info attempt succeeded ms=30",
  ]);
});

test("what is thrown ends its span with its class, and goes on", async () => {
  const { spans, words, observation } = observed({ level: "warn" });
  const failing = (error: Error) =>
    observe(
      observation,
      MODEL,
      () => Promise.reject(error),
      () => ({}),
    );
  await expect(failing(new ModelError("RateLimited", "canary-4711 says no"))).rejects.toThrow("says no");
  await expect(failing(new TaskStopped("cancelled"))).rejects.toThrow();
  await expect(failing(new TypeError("x"))).rejects.toThrow("x");
  observation.end({ kind: "failed", class: "RateLimited", message: "key canary-4711 is\nover", retryable: true });
  expect(spans.map(({ error }) => error)).toEqual(["RateLimited", "cancelled", "Error", "RateLimited"]);
  expect(words()).toEqual([
    "warn model answered provider=openai model=m turn=1 ms=0 error=RateLimited",
    "warn model answered provider=openai model=m turn=1 ms=0 error=cancelled",
    "warn model answered provider=openai model=m turn=1 ms=0 error=Error",
    'warn attempt failed ms=0 class=RateLimited error="key [redacted] is\\nover"',
  ]);
  expect(JSON.stringify(spans)).not.toContain("4711");
});

test("lines of code are told with their facts, escaped and without secrets", () => {
  const { words, observation } = observed();
  observation.log("info", "with canary-4711\n2026-01-01T00:00:00.000Z error forged", { key: "canary-4711", n: 1 });
  expect(words()[1]).toBe('info with [redacted]\\u000a2026-01-01T00:00:00.000Z error forged key="[redacted]" n=1');
});

test("what is called is told its own span; of a trace that is not recorded that it is not; and nothing while the worker does not trace", () => {
  const { observation } = observed();
  const begun = observation.begin(MODEL);
  expect(begun.traceparent).toMatch(new RegExp(`^00-${TRACE.traceId}-[0-9a-f]{16}-01$`));
  expect(begun.traceparent).not.toBe(observation.traceparent);
  const unsampled = observed({ trace: { ...TRACE, sampled: false } });
  expect(unsampled.observation.begin(MODEL).traceparent).toBe(`00-${TRACE.traceId}-${TRACE.spanId}-00`);
  unsampled.observation.end({ kind: "cancelled" });
  expect(unsampled.spans).toEqual([]);
  expect(observed({ traces: false }).observation.begin(MODEL).traceparent).toBeUndefined();
});

test("a worker that keeps no lines of tasks writes none", () => {
  const { words, observation } = observed({ level: undefined });
  observation.log("error", "x");
  observation.end({ kind: "dropped" });
  expect(words()).toEqual([]);
});

test("where nobody looks things are only run", async () => {
  expect(
    await observe(
      undefined,
      MODEL,
      (activity) => Promise.resolve(activity),
      () => ({}),
    ),
  ).toBeUndefined();
});
