// Log lines of workers that come in: bounded whatever a worker sends, escaped, and never about a task that it does not hold.

import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { TaskLogSchema } from "../../proto/gen/orloj/v1/worker_pb.ts";
import type { TaskLogChunk } from "../../server/commands/keep_task_logs.ts";
import type { CommandServices } from "../../server/commands/services.ts";
import { CHUNK_BYTES, LEASE_LOG_BYTES_MAX, LINE_BYTES_MAX, TaskLogIntake } from "../../server/dispatch/task_logs.ts";
import type { HeldAssignment } from "../../server/dispatch/worker_session.ts";
import type { Logger } from "../../server/telemetry/log.ts";

const HELD: HeldAssignment = {
  ...{ taskId: "task_1", token: "t", route: "r", accepted: true, stopping: false, attempt: 1, delivery: 0 },
};

function intake(add: (chunk: TaskLogChunk) => Promise<true> = () => Promise.resolve(true)) {
  const chunks: TaskLogChunk[] = [];
  const warned: unknown[] = [];
  const logs = {
    add: (chunk: TaskLogChunk) => {
      chunks.push(chunk);
      return add(chunk);
    },
  };
  const log = { warn: (event: string, fields: object) => void warned.push({ event, ...fields }) };
  const taken = new TaskLogIntake({ logs } as unknown as CommandServices, log as unknown as Logger);
  const take = (
    lines: string[],
    held: HeldAssignment | "none" = HELD,
    more: { taskId?: string; dropped?: number } = {},
  ) =>
    taken.take(
      "w",
      create(TaskLogSchema, { taskId: "task_1", token: "t", lines, ...more }),
      held === "none" ? undefined : held,
    );
  return { chunks, warned, take };
}

test("lines are kept with their lease; a later one is told apart", () => {
  const { chunks, take } = intake();
  take(["one", "two"], HELD, { dropped: 4 });
  take(["three"], { ...HELD, attempt: 2 });
  take(["four"], { ...HELD, delivery: 1 });
  const { attempt: _attempt, delivery: _delivery, ...unknown } = HELD;
  take(["five"], unknown);
  expect(chunks[0]).toEqual({
    ...{ task_id: "task_1", attempt: 1, delivery: 0, worker: "w", lines: "one\ntwo", line_count: 2 },
    ...{ bytes: CHUNK_BYTES + 8, dropped: 4, isLater: false },
  });
  expect(chunks.map(({ isLater }) => isLater)).toEqual([false, true, true, true]);
});

test("nothing is kept about a task that the session does not hold, or by the token of another", () => {
  const { chunks, take } = intake();
  take(["x"], "none");
  take(["x"], HELD, { taskId: "task_2" });
  expect(chunks).toEqual([]);
});

test("what could forge a line or stop the database is escaped, and a long line is cut", () => {
  const { chunks, take } = intake();
  take(["a\nb\u0000\u001b[2J", "ü".repeat(LINE_BYTES_MAX)]);
  const [escaped, long = ""] = chunks[0]?.lines.split("\n") ?? [];
  expect(escaped).toBe("a\\u000ab\\u0000\\u001b[2J");
  expect(Buffer.byteLength(long)).toBeLessThanOrEqual(LINE_BYTES_MAX);
  expect(long).toMatch(/^ü+…$/);
});

test("a lease has 64 KiB, in however many frames", () => {
  const { chunks, take } = intake();
  for (let number = 0; number < 1_000; number += 1) take(["x".repeat(1_000)]);
  for (let number = 0; number < 10_000; number += 1) take(["y"]);
  const bytes = chunks.reduce((sum, chunk) => sum + chunk.bytes, 0);
  expect(bytes).toBeLessThanOrEqual(LEASE_LOG_BYTES_MAX);
  const kept = chunks.reduce((sum, chunk) => sum + chunk.line_count, 0);
  expect(kept).toBeLessThan(600);
});

test("while the database does not write, no more than a bound waits, and the log says what was lost", async () => {
  const waiting: PromiseWithResolvers<true>[] = [];
  const { chunks, warned, take } = intake(() => {
    waiting.push(Promise.withResolvers<true>());
    return (waiting.at(-1) as PromiseWithResolvers<true>).promise;
  });
  for (let lease = 0; lease < 1_000; lease += 1)
    take(
      [..."0123456789"].map(() => "z".repeat(4_000)),
      { ...HELD },
    );
  const bytes = chunks.reduce((sum, chunk) => sum + chunk.bytes, 0);
  expect(bytes).toBeLessThanOrEqual(8 * 1_024 * 1_024);
  expect(bytes).toBeGreaterThan(7 * 1_024 * 1_024);
  for (const { reject } of waiting) reject(new Error("no database"));
  await new Promise((resolve) => setImmediate(resolve));
  expect(warned).toHaveLength(chunks.length);
  expect(warned[0]).toMatchObject({ event: "task_logs.lost", task: "task_1", lines: 10, error: "no database" });
  const before = chunks.length;
  take(["after"], { ...HELD });
  expect(chunks).toHaveLength(before + 1);
});
