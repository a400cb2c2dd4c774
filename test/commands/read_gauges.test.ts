// The numbers that monitoring reads of the database, on runs in every place where one can be: queued, leased, waiting, parked, over.

import { expect, test } from "vitest";
import { readGauges } from "../../server/commands/read_gauges.ts";
import { commandStage, DONE, outcomeOf, TIMEOUT } from "./command_stage.ts";

const stage = await commandStage();

async function gauges() {
  const rows = await readGauges(stage.context);
  return {
    rows,
    of: (gauge: string, labels: Readonly<Record<string, string>> = {}) =>
      rows
        .filter((row) => row.gauge === gauge)
        .filter((row) => Object.entries(labels).every(([name, value]) => row.labels[name] === value))
        .reduce((sum, row) => sum + row.value, 0),
  };
}

test("runs, tasks, queue, dead letters and sessions are counted where they are, and nothing that is over", async () => {
  const empty = await gauges();
  expect(empty.of("runs") + empty.of("tasks") + empty.of("queue_tasks") + empty.of("dead_letters")).toBe(0);

  const done = await stage.start("one");
  const retrying = await stage.start("one");
  const parked = await stage.start("parked");
  for (const state of ["first", "second"]) {
    const { assigned } = await stage.claimAs("ses_a");
    for (const one of assigned) {
      if (one.task.run_id === done) await stage.settle(outcomeOf(one, DONE));
      else if (one.task.run_id === parked || state === "first") await stage.settle(outcomeOf(one, TIMEOUT));
    }
    if (state === "second") break;
    const [waiting] = await stage.tasksOf(parked);
    await stage.makeDue(waiting?.id ?? "");
    await stage.settle({ type: "wake", taskId: waiting?.id ?? "" });
  }
  await stage.start("urgent");
  await stage.start("zoned");
  await stage.claimAs("ses_a", 1);
  await stage.database.pool.query("update ready set claim_order = claim_order - 60000");
  await stage.store.transaction(async (tx) => {
    const row = { instance_id: "i", name: "w", identity: "id", labels: {}, runtimes: ["model"], handlers: [] };
    await tx.sessions.open({ ...row, id: "ses_b", slots: 7, version: "1", replica_id: "rep_1" }, "", 60_000);
  });

  const { of, rows } = await gauges();
  expect(of("runs", { state: "RUNNING" })).toBe(4);
  expect(of("runs")).toBe(4);
  expect(await stage.run(retrying)).toMatchObject({ state: "RUNNING" });
  expect([
    of("tasks", { state: "WAITING" }),
    of("tasks", { state: "LEASED" }),
    of("tasks", { state: "READY" }),
  ]).toEqual([1, 1, 1]);
  expect(of("dead_letters", { cause: "attempts" })).toBe(1);
  expect(of("queue_tasks", { runtime: "model", labels: "zone=gpu" })).toBe(1);
  expect(of("queue_tasks")).toBe(1);
  const age = of("queue_first_age_seconds");
  expect(age).toBeGreaterThanOrEqual(60);
  expect(age).toBeLessThan(600);
  expect([of("sessions", { state: "active" }), of("slots")]).toEqual([1, 7]);
  expect(of("audit_unsealed_age_seconds")).toBeGreaterThan(0);
  expect(rows.every(({ value }) => Number.isFinite(value) && value >= 0)).toBe(true);
});

test("the head start of a priority is no time in the queue", async () => {
  for (const workflow of ["urgent", "patient"]) {
    await stage.database.pool.query("delete from ready");
    await stage.start(workflow);
    const { of } = await gauges();
    expect(of("queue_first_age_seconds")).toBeLessThan(25);
  }
});
