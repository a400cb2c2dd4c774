// The numbers of `orloj top`: those of monitoring, replicas with what they hold, and rates; read at most once a second.

import { expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { systemRandom } from "../../kit/random.ts";
import { StatusReader } from "../../server/commands/read_status.ts";
import { createHintListener } from "../../server/storage/listen.ts";
import { atEndOfFile } from "../harness/cleanup.ts";
import { commandStage } from "./command_stage.ts";

const stage = await commandStage();
const clock = systemClock();

test("replicas are known by their listening connection or by their sessions; rates are those of the last ten seconds", async () => {
  const listening = new Promise<void>((resolve) => {
    const listener = createHintListener({
      ...{ url: stage.database.url, replicaId: "rep_idle", clock, random: systemRandom() },
      onHint: () => resolve(),
    });
    listener.start();
    atEndOfFile(() => listener.stop());
  });
  await listening;
  await stage.store.transaction((tx) =>
    tx.sessions.open(
      {
        ...{ id: "ses_a", instance_id: "i", name: "w", identity: "id", labels: {}, runtimes: ["model"], handlers: [] },
        ...{ slots: 7, version: "1", replica_id: "rep_busy" },
      },
      "",
      60_000,
    ),
  );
  for (let count = 0; count < 5; count += 1) await stage.start("one");
  await stage.claimAs("ses_a", 2);
  const own = () => [{ name: "event_loop_lag_seconds", labels: { quantile: "0.99" }, value: 0.5 }];
  const { numbers, readTime, replicaId, version } = await new StatusReader(stage.context, clock, {
    ...{ replicaId: "rep_me", version: "1.2.3", own },
  }).read();
  const of = (name: string, labels: Record<string, string> = {}) =>
    numbers.find(
      (one) => one.name === name && Object.entries(labels).every(([key, value]) => one.labels[key] === value),
    )?.value;
  expect({ replicaId, version }).toEqual({ replicaId: "rep_me", version: "1.2.3" });
  expect(Math.abs(readTime.getTime() - clock.now())).toBeLessThan(10_000);
  expect(of("replica_sessions", { replica: "rep_idle" })).toBe(0);
  expect(of("replica_sessions", { replica: "rep_busy" })).toBe(1);
  expect(of("replica_slots", { replica: "rep_busy" })).toBe(7);
  expect(of("replica_leases", { replica: "rep_busy" })).toBe(2);
  expect(of("events_per_second", { kind: "run.created" })).toBeCloseTo(0.5);
  expect(of("tasks", { state: "LEASED" })).toBe(2);
  expect(of("queue_tasks")).toBe(3);
  expect(of("event_loop_lag_seconds")).toBe(0.5);
  expect(of("status_read_seconds")).toBeGreaterThan(0);
});

test("however many ask, the database is read once a second; a failure is not kept", async () => {
  let reads = 0;
  let nowMs = 0;
  const counting = {
    store: {
      ...stage.store,
      read: ((fn) => {
        reads += 1;
        return stage.store.read(fn);
      }) as typeof stage.store.read,
    },
  };
  const reader = new StatusReader(
    counting,
    { ...clock, monotonic: () => nowMs },
    {
      ...{ replicaId: "r", version: "1", own: () => [] },
    },
  );
  await Promise.all([reader.read(), reader.read(), reader.read()]);
  expect(reads).toBe(2);
  nowMs = 1_000;
  await reader.read();
  expect(reads).toBe(4);
  nowMs = 2_000;
  const broken = new StatusReader(
    { store: { ...stage.store, read: () => Promise.reject(new Error("away")) } },
    { ...clock, monotonic: () => nowMs },
    { replicaId: "r", version: "1", own: () => [] },
  );
  await expect(broken.read()).rejects.toThrow("away");
  await expect(broken.read()).rejects.toThrow("away");
});
