// After a crash Postgres gives the id of a transaction that it lost to another one: its fate must not be taken for that of the first.

import { expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { auditQueries } from "../../server/storage/audit_queries.ts";
import { type OpenDatabase, openDatabase } from "../../server/storage/database.ts";
import { startEmbedded } from "../../server/storage/embedded/start.ts";
import { migrate } from "../../server/storage/migrate.ts";
import { isCommitted } from "../../server/storage/read_back.ts";
import { type WrittenRecord, WrittenRecords } from "../../server/storage/written_records.ts";
import { atEndOfFile } from "../harness/cleanup.ts";
import { temporaryFolder } from "../harness/folders.ts";

const clock = systemClock();

test("a transaction that a crash lost is told as such, before and after another one got its id", async () => {
  const home = await temporaryFolder("x");
  // What is not committed stays in memory until then.
  const options = { home, clock, log: () => undefined, settings: { wal_writer_delay: "10s" } };
  const start = async () => {
    const postgres = await startEmbedded(options);
    atEndOfFile(() => postgres.stop());
    const open = openDatabase({ url: postgres.url, poolMax: 2, onConnectionError: () => undefined });
    atEndOfFile(() => open.close());
    return { postgres, open };
  };
  const first = await start();
  await migrate(first.open.db, { mode: "auto" });
  await first.open.pool.query("checkpoint");
  const write = async ({ db }: OpenDatabase, runId: string, beforeCommit: () => void) => {
    const written = new WrittenRecords();
    const row = { kind: "test.written", namespace: "", run_id: runId, task_id: "", actor: "test", record: runId };
    const committing = db.transaction().execute(async (tx) => {
      await auditQueries(tx, written).insert([row, row]);
      beforeCommit();
      if (runId === "run_lost") throw new Error("the database is gone");
    });
    await committing.catch(() => undefined);
    return written.record as WrittenRecord;
  };
  const lost = await write(first.open, "run_lost", () => process.kill(first.postgres.pid, "SIGKILL"));

  // As it is known while its insert is not answered.
  const unanswered = ({ id: _, ...rest }: WrittenRecord) => rest;

  const { open } = await start();
  expect(await isCommitted(open.db, lost, clock)).toBe(false);
  const other = await write(open, "run_other", () => undefined);
  // Else this test shows nothing.
  expect(other.transactionId).toBe(lost.transactionId);
  expect(await isCommitted(open.db, other, clock)).toBe(true);
  expect(await isCommitted(open.db, lost, clock)).toBe(false);
  expect(await isCommitted(open.db, unanswered(other), clock)).toBe(true);
  expect(await isCommitted(open.db, unanswered(lost), clock)).toBe(false);
});
