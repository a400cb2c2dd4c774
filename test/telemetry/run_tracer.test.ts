// The tracer: which tasks and runs it reads when, what it samples, and that its troubles are only told.

import { expect, test } from "vitest";
import { DomainError } from "../../kit/errors.ts";
import { seededRandom } from "../../kit/random.ts";
import type { EndedSpan } from "../../kit/spans.ts";
import type { AuditEvent } from "../../server/audit/events.ts";
import type { Logger } from "../../server/telemetry/log.ts";
import { GATHER_MS, type Invoked, RunTracer } from "../../server/telemetry/run_tracer.ts";
import { manualClock } from "../rpc/manual_clock.ts";

const TRACE = { traceId: "4bf92f3577b34da6a3ce929d0e0e4736", spanId: "00f067aa0ba902b7", sampled: true };
const OWN = "a".repeat(32);
const CALL = { namespace: "ns", workflow: "flow" };

function tracer(sampling = { ratio: 1, followsCaller: true }) {
  const clock = manualClock();
  const spans: EndedSpan[] = [];
  const warned: string[] = [];
  const read: (readonly [readonly string[], readonly string[]])[] = [];
  let closed = false;
  const sink = {
    add: (span: EndedSpan) => void spans.push(span),
    close: async () => {
      closed = true;
    },
  };
  const log = { warn: (event: string) => void warned.push(event) } as unknown as Logger;
  const traced = new RunTracer({ sink, clock, random: seededRandom(1), log, sampling });
  return { traced, clock, spans, warned, read, closed: () => closed };
}

const ended = (taskId: string, runId = "run_1"): AuditEvent => {
  const transitions = [{ of: "run", from: "RUNNING", to: "SUCCEEDED" } as const];
  const detail = { node: "n", iteration: 0, attempt: 1, outputDigest: "d", transitions };
  return { kind: "task.succeeded", runId, taskId, actor: "worker:w", detail };
};
const invoked = (duplicate = false, traceId: string = TRACE.traceId): Invoked => ({
  run: { id: "run_1", traceId },
  duplicate,
});

test("what has ended is read together a second later, each once, and the rest when the replica stops", async () => {
  const { traced, clock, read, closed } = tracer();
  traced.start((runIds, taskIds) => {
    read.push([runIds, taskIds]);
    return Promise.resolve({ runs: [], tasks: [] });
  });
  traced.recorded([ended("task_1"), ended("task_1")]);
  const stopping: AuditEvent = {
    ...{ kind: "run.stopping", runId: "run_2", actor: "server" },
    detail: {
      cause: "cancelled",
      reason: "",
      transitions: [{ of: "task", taskId: "task_2", node: "n", to: "CANCELLED" }],
    },
  };
  traced.recorded([stopping]);
  clock.advance(GATHER_MS - 1);
  expect(read).toEqual([]);
  clock.advance(1);
  await new Promise((resolve) => setImmediate(resolve));
  expect(read).toEqual([[["run_1"], ["task_1", "task_2"]]]);
  traced.recorded([ended("task_3", "run_3")]);
  await traced.stop();
  expect(read.slice(1)).toEqual([[["run_3"], ["task_3"]]]);
  expect(closed()).toBe(true);
});

test("many are read in bounded batches, and a database that does not answer is only told", async () => {
  const { traced, read, warned } = tracer();
  traced.start((runIds, taskIds) => {
    read.push([runIds, taskIds]);
    return read.length === 1 ? Promise.reject(new Error("away")) : Promise.resolve({ runs: [], tasks: [] });
  });
  traced.recorded(Array.from({ length: 30_000 }, (_, number) => ended(`task_${number}`, `run_${number}`)));
  await traced.stop();
  expect(Math.max(...read.map(([runs, tasks]) => Math.max(runs.length, tasks.length)))).toBe(200);
  expect(read).toHaveLength(100);
  expect(warned).toEqual(["trace.left_out", "trace.unread"]);
});

test("an invocation is a span of its caller's trace, or of the run's own", async () => {
  const { traced, spans } = tracer();
  await traced.invocation({ ...CALL, trace: TRACE }, () => Promise.resolve(invoked()));
  await traced.invocation(CALL, () => Promise.resolve(invoked(false, OWN)));
  expect(spans.map(({ name, kind, traceId, parentSpanId }) => [name, kind, traceId, parentSpanId])).toEqual([
    ["invoke flow", "server", TRACE.traceId, TRACE.spanId],
    ["invoke flow", "server", OWN, undefined],
  ]);
});

test("a refused invocation, and the second of a key, are told in the trace of the caller alone", async () => {
  const { traced, spans } = tracer();
  const denied = () => Promise.reject(new DomainError("POLICY_DENIED", "no"));
  await expect(traced.invocation({ ...CALL, trace: TRACE }, denied)).rejects.toThrow("no");
  await expect(traced.invocation(CALL, denied)).rejects.toThrow("no");
  await traced.invocation({ ...CALL, trace: TRACE }, () => Promise.resolve(invoked(true, OWN)));
  await traced.invocation(CALL, () => Promise.resolve(invoked(true, OWN)));
  expect(spans.map(({ traceId, error, attributes }) => [traceId, error, attributes["orloj.duplicate"]])).toEqual([
    [TRACE.traceId, "POLICY_DENIED", undefined],
    [TRACE.traceId, undefined, true],
  ]);
});

test("the caller's flag comes first unless the sampler says otherwise; the ratio decides the rest", async () => {
  const sampledBy = async (sampling: { ratio: number; followsCaller: boolean }, trace?: typeof TRACE) => {
    const { traced, spans } = tracer(sampling);
    let sampled = 0;
    for (let number = 0; number < 200; number += 1) {
      await traced.invocation({ ...CALL, ...(trace && { trace }) }, (is) => {
        if (is) sampled += 1;
        return Promise.resolve(invoked());
      });
    }
    expect(spans).toHaveLength(sampled);
    return sampled;
  };
  const unsampled = { ...TRACE, sampled: false };
  expect(await sampledBy({ ratio: 1, followsCaller: true }, unsampled)).toBe(0);
  expect(await sampledBy({ ratio: 0, followsCaller: true }, TRACE)).toBe(200);
  expect(await sampledBy({ ratio: 1, followsCaller: false }, unsampled)).toBe(200);
  expect(await sampledBy({ ratio: 0, followsCaller: true })).toBe(0);
  const half = await sampledBy({ ratio: 0.5, followsCaller: true });
  expect(half).toBeGreaterThan(60);
  expect(half).toBeLessThan(140);
});
