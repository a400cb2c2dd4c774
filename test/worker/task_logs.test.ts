// Log lines of tasks until they leave the worker: gathered, bounded for each lease, the last ones kept, nothing sent twice.

import { expect, test } from "vitest";
import {
  GATHER_MS,
  HEAD_BYTES_MAX,
  LINE_BYTES_MAX,
  TAIL_BYTES_MAX,
  type TaskLogLines,
  TaskLogs,
} from "../../worker/telemetry/task_logs.ts";
import { manualClock } from "../rpc/manual_clock.ts";

function logs() {
  const clock = manualClock();
  const sent: TaskLogLines[] = [];
  let connected = true;
  const all = new TaskLogs(clock, (log) => {
    if (connected) sent.push(log);
    return connected;
  });
  const connect = (on: boolean) => {
    connected = on;
  };
  return { clock, sent, all, connect };
}

test("lines of a second leave together, those of a task that ends at once", () => {
  const { clock, sent, all } = logs();
  const one = all.open("task_1", "a");
  const two = all.open("task_2", "b");
  one.add("first");
  one.add("second");
  two.add("other");
  expect(sent).toEqual([]);
  clock.advance(GATHER_MS);
  expect(sent).toEqual([
    { taskId: "task_1", token: "a", lines: ["first", "second"], dropped: 0 },
    { taskId: "task_2", token: "b", lines: ["other"], dropped: 0 },
  ]);
  one.add("last");
  all.end("a");
  expect(sent.slice(2)).toEqual([{ taskId: "task_1", token: "a", lines: ["last"], dropped: 0 }]);
  clock.advance(10 * GATHER_MS);
  expect(sent).toHaveLength(3);
});

test("a task that floods sends its first and its last lines, 64 KiB in all, and says how many are missing between", () => {
  const { clock, sent, all } = logs();
  const flood = all.open("task_1", "a");
  const line = (number: number) => `${String(number).padStart(6, "0")} ${"x".repeat(93)}`;
  for (let number = 0; number < 20_000; number += 1) {
    flood.add(line(number));
    if (number % 500 === 0) clock.advance(GATHER_MS);
  }
  all.end("a");
  const lines = sent.flatMap((log) => log.lines);
  const bytes = lines.reduce((sum, text) => sum + text.length + 1, 0) + 128 * sent.length;
  expect(bytes).toBeLessThan(HEAD_BYTES_MAX + TAIL_BYTES_MAX + 2 * 128 + 1);
  expect(bytes).toBeLessThan(64 * 1_024);
  expect(lines[0]).toBe(line(0));
  expect(lines.at(-1)).toBe(line(19_999));
  expect(sent.reduce((sum, log) => sum + log.dropped, 0) + lines.length).toBe(20_000);
  expect(sent.at(-1)?.dropped).toBeGreaterThan(0);
});

test("a line is cut between characters", () => {
  const { sent, all } = logs();
  all.open("task_1", "a").add("ü".repeat(LINE_BYTES_MAX));
  all.end("a");
  const [line = ""] = sent[0]?.lines ?? [];
  expect(Buffer.byteLength(line)).toBeLessThanOrEqual(LINE_BYTES_MAX);
  expect(line).toMatch(/^ü+…$/);
});

test("without a connection lines wait, also those of tasks that have ended, and leave once with the next one", () => {
  const { clock, sent, all, connect } = logs();
  connect(false);
  const one = all.open("task_1", "a");
  one.add("first");
  clock.advance(3 * GATHER_MS);
  one.add("second");
  all.end("a");
  all.open("task_2", "b").add("other");
  clock.advance(3 * GATHER_MS);
  expect(sent).toEqual([]);
  connect(true);
  clock.advance(GATHER_MS);
  expect(sent.map(({ lines }) => lines)).toEqual([["first", "second"], ["other"]]);
  clock.advance(10 * GATHER_MS);
  expect(sent).toHaveLength(2);
});

test("of a lease that is lost nothing leaves any more, and nothing at all after the end", () => {
  const { clock, sent, all } = logs();
  const lost = all.open("task_1", "a");
  lost.add("never");
  all.forget("a");
  lost.add("nor this");
  all.open("task_2", "b").add("too late");
  all.close();
  clock.advance(10 * GATHER_MS);
  expect(sent).toEqual([]);
  expect(clock.pending).toBe(0);
});
