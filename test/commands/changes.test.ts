// Wake-ups of watchers: none is lost between a read and the wait after it, and nothing stays behind.

import { expect, test } from "vitest";
import { type Clock, systemClock } from "../../kit/clock.ts";
import { Changes } from "../../server/commands/changes.ts";

// Sleeps only end by their signal, so that a lost wake-up hangs the test.
const clock: Clock = {
  ...systemClock(),
  sleep: (_delayMs, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) resolve();
      signal?.addEventListener("abort", () => resolve(), { once: true });
    }),
};
const never = new AbortController().signal;

test("a change before the wait ends it at once, and only once", async () => {
  const changes = new Changes(clock);
  const watcher = changes.watchRun("run_1");
  changes.runsChanged(["run_1"]);
  await watcher.next(1_000, never);
  const waiting = watcher.next(1_000, never);
  changes.runsChanged(["run_2"]);
  expect(await Promise.race([waiting.then(() => "woken"), Promise.resolve("asleep")])).toBe("asleep");
  changes.runsChanged(["run_2", "run_1"]);
  await waiting;
  watcher.close();
});

test("every watcher of a topic is woken, the trail's by any run, and all by anythingChanged", async () => {
  const changes = new Changes(clock);
  const watchers = [changes.watchRun("run_1"), changes.watchRun("run_1"), changes.watchAudit()];
  const first = watchers.map((watcher) => watcher.next(1_000, never));
  changes.runsChanged(["run_1"]);
  await Promise.all(first);
  const second = watchers.map((watcher) => watcher.next(1_000, never));
  changes.anythingChanged();
  await Promise.all(second);
  expect(changes.size).toBe(3);
  for (const watcher of watchers) watcher.close();
  expect(changes.size).toBe(0);
});

test("an abort ends the wait, also one that came before", async () => {
  const changes = new Changes(clock);
  const watcher = changes.watchAudit();
  const abort = new AbortController();
  const waiting = watcher.next(1_000, abort.signal);
  abort.abort();
  await waiting;
  await watcher.next(1_000, abort.signal);
  watcher.close();
});
