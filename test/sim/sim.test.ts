// The simulator in the suite: some thousand histories of the world in memory, a few that the SQL layer is held to as well,
// and that a search can fail, tell of it, and be repeated. `npm run sim` does the same at length.

import { expect, inject, test } from "vitest";
import { Violation } from "./books.ts";
import { runHistory } from "./history.ts";
import { Oracle } from "./oracle.ts";
import { makeDatabase } from "./postgres_home.ts";
import { fromText, startSystem, textOf, wordOf } from "./schedule.ts";
import { medianOf, search } from "./search.ts";
import { searchSql } from "./search_sql.ts";

const SEED = 1;

test("no history of a search breaks a rule, and the search tries what it is for", () => {
  const found = search({ seed: SEED, histories: 2_000 });
  expect(found.broken).toBeUndefined();
  expect(medianOf([found])).toBeGreaterThanOrEqual(20);
  for (const [kind, times] of Object.entries(found.faults)) expect([kind, times > 0]).toEqual([kind, true]);
  const wanted = [
    "lease.expired",
    "lease.revoked",
    "task.dead_lettered",
    "task.retrying",
    "task.denied",
    "task.timed_out",
    "tool.cached",
    "tool.late_result",
    "call not_asked",
    "call unknown_outcome",
    "settle duplicate",
    "settle lease_lost",
    "turns refused",
    "batch",
    "leased by invoke",
    "leased by settle",
  ];
  expect(wanted.filter((name) => found.seen[name] === undefined)).toEqual([]);
});

test("the SQL layer gives the same verdicts, rows and records as the world in memory", async () => {
  const database = await makeDatabase(inject("postgres").adminUrl);
  try {
    const found = await searchSql({ url: database.url, seed: SEED, histories: 12, timeMs: 20_000 });
    expect(found.broken).toBeUndefined();
    expect(found.histories).toBeGreaterThan(0);
  } finally {
    await database.drop();
  }
});

test("equal seeds give equal searches, and words survive being printed", () => {
  expect(search({ seed: SEED, histories: 50 })).toEqual(search({ seed: SEED, histories: 50 }));
  const word = wordOf(12_345_678);
  expect(fromText(textOf(word))).toEqual(word);
  expect(() => fromText("juggle clean 0 0 0")).toThrow("not a word");
});

test("the model notices what it did not decide: a lease that changes hands behind its back", () => {
  const oracle = new Oracle();
  const driver = startSystem((traced, at) => oracle.observe(traced, at));
  driver.perform({ op: "invoke", flow: 0, key: "" }, 0);
  const [worker] = driver.workers;
  if (worker !== undefined) driver.claim(worker, 1, "clean");
  const [[task, lease] = []] = [...driver.tables.leases];
  expect(lease).toBeDefined();
  if (task !== undefined && lease !== undefined) driver.tables.leases.set(task, { ...lease, token: "stolen" });
  expect(() => driver.perform({ op: "find" }, 0)).toThrow(Violation);
});

test("a history of nothing ends at once", () => {
  expect(runHistory([])).toMatchObject({ commands: 0, violation: undefined });
});
