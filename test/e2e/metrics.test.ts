// What a server says at /metrics after real work: the counters are those of the trail, and what is kept in the database is told beside them.

import { readFileSync } from "node:fs";
import { beforeAll, expect, test } from "vitest";
import { parse } from "yaml";
import { type Scrape, scrape } from "../harness/scrape.ts";
import { agent, httpTool, policy, single } from "./documents.ts";
import { type Stage, startStage } from "./stage.ts";

const BACKOFF = { initial: "20ms", max: "100ms", factor: 2, jitter: "full" };

interface Panel {
  readonly title: string;
  readonly targets?: readonly { readonly expr: string }[];
}
interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly annotations: { readonly summary: string; readonly description: string };
}

let stage: Stage;
beforeAll(async () => {
  stage = await startStage();
});

const readText = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
const namesIn = (text: string) => text.match(/\b(?:orloj|process)_[a-z0-9_]+/g) ?? [];
const familyOf = (name: string, { types }: Scrape) =>
  types.has(name) ? name : name.replace(/_(bucket|sum|count)$/, "");

test("after a run that retries a tool, a denied one, and a parked one, the counters are right", async () => {
  const { client, sink, server } = stage;
  await stage.worker("w1");
  sink.respond("/flaky", (_call, number) =>
    number === 1 ? { status: 503, headers: { "retry-after": "0" } } : { body: "{}" },
  );
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

test("the dashboard and the alert rules ask only for what a scrape has, and add up nothing that all replicas tell alike", async () => {
  const scraped = await scrape(stage.server.ops);
  const { panels } = JSON.parse(readText("deploy/monitoring/dashboard.json")) as { panels: readonly Panel[] };
  const { groups } = parse(readText("deploy/monitoring/alerts.yaml")) as { groups: { rules: Rule[] }[] };
  const rules = groups.flatMap((group) => group.rules);
  const asked = [
    ...panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ of: title, expr }))),
    ...rules.map(({ alert, expr }) => ({ of: alert, expr })),
  ];
  expect(asked.length).toBeGreaterThan(40);
  for (const { of, expr } of asked) {
    const names = namesIn(expr);
    expect([of, names.length > 0]).toEqual([of, true]);
    expect([of, names.filter((name) => !scraped.types.has(familyOf(name, scraped)))]).toEqual([of, []]);
    const clusters = expr.match(/[a-z]+(?: by \([a-z, ]+\))? ?\(orloj_cluster_/g) ?? [];
    expect([of, clusters.filter((call) => !call.startsWith("max"))]).toEqual([of, []]);
    expect([of, clusters.length]).toEqual([of, names.filter((name) => name.startsWith("orloj_cluster_")).length]);
    const counters = names.filter((name) => scraped.types.get(name) === "counter");
    for (const name of counters) expect([of, expr.includes(`rate(${name}`)]).toEqual([of, true]);
  }
  for (const { annotations } of rules) expect(annotations.description).not.toBe("");
});

test("docs/observability.md tells of every metric that a scrape has, and of no other", async () => {
  const scraped = await scrape(stage.server.ops);
  const told = new Set(namesIn(readText("docs/observability.md")).filter((name) => !name.endsWith("_")));
  expect([...scraped.types.keys()].filter((name) => !told.has(name))).toEqual([]);
  expect([...told].filter((name) => !scraped.types.has(name))).toEqual([]);
});
