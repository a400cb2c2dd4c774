// Signed heads leave the database: each once, in order, across restarts; and a trail that was set back is noticed, not signed.

import { readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import type { Checkpoint } from "../../server/audit/checkpoint.ts";
import { headSink, loadAuditKey } from "../../server/audit_key.ts";
import type { CommandContext } from "../../server/commands/context.ts";
import { HeadKeeper, type HeadSink } from "../../server/dispatch/head_keeper.ts";
import { Sealer } from "../../server/dispatch/sealer.ts";
import { createStore, type Store } from "../../server/storage/store.ts";
import { temporaryFolder } from "../cli/run_orloj.ts";
import { storeEvents, turnEvent } from "../commands/stored_run.ts";
import { atEndOfFile } from "../harness/cleanup.ts";
import { testDatabase } from "../harness/database.ts";

const database = await testDatabase();
const store = createStore(database.db);
const folder = temporaryFolder();
atEndOfFile(async () => folder[Symbol.dispose]());
const home = folder.path;
const key = loadAuditKey(home, undefined);
const file = join(home, "audit-heads.ndjson");
const print = () => undefined;
const errors: string[] = [];
const log = { info: print, warn: print, error: (event: string) => void errors.push(event) };
const context = { store, log } as unknown as CommandContext;
const keeperWith = (sink: HeadSink = headSink(home, undefined, print), on: Store = store) =>
  new HeadKeeper({ ...context, store: on }, systemClock(), key, sink);
const numbers = () =>
  readFileSync(file, "utf8")
    .trim()
    .split("\n")
    .map((line) => (JSON.parse(line) as Checkpoint).number);

let writes = 0;
async function seal(): Promise<void> {
  writes += 1;
  await storeEvents(store, [turnEvent("run", writes)]);
  const sealer = new Sealer(context, systemClock());
  while ((await sealer.once()) !== "idle");
}

beforeEach(() => {
  errors.length = 0;
});

test("the key is made once, for its owner alone, and is the same at the next start", () => {
  expect(statSync(join(home, "audit-key.pem")).mode & 0o777).toBe(0o600);
  expect(loadAuditKey(home, undefined).name).toBe(key.name);
  expect(loadAuditKey("/nowhere", join(home, "audit-key.pem")).name).toBe(key.name);
  writeFileSync(join(home, "other.pem"), "-----BEGIN NONSENSE-----");
  expect(() => loadAuditKey(home, join(home, "other.pem"))).toThrow(/other\.pem holds no private key: give an Ed25519/);
  expect(() => loadAuditKey(home, join(home, "none.pem"))).toThrow(/--audit-key: .*none\.pem cannot be read/);
});

test("nothing is signed before anything is sealed; each head is exported once, also after a restart in the middle of a line", async () => {
  await keeperWith().look();
  expect(() => readFileSync(file)).toThrow();
  const keeper = keeperWith();
  await seal();
  await keeper.look();
  await keeper.look();
  await seal();
  await keeper.look();
  expect(numbers()).toEqual([1, 2]);
  let transactions = 0;
  const counting: Store = { ...store, transaction: (fn) => store.transaction(fn).finally(() => (transactions += 1)) };
  const watching = keeperWith(undefined, counting);
  await watching.look();
  expect(transactions).toBe(0);
  await seal();
  await keeperWith().look();
  expect(numbers()).toEqual([1, 2, 3]);
  await seal();
  const text = readFileSync(file, "utf8");
  writeFileSync(file, text.slice(0, -40));
  await keeperWith().look();
  const lines = readFileSync(file, "utf8").trim().split("\n");
  expect(() => JSON.parse(lines.at(-3) as string)).toThrow();
  expect(lines.slice(-2).map((line) => (JSON.parse(line) as Checkpoint).number)).toEqual([3, 4]);
  writeFileSync(file, `${[...lines.slice(0, 2), ...lines.slice(-2)].join("\n")}\n`);
  expect(errors).toEqual([]);
});

test("a head that cannot be written is written at a later look, and the log says so; stop looks a last time", async () => {
  const written: number[] = [];
  let full = true;
  const sink: HeadSink = {
    last: () => undefined,
    onlyNewest: true,
    write(head) {
      if (full) throw new Error("no space left");
      written.push(head.number);
    },
  };
  const keeper = keeperWith(sink);
  await seal();
  await expect(keeper.look()).rejects.toThrow("no space left");
  full = false;
  await keeper.look();
  expect(written).toEqual([5]);
  full = true;
  keeper.start();
  await seal();
  await keeper.stop();
  expect(errors).toContain("audit.head_not_exported");
  await keeperWith().look();
  expect(numbers()).toEqual([1, 2, 3, 4, 5, 6]);
});

test("a trail that was set back is not signed, by a running server or by one that starts; once the file is moved away it is", async () => {
  const running = keeperWith();
  await running.look();
  await database.pool.query("alter table audit_checkpoint disable trigger all");
  await database.pool.query("delete from audit_checkpoint where number >= 5");
  await seal();
  await running.look();
  await keeperWith().look();
  expect(errors).toEqual(["audit.head_lost", "audit.head_lost"]);
  expect(numbers().at(-1)).toBe(6);
  rmSync(file);
  await keeperWith().look();
  expect(numbers()).toEqual([1, 2, 3, 4, 5]);
  expect(errors).toHaveLength(2);
});

test("standard output gets heads as lines, beginning with the newest one", async () => {
  const printed: string[] = [];
  const keeper = keeperWith(headSink(home, "stdout", (text) => void printed.push(text)));
  await keeper.look();
  await seal();
  await keeper.look();
  const read = printed.map((line) => JSON.parse(line));
  expect(read.map(({ type, number }) => [type, number])).toEqual([
    ["head", 5],
    ["head", 6],
  ]);
  expect(printed.every((line) => line.endsWith("}\n"))).toBe(true);
});
