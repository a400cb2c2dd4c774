// The clock of this machine: when its timers fire, what cancels them, and what they hold on to.

import { getEventListeners } from "node:events";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { DAY, SECOND } from "../../kit/units.ts";

const clock = systemClock();

describe("with the timers moved by hand", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date", "performance"], now: 1_000_000 });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  test("now follows the wall clock back; monotonic does not", () => {
    const startMs = clock.monotonic();
    expect(clock.now()).toBe(1_000_000);
    vi.setSystemTime(500_000);
    expect(clock.now()).toBe(500_000);
    expect(clock.monotonic()).toBeGreaterThanOrEqual(startMs);
    vi.advanceTimersByTime(250);
    expect(clock.monotonic() - startMs).toBe(250);
  });

  test("after calls back once, when the delay is over", () => {
    const callback = vi.fn();
    clock.after(100, callback);
    vi.advanceTimersByTime(99);
    expect(callback).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(callback).toHaveBeenCalledTimes(1);
    vi.advanceTimersByTime(1_000);
    expect(callback).toHaveBeenCalledTimes(1);
  });

  test("after never calls back once cancelled, and cancelling again or too late does nothing", () => {
    const cancelled = vi.fn();
    const cancel = clock.after(100, cancelled);
    cancel();
    cancel();
    expect(vi.getTimerCount()).toBe(0);
    const called = vi.fn();
    const tooLate = clock.after(100, called);
    vi.advanceTimersByTime(200);
    tooLate();
    expect(cancelled).not.toHaveBeenCalled();
    expect(called).toHaveBeenCalledTimes(1);
  });

  test("after waits as long as it was told, also longer than a timer of the platform can", () => {
    const callback = vi.fn();
    const cancelled = vi.fn();
    clock.after(90 * DAY, callback);
    const cancel = clock.after(90 * DAY, cancelled);
    vi.advanceTimersByTime(60 * DAY);
    expect(callback).not.toHaveBeenCalled();
    cancel();
    vi.advanceTimersByTime(30 * DAY - 1);
    expect(callback).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(callback).toHaveBeenCalledTimes(1);
    expect(cancelled).not.toHaveBeenCalled();
    expect(vi.getTimerCount()).toBe(0);
  });

  test("sleep resolves when the delay is over, and listens to its signal no longer", async () => {
    const { signal } = new AbortController();
    let awake = false;
    const slept = clock.sleep(100, signal).then(() => (awake = true));
    await vi.advanceTimersByTimeAsync(99);
    expect(awake).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    await slept;
    expect(getEventListeners(signal, "abort")).toEqual([]);
  });

  test("sleep resolves at once when its signal aborts, and leaves no timer", async () => {
    const controller = new AbortController();
    const slept = clock.sleep(100, controller.signal);
    controller.abort(new Error("not what sleep rejects with"));
    expect(await slept).toBeUndefined();
    expect(vi.getTimerCount()).toBe(0);
  });

  test("sleep resolves at once when its signal had aborted before", async () => {
    expect(await clock.sleep(100, AbortSignal.abort())).toBeUndefined();
    expect(vi.getTimerCount()).toBe(0);
  });

  test.each([40 * DAY, Number.POSITIVE_INFINITY])("a sleep of %d ms lasts until its signal aborts", async (delayMs) => {
    const controller = new AbortController();
    let awake = false;
    const slept = clock.sleep(delayMs, controller.signal).then(() => (awake = true));
    await vi.advanceTimersByTimeAsync(30 * DAY);
    expect(awake).toBe(false);
    controller.abort();
    await slept;
    expect(vi.getTimerCount()).toBe(0);
  });
});

test("after does not keep the process alive; sleep does", async () => {
  const holding = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
  const before = holding();
  const cancel = clock.after(SECOND, () => undefined);
  expect(holding()).toBe(before);
  const controller = new AbortController();
  const slept = clock.sleep(SECOND, controller.signal);
  expect(holding()).toBe(before + 1);
  controller.abort();
  await slept;
  cancel();
});
