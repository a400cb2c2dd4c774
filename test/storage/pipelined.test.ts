// Statements that are under way together: their order, what one that fails does to the others, and that none runs outside of its transaction.

import { sql } from "kysely";
import { expect, test } from "vitest";
import { openDatabase, transaction } from "../../server/storage/database.ts";
import { Lastly } from "../../server/storage/lastly.ts";
import { createStore } from "../../server/storage/store.ts";
import { atEndOfFile } from "../harness/cleanup.ts";
import { testDatabase } from "../harness/database.ts";

const database = await testDatabase();
const { db } = database;
await sql`create table step (n integer primary key)`.execute(db);
const single = openDatabase({ url: database.url, poolMax: 1 });
atEndOfFile(() => single.close());
const store = createStore(single.db);
const steps = async () => (await sql<{ n: number }>`select n from step order by n`.execute(db)).rows.map(({ n }) => n);
const clear = () => sql`delete from step`.execute(db);

test("statements that are sent together run in their order, each after the ones before it", async () => {
  const counts = await transaction(single.db, async (tx) => {
    const count = () => sql<{ n: number }>`select count(*)::integer as n from step`.execute(tx);
    const insert = (n: number) => sql`insert into step values (${n})`.execute(tx);
    const [, one, , , three] = await Promise.all([insert(1), count(), insert(2), insert(3), count()]);
    return [one, three].map(({ rows }) => rows[0]?.n);
  });
  expect(counts).toEqual([1, 3]);
  expect(await steps()).toEqual([1, 2, 3]);
  await clear();
});

test("BEGIN costs no round trip, and a transaction without a statement none at all", async () => {
  const sent: unknown[] = [];
  const client = await single.pool.connect();
  const stream = (client as unknown as { connection: { stream: NodeJS.WritableStream } }).connection.stream;
  const write = stream.write.bind(stream);
  stream.write = ((chunk: Uint8Array, ...rest: never[]) => {
    sent.push(chunk);
    return write(chunk, ...rest);
  }) as typeof stream.write;
  client.release();
  expect(await transaction(single.db, () => Promise.resolve("nothing"))).toBe("nothing");
  await expect(transaction(single.db, () => Promise.reject(new Error("no")))).rejects.toThrow();
  expect(sent).toEqual([]);
});

test("a BEGIN that fails keeps its statement from running outside of a transaction", async () => {
  // In a transaction that has failed Postgres refuses BEGIN, and skips what was sent in one group with it.
  const client = await single.pool.connect();
  await client.query("start transaction");
  await client.query("select 1 / 0").catch(() => undefined);
  await client.query("begin", []);
  await expect(client.query("insert into step values ($1)", [7])).rejects.toMatchObject({ code: "25P02" });
  await client.query("rollback");
  client.release();
  expect(await steps()).toEqual([]);
});

test("who begins by hand, through a pool, is answered, and may send several statements in one text", async () => {
  const ask = (text: string) => single.pool.query(text, []);
  await ask("begin");
  await ask("insert into step values (1); insert into step values (2)");
  await ask("rollback");
  expect(await steps()).toEqual([]);
});

test("of statements that were sent together the first that fails says why, and nothing is written", async () => {
  const failing = transaction(single.db, (tx) =>
    Promise.all([
      sql`insert into step values (1)`.execute(tx),
      sql`insert into step values (1)`.execute(tx),
      sql`insert into step values (2)`.execute(tx),
    ]),
  );
  await expect(failing).rejects.toMatchObject({ metadata: { constraint: "step_pkey" } });
  expect(await steps()).toEqual([]);
});

test("that holds for whoever is heard first, and a name that was not learned for it is no pooler's", async () => {
  const opened = openDatabase({ url: database.url, poolMax: 1 });
  atEndOfFile(() => opened.close());
  const later = async (query: Promise<unknown>) => void (await await (await [query])[0]);
  const act = () =>
    transaction(opened.db, (tx) => {
      const insert = (n: number) => sql`insert into step values (${n})`.execute(tx);
      return Promise.all([later(later(insert(1))), later(insert(1)), insert(1), sql`select ${1}`.execute(tx)]);
    });
  for (let tries = 0; tries < 6; tries += 1) {
    await expect(act()).rejects.toMatchObject({ metadata: { constraint: "step_pkey" } });
  }
  expect(await steps()).toEqual([]);
  const select = () => transaction(opened.db, (tx) => sql`select ${1}`.execute(tx));
  for (let tries = 0; tries < 3; tries += 1) await select();
  const { rows } = await opened.pool.query("select count(*)::integer as names from pg_prepared_statements");
  expect(rows).toEqual([{ names: 2 }]);
});

const record = (runId: string) => {
  return {
    kind: "test.written",
    namespace: "",
    run_id: runId,
    task_id: "",
    actor: "test",
    record: `{"of":"${runId}"}`,
  };
};
const records = async (runId: string) =>
  (await sql`select from audit_event where run_id = ${runId}`.execute(db)).rows.length;

