// Wake-ups of watchers: none is lost between a read and the wait after it, and nothing stays behind.

import { expect, test } from "vitest";
import { type Clock, systemClock } from "../../kit/clock.ts";
import { Changes } from "../../server/commands/changes.ts";
import { isOfKinds } from "../../server/storage/read_audit.ts";

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

test("every watcher of a topic is woken, the trail's by records, and all by anythingChanged", async () => {
  const changes = new Changes(clock);
  const watchers = [changes.watchRun("run_1"), changes.watchRun("run_1"), changes.watchAudit(() => true)];
  const first = watchers.map((watcher) => watcher.next(1_000, never));
  changes.runsChanged(["run_1"]);
  changes.recorded(new Set(["run.created"]));
  await Promise.all(first);
  const second = watchers.map((watcher) => watcher.next(1_000, never));
  changes.anythingChanged();
  await Promise.all(second);
  expect(changes.size).toBe(3);
  for (const watcher of watchers) watcher.close();
  expect(changes.size).toBe(0);
});

test("records that a watcher of the trail does not want leave it asleep, unless anything may have changed", async () => {
  const changes = new Changes(clock);
  const watcher = changes.watchAudit((kind) => kind === "run.stopping");
  const state = async (waiting: Promise<void>) => {
    return await Promise.race([waiting.then(() => "woken"), new Promise((resolve) => setImmediate(resolve, "asleep"))]);
  };
  const first = watcher.next(1_000, never);
  changes.recorded(new Set(["run.created", "task.leased"]));
  expect(await state(first)).toBe("asleep");
  changes.recorded(new Set(["run.created", "run.stopping"]));
  expect(await state(first)).toBe("woken");
  const second = watcher.next(1_000, never);
  changes.anythingChanged();
  expect(await state(second)).toBe("woken");
  watcher.close();
});

test("an abort ends the wait, also one that came before", async () => {
  const changes = new Changes(clock);
  const watcher = changes.watchAudit(() => true);
  const abort = new AbortController();
  const waiting = watcher.next(1_000, abort.signal);
  abort.abort();
  await waiting;
  await watcher.next(1_000, abort.signal);
  watcher.close();
});

test.each<[string, readonly string[] | undefined, boolean]>([
  ["task.leased", undefined, true],
  ["task.leased", [], true],
  ["task.leased", ["run.created", "task.leased"], true],
  ["task.leased", ["task."], true],
  ["task.leased", ["task", "task.lease", "run."], false],
])("a filter wants a kind by its name, or by a prefix that ends in a dot: %s of %j is %s", (kind, kinds, wanted) => {
  expect(isOfKinds(kind, kinds)).toBe(wanted);
});
