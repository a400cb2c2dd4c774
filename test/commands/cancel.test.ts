// Cancelling: whom it tells, what it takes at once, and who steers leases beside it.

import { expect, test } from "vitest";
import { createServices } from "../../server/commands/services.ts";
import { revokeLease } from "../../server/commands/steer_fleet.ts";
import { ana, commandStage, DONE, outcomeOf, stopOf } from "./command_stage.ts";

const stage = await commandStage();
const services = createServices(stage.context);

test("a stop takes what is queued at once and tells every session that holds a task, with the grace", async () => {
  const runId = await stage.start("pair");
  const [held] = (await stage.claimAs("ses_a", 1)).assigned;
  if (held === undefined) throw new Error("nothing was claimed");
  stage.cancels.length = 0;
  await stage.settle(stopOf(runId));
  expect(stage.cancels).toEqual([
    { sessionId: "ses_a", taskId: held.task.id, token: held.token, reason: "user", graceMs: 5_000 },
  ]);
  expect(await stage.queued(runId)).toEqual([]);
  expect((await stage.tasksOf(runId)).map((task) => task.state).sort()).toEqual(["CANCELLED", "READY"]);
  await stage.settle(outcomeOf(held, { type: "cancelled" }));
  expect(await stage.run(runId)).toMatchObject({ state: "CANCELLED", due_time: null });
});

test("a failing node stops its leased sibling with reason sibling", async () => {
  await stage.start("pair");
  const [left, right] = (await stage.claimAs("ses_a")).assigned;
  if (left === undefined || right === undefined) throw new Error("two tasks were expected");
  stage.cancels.length = 0;
  await stage.settle(outcomeOf(left, { type: "failed", failure: { class: "Broken", message: "x" } }));
  expect(stage.cancels).toMatchObject([{ taskId: right.task.id, reason: "sibling" }]);
  await stage.settle(outcomeOf(right, { type: "cancelled" }));
});

test("a worker that stops a task unasked gives it back; nobody is cancelled", async () => {
  const runId = await stage.start("one");
  const [held] = (await stage.claimAs("ses_a")).assigned;
  if (held === undefined) throw new Error("nothing was claimed");
  await stage.settle(outcomeOf(held, { type: "cancelled" }));
  expect(await stage.run(runId)).toMatchObject({ state: "RUNNING" });
  expect(await stage.queued(runId)).toHaveLength(1);
  const [next] = (await stage.claimAs("ses_b")).assigned;
  if (next !== undefined) await stage.settle(outcomeOf(next, DONE));
});

test("a parked task beside a live one: the clock stops, and a stop gives the live one its grace", async () => {
  const runId = await stage.start("mixed");
  const assigned = (await stage.claimAs("ses_a")).assigned;
  const park = assigned.find((one) => one.task.node === "park");
  const work = assigned.find((one) => one.task.node === "work");
  if (park === undefined || work === undefined) throw new Error("two tasks were expected");
  await stage.settle(outcomeOf(park, { type: "failed", failure: { class: "Broken", message: "x" } }));
  expect(await stage.run(runId)).toMatchObject({ state: "RUNNING", conditions: ["Parked"], due_time: null });
  await stage.settle(stopOf(runId));
  const stopping = await stage.run(runId);
  expect(stopping).toMatchObject({ state: "CANCELLING", remaining_ms: null });
  expect(stopping.due_time).not.toBeNull();
  await stage.settle(outcomeOf(work, { type: "cancelled" }));
  expect(await stage.run(runId)).toMatchObject({ state: "CANCELLED" });
});

test("a revoked lease is recorded with its operator, and its token is void", async () => {
  const runId = await stage.start("one");
  const [held] = (await stage.claimAs("ses_a")).assigned;
  if (held === undefined) throw new Error("nothing was claimed");
  await revokeLease(stage.context, services, ana, held.task.id, "stuck");
  expect((await stage.records(runId)).at(-1)).toMatchObject({
    kind: "lease.revoked",
    actor: "ana",
    detail: { reason: "stuck" },
  });
  expect(await stage.settle(outcomeOf(held, DONE))).toEqual([{ verdict: "lease_lost" }]);
  await expect(revokeLease(stage.context, services, ana, held.task.id, "")).rejects.toMatchObject({
    reason: "LEASE_NOT_FOUND",
  });
});
