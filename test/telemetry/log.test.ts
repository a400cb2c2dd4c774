// The log: one parseable line an entry, whatever is in it.

import { expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { DomainError } from "../../kit/errors.ts";
import { createLogger, type LogLevel } from "../../server/telemetry/log.ts";

function loggerAt(level?: LogLevel) {
  const lines: string[] = [];
  const clock = { ...systemClock(), now: () => Date.UTC(2026, 0, 1) };
  const log = createLogger({ clock, sink: (line) => void lines.push(line), ...(level && { level }) });
  return { log, lines };
}

test("writes one JSON object a line with time, level, event and fields", () => {
  const { log, lines } = loggerAt();
  log.with({ replica: "rep_1" }).info("server.started", { port: 1, id: 7n });
  expect(lines).toEqual([
    '{"time":"2026-01-01T00:00:00.000Z","level":"info","event":"server.started","replica":"rep_1","port":1,"id":"7"}\n',
  ]);
});

test("leaves out what is below the level", () => {
  const { log, lines } = loggerAt("warn");
  log.debug("a");
  log.info("b");
  log.warn("c");
  log.error("d");
  expect(lines.map((line) => JSON.parse(line).event)).toEqual(["c", "d"]);
});

test("an error brings its reason, stack and causes", () => {
  const { log, lines } = loggerAt();
  const cause = Object.assign(new Error("reset"), { code: "ECONNRESET" });
  log.error("x", { error: new DomainError("STORAGE_UNAVAILABLE", "no database", { host: "h" }, cause) });
  expect(JSON.parse(lines[0] ?? "").error).toMatchObject({
    reason: "STORAGE_UNAVAILABLE",
    message: "no database",
    metadata: { host: "h" },
    stack: expect.stringContaining("log.test.ts"),
    cause: { message: "reset", code: "ECONNRESET" },
  });
});

test("no value can forge a line or move a cursor", () => {
  const { log, lines } = loggerAt();
  log.warn("x", { text: 'a\r\n{"level":"error"}\u001b[2J\u009b2J\u2028\u007f' });
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(/^[\x20-\x7e]+\n$/);
  expect(JSON.parse(lines[0] ?? "").text).toBe('a\r\n{"level":"error"}\u001b[2J\u009b2J\u2028\u007f');
});

test("a cycle costs the fields, not the line", () => {
  const { log, lines } = loggerAt();
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  log.warn("x", { cycle });
  expect(JSON.parse(lines[0] ?? "")).toMatchObject({ event: "x", unserialisable: true });
});
