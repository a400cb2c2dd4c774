// A COMMIT whose answer is lost: the store finds out what became of it, through a proxy that loses it on either side of Postgres.

import { sql } from "kysely";
import { afterAll, expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { openDatabase } from "../../server/storage/database.ts";
import { Lastly } from "../../server/storage/lastly.ts";
import { createStore, type Store, type StoreQueries } from "../../server/storage/store.ts";
import { COMMIT, CommitTrap } from "../chaos/commit_trap.ts";
import { reset, TcpProxy } from "../chaos/tcp_proxy.ts";
import { testDatabase } from "../harness/database.ts";

const database = await testDatabase();
const target = new URL(database.url);
const socket = target.searchParams.get("host");
const upstream =
  socket === null
    ? { host: target.hostname, port: Number(target.port) }
    : { path: `${socket}/.s.PGSQL.${target.port || "5432"}` };
const proxy = new TcpProxy(
  () => [upstream],
  () => 0.5,
);
const trap = new CommitTrap(proxy);
const swallow = proxy.onUp;
const through = new URL(database.url);
through.searchParams.delete("host");
through.host = `127.0.0.1:${await proxy.listen()}`;
const open = openDatabase({ url: through.href, onConnectionError: () => undefined });
const store = createStore(open.db, systemClock());
afterAll(async () => {
  await open.close();
  await proxy.close();
});

const write = (runId: string) => async (tx: StoreQueries) => {
  const row = { kind: "test.written", namespace: "", run_id: runId, task_id: "", actor: "test", record: "{}" };
  await tx.audit.insert([row, row]);
  return `wrote ${runId}`;
};
// Its records and COMMIT are under way together: none of them is answered before the connection is lost.
const writeLastly = (runId: string) => async (tx: StoreQueries) => {
  await tx.identify(true);
  const row = {
    kind: "test.written",
    namespace: "",
    run_id: runId,
    task_id: "",
    actor: "test",
    record: `{"of":"${runId}"}`,
  };
  return new Lastly(`wrote ${runId}`, [tx.audit.insert([row]), tx.audit.insert([row])]);
};
const written = async (runId: string) =>
  (
    await sql<{ n: number }>`select count(*)::integer as n from audit_event where run_id = ${runId}`.execute(
      database.db,
    )
  ).rows[0]?.n;
const outcome = (run: Promise<unknown>) =>
  run.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );

const ways = [
  ["after its statements were answered", write],
  ["together with its last statements", writeLastly],
] as const;

test.each(ways)(
  "committed %s and not told: the result is given, and the change is there once",
  async (how, writing) => {
    const runId = `run_told ${how}`;
    const before = trap.hits;
    trap.arm();
    expect(await store.transaction(writing(runId))).toBe(`wrote ${runId}`);
    expect(trap.hits).toBe(before + 1);
    expect(await written(runId)).toBe(2);
  },
);

test.each(ways)(
  "sent %s and never arrived: the error says that nothing happened, and nothing did",
  async (how, writing) => {
    const runId = `run_cut ${how}`;
    let cut = 0;
    proxy.onUp = (link, chunk) => {
      if (!chunk.includes(COMMIT)) return;
      cut += 1;
      reset(link.upstream);
      reset(link.client);
    };
    const { error } = (await outcome(store.transaction(writing(runId)))) as { error: { metadata: object } };
    proxy.onUp = swallow;
    expect(cut).toBe(1);
    expect(error).toMatchObject({
      reason: "STORAGE_UNAVAILABLE",
      message: expect.stringContaining("nothing happened"),
    });
    expect(error.metadata).not.toHaveProperty("commit");
    expect(await written(runId)).toBe(0);
  },
);

test.each<[string, Store, (tx: StoreQueries) => Promise<unknown>]>([
  ["without a record", store, (tx) => sql`select 1`.execute(tx.db)],
  ["without a clock", createStore(open.db), write("run_unknown")],
])("%s it stays unknown, and says so", async (_what, unclear, fn) => {
  trap.arm();
  const { error } = (await outcome(unclear.transaction(fn))) as { error: unknown };
  expect(error).toMatchObject({ reason: "STORAGE_UNAVAILABLE", metadata: { commit: "unknown" } });
});

test("while the database does not come back it stays unknown after five seconds", async () => {
  const before = trap.hits;
  const { onDown } = proxy;
  let started = 0;
  // At once: the store opens another connection as soon as this one is gone.
  proxy.onDown = (link, chunk) => {
    const passes = onDown(link, chunk);
    if (started === 0 && trap.hits > before) {
      started = performance.now();
      proxy.toxics = { refuse: true };
      proxy.cut();
    }
    return passes;
  };
  trap.arm();
  const { error } = (await outcome(store.transaction(write("run_away")))) as { error: unknown };
  proxy.onDown = onDown;
  proxy.toxics = {};
  expect(error).toMatchObject({ reason: "STORAGE_UNAVAILABLE", metadata: { commit: "unknown" } });
  expect(performance.now() - started).toBeGreaterThan(3_000);
});
