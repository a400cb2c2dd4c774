// What a server says at /metrics after real work: the counters are those of the trail, and what is kept in the database is told beside them.

import { expect, test } from "vitest";
import { scrape } from "../harness/scrape.ts";
import { agent, httpTool, policy, single } from "./documents.ts";
import { startStage } from "./stage.ts";

const BACKOFF = { initial: "20ms", max: "100ms", factor: 2, jitter: "full" };

test("after a run that retries a tool, a denied one, and a parked one, the counters are right", async () => {
  const stage = await startStage();
  const { client, sink, server } = stage;
  await stage.worker("w1");
  sink.respond("/flaky", (_call, number) => (number === 1 ? { status: 503 } : { body: "{}" }));
  await stage.apply(
    httpTool("flaky", "/flaky", { effect: "write", retry: { on: ["Http503"], maxAttempts: 4, backoff: BACKOFF } }),
    agent("patient", [{ when: "turn == 1", toolCalls: [{ name: "flaky", arguments: {} }] }, { output: {} }], {
      tools: ["flaky"],
    }),
    ...single("patient"),
    agent("hopeless", [{ error: "ModelUnavailable" }], {
      errorHandling: { retry: { on: ["ModelUnavailable"], maxAttempts: 2, backoff: BACKOFF } },
    }),
    ...single("hopeless"),
    agent("locked", [{ output: {} }]),
    ...single("locked"),
    policy("nobody", {
      attachTo: [{ kind: "Agent", name: "locked" }],
      checkpoints: ["agent.run"],
      allow: { match: { "requester.ids": ["nobody"] } },
    }),
  );
  const patient = await client.workflow("patient").invoke();
  await patient.result();
  const locked = await client.workflow("locked").invoke();
  await expect(locked.result()).rejects.toMatchObject({ state: "POLICY_DENIED" });
  const hopeless = await client.workflow("hopeless").invoke();
  await stage.record("task.dead_lettered", ({ runId }) => runId === hopeless.id);

  const { value, types } = await scrape(server.ops);
  expect(value("orloj_runs_created_total", { namespace: "default" })).toBe(3);
  expect(value("orloj_runs_ended_total", { state: "SUCCEEDED" })).toBe(1);
  expect(value("orloj_runs_ended_total", { state: "POLICY_DENIED" })).toBe(1);
  expect(value("orloj_tasks_ended_total", { state: "SUCCEEDED" })).toBe(1);
  expect(value("orloj_tasks_ended_total", { state: "DEAD_LETTERED" })).toBe(1);
  expect(value("orloj_tasks_retried_total", { class: "ModelUnavailable" })).toBe(1);
  expect(value("orloj_dead_letters_parked_total", { cause: "attempts" })).toBe(1);
  expect(value("orloj_decisions_total", { checkpoint: "agent.run", verdict: "denied" })).toBe(1);
  expect(value("orloj_tool_grants_total", { effect: "write" })).toBe(2);
  expect(value("orloj_tool_results_total", { namespace: "default", tool: "flaky", class: "ok" })).toBe(1);
  expect(value("orloj_tool_results_total", { namespace: "default", tool: "flaky", class: "Http503" })).toBe(1);
  expect(value("orloj_tool_call_seconds_count")).toBe(2);
  expect(value("orloj_batch_items_sum", { kind: "invoke" })).toBe(3);
  expect(value("orloj_batch_failures_total")).toBe(0);
  expect(value("orloj_worker_streams")).toBe(1);
  expect(value("orloj_event_loop_lag_seconds", { quantile: "1" })).toBeGreaterThanOrEqual(0);
  expect(value("orloj_database_up")).toBe(1);
  expect(value("orloj_cluster_runs", { state: "RUNNING" })).toBe(1);
  expect(value("orloj_cluster_dead_letters", { cause: "attempts" })).toBe(1);
  expect(value("orloj_cluster_sessions", { state: "active" })).toBe(1);
  expect(value("orloj_cluster_slots")).toBeGreaterThan(0);
  expect(types.get("orloj_cluster_queue_first_age_seconds")).toBe("gauge");
  const { records } = await client.audit.listAuditRecords({ pageSize: 1_000 });
  for (const kind of ["run.created", "task.leased", "task.succeeded", "tool.granted", "tool.result", "task.denied"]) {
    expect([kind, value("orloj_events_total", { kind })]).toEqual([
      kind,
      records.filter((each) => each.kind === kind).length,
    ]);
  }
});
