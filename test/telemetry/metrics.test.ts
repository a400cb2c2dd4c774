// What a scrape says of one replica: of committed events, of batches, and of the database, which is asked seldom and never waited for long.

import { expect, test } from "vitest";
import type { AuditEvent, DecisionDetail } from "../../server/audit/events.ts";
import { type ClusterNumber, type MetricSources, Metrics, READ_MS } from "../../server/telemetry/metrics.ts";
import { parseScrape } from "../harness/scrape.ts";
import { manualClock } from "../rpc/manual_clock.ts";

const RUNS: ClusterNumber = { gauge: "runs", labels: { state: "RUNNING" }, value: 4 };

function sourcesOf(cluster: MetricSources["cluster"]): MetricSources {
  return {
    sessions: () => ({ open: 2, credit: 7, held: 3 }),
    waiting: () => ({ settle: 5 }),
    cluster,
  };
}

const denied: DecisionDetail = {
  ...{ checkpoint: "tool.call", allowed: false, reason: "forbidden", decidedBy: "ns/p", policyRevision: "1", nowMs: 0 },
  ...{ inputDigest: "sha256:0", verdicts: [] },
};
const task = { node: "n", iteration: 0, attempt: 1 };
const failure = { class: "Timeout", message: "late" };
const call = { tool: "http", requestId: "r", attempt: 1, argumentsDigest: "sha256:0", grantId: "g", durationMs: 1_500 };
const EVENTS: readonly AuditEvent[] = [
  { kind: "task.retrying", namespace: "ns", actor: "server", detail: { ...task, failure, delayMs: 1, nextAttempt: 2 } },
  {
    kind: "task.denied",
    namespace: "ns",
    actor: "server",
    detail: {
      ...task,
      failure,
      decision: denied,
      transitions: [
        { of: "task", taskId: "t2", node: "m", from: "READY", to: "CANCELLED" },
        { of: "run", from: "CANCELLING", to: "POLICY_DENIED", cause: "policy_denied" },
      ],
    },
  },
  { kind: "tool.result", namespace: "ns", actor: "worker:w", detail: { ...call, ok: true, resultDigest: "sha256:0" } },
  { kind: "tool.result", namespace: "ns", actor: "worker:w", detail: { ...call, ok: false, failure, final: false } },
  {
    kind: "security.refused",
    actor: "server",
    detail: { listener: "api", method: "m", reason: "PROTOCOL_VIOLATION: of 10.0.0.7", peer: "p", count: 9 },
  },
];

test("committed events move the counters, and a batch is measured from its begin to its end", async () => {
  const clock = manualClock();
  const metrics = new Metrics(clock);
  metrics.recorded(EVENTS);
  const ended = metrics.batch("settle", 20);
  clock.advance(30);
  ended(true);
  metrics.batch("settle", 1)(false);
  const { value } = parseScrape(await metrics.scrape(sourcesOf(() => Promise.resolve([RUNS]))));
  expect(value("orloj_events_total", { kind: "tool.result" })).toBe(2);
  expect(value("orloj_tasks_retried_total", { namespace: "ns", class: "Timeout" })).toBe(1);
  expect(value("orloj_tasks_ended_total", { state: "POLICY_DENIED" })).toBe(1);
  expect(value("orloj_tasks_ended_total", { state: "CANCELLED" })).toBe(1);
  expect(value("orloj_runs_ended_total", { namespace: "ns", state: "POLICY_DENIED" })).toBe(1);
  expect(value("orloj_decisions_total", { checkpoint: "tool.call", verdict: "denied", reason: "forbidden" })).toBe(1);
  expect(value("orloj_tool_results_total", { tool: "http", class: "ok" })).toBe(1);
  expect(value("orloj_tool_results_total", { tool: "http", class: "Timeout" })).toBe(1);
  expect(value("orloj_tool_call_seconds_sum")).toBe(3);
  expect(value("orloj_calls_refused_total", { listener: "api", reason: "PROTOCOL_VIOLATION" })).toBe(9);
  expect(value("orloj_batch_items_sum", { kind: "settle" })).toBe(21);
  expect(value("orloj_batch_seconds_sum", { kind: "settle" })).toBeCloseTo(0.03);
  expect(value("orloj_batch_failures_total", { kind: "settle" })).toBe(1);
  expect(value("orloj_batch_waiting_items", { kind: "settle" })).toBe(5);
  expect([value("orloj_worker_streams"), value("orloj_worker_credit"), value("orloj_worker_assignments")]).toEqual([
    2, 7, 3,
  ]);
  expect([value("orloj_database_up"), value("orloj_cluster_runs", { state: "RUNNING" })]).toEqual([1, 4]);
});

test("the database is read once in five seconds however many scrape, and not at all while nobody does", async () => {
  const clock = manualClock();
  const metrics = new Metrics(clock);
  let reads = 0;
  const sources = sourcesOf(() => {
    reads += 1;
    return Promise.resolve([{ ...RUNS, value: reads }]);
  });
  await Promise.all(Array.from({ length: 20 }, () => metrics.scrape(sources)));
  expect(reads).toBe(1);
  clock.advance(READ_MS - 1);
  expect(parseScrape(await metrics.scrape(sources)).value("orloj_cluster_runs")).toBe(1);
  clock.advance(1);
  expect(parseScrape(await metrics.scrape(sources)).value("orloj_cluster_runs")).toBe(2);
  clock.advance(100 * READ_MS);
  expect(reads).toBe(2);
  expect(clock.pending).toBe(0);
});

test("how late the event loop was is measured from the first look on, and begun anew by each", async () => {
  const clock = manualClock();
  const metrics = new Metrics(clock);
  const worst = async () => {
    const text = await metrics.scrape(sourcesOf(() => Promise.resolve([])));
    clock.advance(READ_MS);
    await new Promise((resolve) => setTimeout(resolve, 250));
    return parseScrape(text).value("orloj_event_loop_lag_seconds", { quantile: "1" });
  };
  expect(await worst()).toBe(0);
  for (const until = performance.now() + 1_500; performance.now() < until; );
  await new Promise((resolve) => setTimeout(resolve, 10));
  expect(await worst()).toBeGreaterThan(1);
  expect(await worst()).toBeLessThan(1);
  metrics.stop();
});

test("a database that fails or does not answer is told as down, without its numbers, and comes back", async () => {
  const clock = manualClock();
  const metrics = new Metrics(clock);
  const failing = parseScrape(await metrics.scrape(sourcesOf(() => Promise.reject(new Error("away")))));
  expect([failing.value("orloj_database_up"), failing.types.has("orloj_cluster_runs")]).toEqual([0, false]);
  clock.advance(READ_MS);
  const scraping = metrics.scrape(sourcesOf(() => new Promise(() => undefined)));
  await clock.armed(3_000);
  clock.advance(3_000);
  const hanging = parseScrape(await scraping);
  expect([hanging.value("orloj_database_up"), hanging.value("orloj_worker_streams")]).toEqual([0, 2]);
  clock.advance(READ_MS);
  const back = parseScrape(await metrics.scrape(sourcesOf(() => Promise.resolve([RUNS]))));
  expect([back.value("orloj_database_up"), back.value("orloj_cluster_runs")]).toEqual([1, 4]);
});
