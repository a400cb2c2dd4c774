// The server's spans of a task, made of its records: waits, leases, retries, losses, and nothing of what was called with.

import { expect, test } from "vitest";
import { leaseSpanId } from "../../kit/trace.ts";
import {
  invocationSpanId,
  runSpan,
  runSpanId,
  type TracedRecord,
  type TracedTask,
  taskSpanId,
  taskSpans,
} from "../../server/telemetry/run_spans.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const RUN = {
  ...{ id: "run_1", namespace: "ns", workflow: "flow", state: "SUCCEEDED", failureClass: "", startMs: 0, endMs: 90 },
  ...{ traceId: TRACE, replayOf: "" },
};

function task(records: readonly TracedRecord[], more: Partial<TracedTask> = {}): TracedTask {
  return {
    ...{ ...RUN, id: "task_1", runId: "run_1", node: "write", iteration: 0, item: -1, agent: "writer", endMs: 80 },
    ...{ records, ...more },
  };
}

const leased = (timeMs: number, attempt = 1, delivery = 0, sessionId = "ses_1"): TracedRecord => {
  return { kind: "task.leased", timeMs, detail: { attempt, delivery, sessionId, worker: `of ${sessionId}` } };
};

test("a run is part of its invocation; one that replays is the root of its own trace", () => {
  expect(runSpan(RUN)).toMatchObject({
    ...{ name: "run flow", spanId: runSpanId("run_1"), parentSpanId: invocationSpanId("run_1"), startMs: 0, endMs: 90 },
    attributes: { "orloj.run.id": "run_1", "orloj.run.state": "SUCCEEDED" },
  });
  const replay = runSpan({ ...RUN, replayOf: "run_0", state: "FAILED", failureClass: "Timeout" });
  expect(replay).not.toHaveProperty("parentSpanId");
  expect(replay).toMatchObject({ error: "Timeout", attributes: { "orloj.replay_of": "run_0" } });
  expect(runSpan({ ...RUN, state: "CANCELLED", failureClass: "Cancelled" })).not.toHaveProperty("error");
});

test("a task that is retried and lost has a wait and a lease for each, linked to the one before", () => {
  const spans = taskSpans(
    task([
      leased(10),
      { kind: "task.retrying", timeMs: 20, detail: { failure: { class: "Timeout", message: "m" }, delayMs: 5 } },
      { kind: "task.requeued", timeMs: 25, detail: { cause: "due" } },
      leased(30, 2, 0, "ses_2"),
      { kind: "lease.expired", timeMs: 50, detail: { deliveries: 1 } },
      leased(60, 2, 1, "ses_3"),
      { kind: "task.succeeded", timeMs: 80, detail: {} },
    ]),
  );
  expect(spans.map(({ name, startMs, endMs, error }) => [name, startMs, endMs, error])).toEqual([
    ["task write", 0, 80, undefined],
    ["wait write", 0, 10, undefined],
    ["lease write", 10, 20, "Timeout"],
    ["wait write", 25, 30, undefined],
    ["lease write", 30, 50, "LeaseExpired"],
    ["wait write", 50, 60, undefined],
    ["lease write", 60, 80, undefined],
  ]);
  const leases = spans.filter(({ name }) => name === "lease write");
  const ids = [
    leaseSpanId({ taskId: "task_1", attempt: 1, delivery: 0, sessionId: "ses_1" }),
    leaseSpanId({ taskId: "task_1", attempt: 2, delivery: 0, sessionId: "ses_2" }),
    leaseSpanId({ taskId: "task_1", attempt: 2, delivery: 1, sessionId: "ses_3" }),
  ];
  expect(leases.map(({ spanId }) => spanId)).toEqual(ids);
  expect(
    leases.map(({ links }) => links?.map(({ spanId, attributes }) => [spanId, attributes?.["orloj.link"]])),
  ).toEqual([[], [[ids[0], "retry"]], [[ids[1], "redelivery"]]]);
  expect(spans.slice(1).every(({ parentSpanId }) => parentSpanId === taskSpanId("task_1"))).toBe(true);
  expect(spans[0]?.attributes).toMatchObject({ "orloj.attempt": 2, "orloj.delivery": 1, "orloj.leases": 3 });
});

test("a session that is given a task twice has two leases of different ids", () => {
  const spans = taskSpans(
    task([
      leased(10),
      { kind: "task.requeued", timeMs: 11, detail: { cause: "yielded" } },
      leased(20),
      { kind: "task.succeeded", timeMs: 30, detail: {} },
    ]),
  );
  expect(new Set(spans.map(({ spanId }) => spanId)).size).toBe(spans.length);
});

test("what happened in a lease is told by names, counts and verdicts, and nothing else", () => {
  const decision = {
    allowed: true,
    reason: "allowed",
    decidedBy: "ns/p",
    requester: "ana",
    argumentsDigest: "sha256:1",
  };
  const spans = taskSpans(
    task([
      leased(10),
      { kind: "turn.recorded", timeMs: 11, detail: { sequence: 1, toolCalls: 1, turnDigest: "sha256:2" } },
      {
        kind: "tool.granted",
        timeMs: 12,
        detail: {
          tool: "ns/t",
          attempt: 1,
          effect: "write",
          requestId: "key:ana@example.com",
          grantId: "gra_1",
          decision,
        },
      },
      {
        kind: "tool.result",
        timeMs: 13,
        detail: {
          tool: "ns/t",
          attempt: 1,
          ok: false,
          durationMs: 1,
          failure: { class: "Http5xx", message: "for ana" },
        },
      },
      { kind: "task.denied", timeMs: 14, detail: { failure: { class: "PolicyDenied", message: "no" } } },
    ]),
  );
  const lease = spans.find(({ name }) => name === "lease write");
  expect(lease?.events).toEqual([
    { name: "turn.recorded", timeMs: 11, attributes: { "orloj.sequence": 1, "orloj.tool_calls": 1 } },
    {
      name: "tool.granted",
      timeMs: 12,
      attributes: {
        ...{ "orloj.tool": "ns/t", "orloj.attempt": 1, "orloj.effect": "write" },
        ...{ "orloj.decision": "allowed", "orloj.decision.reason": "allowed", "orloj.decision.policy": "ns/p" },
      },
    },
    {
      name: "tool.result",
      timeMs: 13,
      attributes: {
        "orloj.tool": "ns/t",
        "orloj.attempt": 1,
        "orloj.ok": false,
        "orloj.duration_ms": 1,
        "error.type": "Http5xx",
      },
    },
  ]);
  expect(lease).toMatchObject({ error: "PolicyDenied", attributes: { "orloj.lease.end": "task.denied" } });
  expect(JSON.stringify(spans)).not.toMatch(/ana|sha256|gra_1/);
});

test("a task with very many events says how many are left out; one without records is a task all the same", () => {
  const many = Array.from({ length: 300 }, (_, number): TracedRecord => {
    return { kind: "turn.recorded", timeMs: 11 + number, detail: { sequence: number } };
  });
  const lease = taskSpans(task([leased(10), ...many])).find(({ name }) => name === "lease write");
  expect(lease?.events).toHaveLength(128);
  expect(lease?.attributes).toMatchObject({ "orloj.events.dropped": 172, "orloj.lease.end": "" });
  expect(taskSpans(task([])).map(({ name }) => name)).toEqual(["task write"]);
});
