// A worker's log: one line an event in both formats, whatever is in it, and without the secrets of its tasks.

import { expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { Redactor } from "../../kit/redactor.ts";
import { createLog, redactingLog } from "../../worker/log.ts";

const HOSTILE = 'x\r\n{"level":"error","message":"forged"}\n12:00:00 error forged\u001b[2J\u009b31m\u2028\u202e\u0000';

function lines(format: "json" | "text") {
  const written: string[] = [];
  const clock = { ...systemClock(), now: () => Date.UTC(2026, 0, 1, 12) };
  return { log: createLog({ format, level: "debug", clock, write: (line) => void written.push(line) }), written };
}

test.each(["json", "text"] as const)("%s: no value and no message can forge a line or move a cursor", (format) => {
  const { log, written } = lines(format);
  log("warn", HOSTILE, { error: HOSTILE, task: "task_1" });
  expect(written).toHaveLength(1);
  expect(written[0]).toMatch(/^[\x20-\x7e]+\n$/);
});

test("json: the value stays what it was", () => {
  const { log, written } = lines("json");
  log("warn", "task failed", { error: HOSTILE });
  expect(JSON.parse(written[0] ?? "")).toMatchObject({ level: "warn", message: "task failed", error: HOSTILE });
});

test("text: a line is time, level, message, facts; plain values stand bare", () => {
  const { log, written } = lines("text");
  log("warn", "task failed", { task: "task_1", error: 'it "broke"', count: 2 });
  expect(written).toEqual(['12:00:00 warn  task failed task=task_1 error="it \\"broke\\"" count=2\n']);
});

test("secrets that were learnt are left out of message and facts, in numbers too", () => {
  const redactor = new Redactor();
  const told: unknown[] = [];
  const log = redactingLog((...event) => void told.push(event), redactor);
  log("info", "a canary-4711", { error: "canary-4711" });
  redactor.learn("canary-4711");
  redactor.learn("8675309421");
  log("info", "a canary-4711", { error: "Y2FuYXJ5LTQ3MTE=", digits: 8_675_309_421, fine: true });
  log("info", "no facts");
  expect(told).toEqual([
    ["info", "a canary-4711", { error: "canary-4711" }],
    ["info", "a [redacted]", { error: "[redacted]", digits: "[redacted]", fine: true }],
    ["info", "no facts", {}],
  ]);
});