test("a last statement that fails rolls back what COMMIT was sent for, and says why", async () => {
  const failing = store.transaction(async (tx) => {
    await tx.identify(true);
    const twice = [1, 1].map((n) => sql`insert into step values (${n})`.execute(tx.db));
    return new Lastly("done", [tx.audit.insert([record("run_twice")]), ...twice]);
  });
  await expect(failing).rejects.toMatchObject({ reason: "INVARIANT_BROKEN", metadata: { constraint: "step_pkey" } });
  expect(await steps()).toEqual([]);
  expect(await records("run_twice")).toBe(0);
});

test("a last statement that cannot be sent keeps the others from being committed", async () => {
  const circle: Record<string, unknown> = {};
  circle["self"] = circle;
  const failing = store.transaction(async (tx) => {
    await tx.identify(true);
    const unsendable = [tx.runs.nodeOutputs([circle as never]), sql`select ${circle}::json`.execute(tx.db)];
    return new Lastly("done", [tx.audit.insert([record("run_unsent")]), ...unsendable]);
  });
  await expect(failing).rejects.toMatchObject({ cause: expect.any(TypeError) });
  expect(await records("run_unsent")).toBe(0);
});

test.each([
  ["without a transaction id", false, "run_unidentified"],
  ["without a record of a run", true, ""],
])("%s COMMIT waits for the last statements, and their failure rolls back", async (_what, takeOne, runId) => {
  const failing = store.transaction(async (tx) => {
    await tx.identify(takeOne);
    const one = () => sql`insert into step values (1)`.execute(tx.db);
    return new Lastly("done", [tx.audit.insert([{ ...record(runId), namespace: "unsent" }]), one(), one()]);
  });
  await expect(failing).rejects.toMatchObject({ metadata: { constraint: "step_pkey" } });
  expect((await sql`select from audit_event where namespace = 'unsent'`.execute(db)).rows).toEqual([]);
});

test("a statement that comes after COMMIT is refused", async () => {
  let late: Promise<unknown> | undefined;
  const done = await store.transaction(async (tx) => {
    await tx.identify(true);
    const first = tx.audit.insert([record("run_late")]);
    late = first.then(() => sql`insert into step values (9)`.execute(tx.db));
    late.catch(() => undefined);
    return new Lastly("done", [first]);
  });
  expect(done).toBe("done");
  await expect(late).rejects.toThrow(/after COMMIT|already committed/);
  expect(await steps()).toEqual([]);
});

// How often something was written to the connection, whatever it held.
async function countWrites(act: () => Promise<unknown>): Promise<number> {
  const client = await single.pool.connect();
  type Writes = Record<"_write" | "_writev", (...args: unknown[]) => unknown>;
  const stream = (client as unknown as { connection: { stream: Writes } }).connection.stream;
  let writes = 0;
  for (const name of ["_write", "_writev"] as const) {
    const write = stream[name].bind(stream);
    stream[name] = (...args) => {
      writes += 1;
      return write(...args);
    };
  }
  client.release();
  await act();
  Reflect.deleteProperty(stream, "_write");
  Reflect.deleteProperty(stream, "_writev");
  return writes;
}

test("BEGIN, statements that are asked for at once, and COMMIT leave in one write", async () => {
  const count = (name: string) => store.atOnce(({ db: own }) => sql<{ n: number }>`select ${name} as n`.execute(own));
  const both = () => store.atOnce(({ db: own }) => Promise.all([1, 2].map((n) => sql`select ${n}`.execute(own))));
  expect(await countWrites(() => count("one"))).toBe(1);
  expect(await countWrites(both)).toBe(1);
  const lastly = () =>
    store.transaction(async (tx) => {
      await tx.identify(true);
      return new Lastly(
        "done",
        [1, 2].map((n) => tx.audit.insert([record(`run_${n}`)])),
      );
    });
  expect(await countWrites(lastly)).toBe(2);
});

test("of statements that are asked for at once the first that fails says why, and the connection goes on", async () => {
  const failing = store.atOnce(({ db: own }) =>
    Promise.all([sql`select 1`.execute(own), sql`select 1 / 0`.execute(own), sql`select 2`.execute(own)]),
  );
  await expect(failing).rejects.toMatchObject({ cause: { code: "22012" } });
  const { rows } = await store.atOnce(({ db: own }) => sql<{ n: number }>`select 3 as n`.execute(own));
  expect(rows).toEqual([{ n: 3 }]);
});

test("a statement that waits for the answer of another one is refused where all are asked for at once", async () => {
  const waiting = store.atOnce(async ({ db: own }) => {
    await sql`select 1`.execute(own);
    await sql`insert into step values (8)`.execute(own);
  });
  // Either the connection knows that COMMIT was sent, or already that it is done.
  const refused = (await waiting.catch((error: unknown) => error)) as Error;
  expect(`${refused.message} ${refused.cause}`).toMatch(/after COMMIT|already committed/);
  expect(await steps()).toEqual([]);
});
