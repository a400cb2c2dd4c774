// Each suite of `npm run bench`, as small as it goes: it runs to its end, and its figures are there. Their size says nothing here.

import { existsSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { bench } from "./bench_process.ts";

const FEW = ["--in-flight", "8", "--warm-up", "20"];
const durable = { fsync: "on", synchronous_commit: "on", full_page_writes: "on" };
const machine = { cpus: expect.any(Number), node: process.versions.node };
const positive = expect.toSatisfy((value: unknown) => typeof value === "number" && value > 0);
const times = { p50: positive, p99: positive };

describe("throughput", () => {
  test("noop: runs a second, and what a task costs in Postgres", async () => {
    const result = await bench("--suite", "noop", "--runs", "100", "--rounds", "2", ...FEW);
    expect(result).toMatchObject({ suite: "noop", machine, postgres: durable, commit: expect.any(String) });
    const { ours } = result;
    expect(ours).toMatchObject({ workflow: "bench-noop", runs_a_round: 100, in_flight: 8, runs_per_s: positive });
    expect(ours.rounds_runs_per_s).toHaveLength(2);
    expect(ours.tasks_per_s).toBe(ours.runs_per_s);
    // Twelve rows at least, whatever else is written beside them: run, node, task, ready and lease come and go, with three records.
    expect(ours.row_writes_a_task).toBeGreaterThan(8);
    expect(ours.row_writes_a_task).toBeLessThan(40);
    expect(ours.wal_bytes_a_task).toBeGreaterThan(500);
    expect(ours.write_transactions_a_task).toBeGreaterThan(0.01);
    expect(ours.write_transactions_a_task).toBeLessThan(10);
    // Where the system tells: on Linux.
    if (existsSync("/proc/self/stat")) {
      const used = { servers: positive, workers: positive, postgres: positive, driver: positive };
      expect(ours.processor_ms_a_task).toEqual(used);
    } else expect(ours).not.toHaveProperty("processor_ms_a_task");
    expect(result).not.toHaveProperty("peers");
  });

  test("steps3: three tasks a run", async () => {
    const { ours } = await bench("--suite", "steps3", "--runs", "30", ...FEW);
    expect(ours).toMatchObject({ workflow: "bench-steps3", runs_per_s: positive });
    expect(Math.abs(ours.tasks_per_s - 3 * ours.runs_per_s)).toBeLessThanOrEqual(2);
  });

  test("tools: one counted call a run", async () => {
    const { ours } = await bench("--suite", "tools", "--runs", "30", ...FEW);
    expect(ours).toMatchObject({ workflow: "bench-tools", runs_per_s: positive, row_writes_a_task: positive });
  });

  test("scale: replicas on one database", async () => {
    const { replicas } = await bench("--suite", "scale", "--replicas", "2", "--runs", "40", ...FEW);
    expect(replicas).toMatchObject([{ replicas: 2, ratio: 1, runs_per_s: positive, postgres: durable }]);
  });

  test("fanout: a map over items", async () => {
    const result = await bench("--suite", "fanout", "--items", "40", "--rounds", "2", "--in-flight", "8");
    expect(result).toMatchObject({ items: 40, tasks_per_s: positive, run_seconds: positive });
    expect(result.rounds_tasks_per_s).toHaveLength(2);
  });
});

test("latency: to the start, to the result, from node to node", async () => {
  const result = await bench("--suite", "latency", "--samples", "8", "--warm-up", "2");
  expect(result).toMatchObject({ samples: 8, start_ms: times, result_ms: times, chain_hop_ms: times });
  expect(result.result_ms.p50).toBeGreaterThan(result.start_ms.p50);
});

test("idle: statements a second, and processor time", async () => {
  const result = await bench("--suite", "idle", "--workers", "5", "--seconds", "4");
  expect(result).toMatchObject({ workers: 5, queries_per_s: positive, server_cpu_percent: expect.any(Number) });
  expect(
    Object.keys(result.queries).every((text) => /^\w/.test(text)),
    JSON.stringify(result.queries),
  ).toBe(true);
});

test("growth: from empty to full, beside a snapshot, beside a queue", async () => {
  const small = ["--finished", "0,300", "--backlog", "60", "--snapshot-seconds", "2", "--samples", "4"];
  const result = await bench("--suite", "growth", "--runs", "60", ...small, ...FEW);
  expect(result.stages.map(({ stage }: { stage: string }) => stage)).toEqual([
    "0 finished runs",
    "300 finished runs",
    "a snapshot that is open for 2 s, its last quarter",
    "60 tasks queued on another route",
  ]);
  for (const stage of result.stages) expect(stage).toMatchObject({ runs_per_s: positive, claim_ms: times });
  expect(result).toMatchObject({
    throughput_full_to_empty: positive,
    claim_p99_with_snapshot_to_without: positive,
    start_p50_beside_backlog_to_without: positive,
  });
});

test("mem: what is resident, and whether it grows", async () => {
  const result = await bench("--suite", "mem", "--runs", "40", "--seconds", "3", "--in-flight", "8");
  expect(result).toMatchObject({ runs: 40, measured_runs: positive, slope_mib_a_minute: expect.any(Object) });
  expect(result.resident_mib_after_runs).toMatchObject({ server: positive, worker: positive });
});

test("decide: policies in process", async () => {
  const { decisions } = await bench("--suite", "decide", "--samples", "200");
  expect(decisions).toMatchObject([{ attached: 100, p99_us: positive }, { attached: 10 }, { attached: 1 }]);
});

test("audit: a trail that is sealed, exported and verified", async () => {
  const result = await bench("--suite", "audit", "--records", "2000", "--seconds", "1");
  expect(result).toMatchObject({ records: positive, verified_per_s: positive, postgres: durable });
  expect(result.records).toBeGreaterThanOrEqual(2_000);
});
