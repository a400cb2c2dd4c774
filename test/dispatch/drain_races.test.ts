// A replica that shuts down while it claims: what it claimed is sent before, or given back; never lost. In both orders.

import { expect, test } from "vitest";
import { dispatchStage } from "./dispatch_stage.ts";

test("replica drain vs claim, order 0 1: a session that is told goodbye is assigned nothing more", async () => {
  const stage = await dispatchStage();
  const worker = await stage.connected();
  await worker.send({ case: "credit", value: { freeSlots: 1, lastAssignSequence: 0n } });
  await stage.registry.close();
  const runId = await stage.start("one");
  stage.claimer.wake();
  await stage.claimer.stop();
  await worker.take("goodbye");
  expect(worker.frames.filter((frame) => frame.frame.case === "assign")).toEqual([]);
  expect(await stage.queued(runId)).toHaveLength(1);
});

test("replica drain vs claim, order 1 0: what was claimed and not sent is READY again at once, and costs nothing", async () => {
  const stage = await dispatchStage();
  const worker = await stage.connected();
  const runId = await stage.start("one");
  const release = await stage.hold("lock table lease in share row exclusive mode");
  await worker.send({ case: "credit", value: { freeSlots: 1, lastAssignSequence: 0n } });
  await stage.waiting(1);
  const closed = stage.registry.close();
  await release();
  await stage.claimer.stop();
  await closed;
  await stage.registry.close();
  await stage.services.settle.drained();
  expect(worker.frames.filter((frame) => frame.frame.case === "assign")).toEqual([]);
  expect(await stage.leases(runId)).toEqual([]);
  expect(await stage.queued(runId)).toMatchObject([{ last_token: null }]);
  expect((await stage.tasksOf(runId))[0]).toMatchObject({ state: "READY", deliveries: 0 });
});
