// Stop signals that repeat, and outputs that close before the process that writes to them.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { onStopSignals } from "../../kit/stop_signals.ts";
import { type ManualClock, manualClock } from "../rpc/manual_clock.ts";

const SIGNALS = ["SIGTERM", "SIGINT"] as const;

describe("stop signals", () => {
  // What the test runner itself does at a stop signal must not run here.
  const others = new Map<string, NodeJS.SignalsListener[]>();
  let clock: ManualClock;
  let stop: () => void;
  const first = vi.fn();
  const again = vi.fn();
  const counts = () => [first.mock.calls.length, again.mock.calls.length];

  beforeEach(() => {
    for (const signal of SIGNALS) {
      others.set(signal, process.listeners(signal) as NodeJS.SignalsListener[]);
      process.removeAllListeners(signal);
    }
    clock = manualClock();
    stop = onStopSignals(clock, first, again);
  });
  afterEach(() => {
    stop();
    vi.clearAllMocks();
    for (const signal of SIGNALS) for (const listener of others.get(signal) ?? []) process.on(signal, listener);
  });

  test.each(SIGNALS)("the first %s calls first, and nothing else", (signal) => {
    expect(counts()).toEqual([0, 0]);
    process.emit(signal, signal);
    expect(counts()).toEqual([1, 0]);
  });

  test("what repeats within a second is one signal, of either kind", () => {
    process.emit("SIGINT", "SIGINT");
    clock.advance(1);
    process.emit("SIGTERM", "SIGTERM");
    clock.advance(998);
    process.emit("SIGINT", "SIGINT");
    expect(counts()).toEqual([1, 0]);
  });

  test("a second after the first, each signal calls again", () => {
    process.emit("SIGINT", "SIGINT");
    clock.advance(1_000);
    process.emit("SIGINT", "SIGINT");
    expect(counts()).toEqual([1, 1]);
    clock.advance(60_000);
    process.emit("SIGTERM", "SIGTERM");
    expect(counts()).toEqual([1, 2]);
  });

  test("a later signal that repeats within a second is one signal too", () => {
    process.emit("SIGINT", "SIGINT");
    clock.advance(5_000);
    process.emit("SIGINT", "SIGINT");
    clock.advance(2);
    process.emit("SIGINT", "SIGINT");
    expect(counts()).toEqual([1, 1]);
  });

  test("a repetition does not put off when the next signal counts", () => {
    process.emit("SIGINT", "SIGINT");
    clock.advance(900);
    process.emit("SIGINT", "SIGINT");
    clock.advance(100);
    process.emit("SIGINT", "SIGINT");
    expect(counts()).toEqual([1, 1]);
  });

  test("a signal at time 0 of the clock counts as the first", () => {
    expect(clock.monotonic()).toBe(0);
    process.emit("SIGTERM", "SIGTERM");
    clock.advance(2_000);
    process.emit("SIGTERM", "SIGTERM");
    expect(counts()).toEqual([1, 1]);
  });

  test("nothing is listened to once stopped", () => {
    stop();
    for (const signal of SIGNALS) expect(process.listenerCount(signal)).toBe(0);
    expect(process.emit("SIGTERM", "SIGTERM")).toBe(false);
    expect(counts()).toEqual([0, 0]);
  });
});

describe("an output that closed", () => {
  const MODULE = new URL("../../kit/stop_signals.ts", import.meta.url).href;

  /** Exit code of a process that writes to an output that nobody reads any more, then goes on. */
  async function exitCode(output: "stdout" | "stderr", prelude: string): Promise<number | null> {
    const script = `
      import { outliveClosedOutput } from ${JSON.stringify(MODULE)};
      ${prelude}
      process.stdin.once("data", () => process.${output}.write("x", () => setImmediate(() => process.exit(7))));
    `;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: "pipe" });
    const exited = once(child, "exit");
    child[output].destroy();
    await once(child[output], "close");
    child.stdin.end("go");
    child.stdout.resume();
    child.stderr.resume();
    const [code] = (await exited) as [number | null];
    return code;
  }

  test.each(["stdout", "stderr"] as const)("does not end a process that outlives its %s", async (output) => {
    expect(await exitCode(output, "outliveClosedOutput();")).toBe(7);
  });

  test("ends one that does not", async () => {
    expect(await exitCode("stdout", "")).not.toBe(7);
  });
});
