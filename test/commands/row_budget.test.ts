// The price of a task: rows written and records made by a no-op run of one node, end to end.

import { expect, test } from "vitest";
import { commandStage, DONE, outcomeOf } from "./command_stage.ts";

const ROWS_MAX = 14;
const stage = await commandStage();

// Statistics of Postgres reach a reader late; a trigger on every table counts at once.
async function countRows(): Promise<() => Promise<Record<string, number>>> {
  const { pool } = stage.database;
  await pool.query("create table written (name text not null)");
  await pool.query(`create function count_row() returns trigger language plpgsql as
    $$ begin insert into written values (tg_table_name); return null; end $$`);
  const { rows } = await pool.query(
    "select tablename from pg_tables where schemaname = 'public' and tablename <> 'written'",
  );
  for (const { tablename } of rows) {
    await pool.query(`create trigger count_row after insert or update or delete on ${tablename}
      for each row execute function count_row()`);
  }
  return async () => {
    const counted = await pool.query("select name, count(*)::integer as rows from written group by name");
    return Object.fromEntries(counted.rows.map((row) => [row.name, row.rows]));
  };
}

async function noOpRun(): Promise<string> {
  const runId = await stage.start("one");
  const { assigned } = await stage.claimAs("ses_a");
  await stage.settle(...assigned.map((one) => outcomeOf(one, DONE)));
  return runId;
}

test(`a no-op run of one node writes at most ${ROWS_MAX} rows, and one record a command`, async () => {
  await noOpRun();
  const counted = await countRows();
  const runId = await noOpRun();
  const written = await counted();
  expect(await stage.run(runId)).toMatchObject({ state: "SUCCEEDED" });
  const total = Object.values(written).reduce((sum, rows) => sum + rows, 0);
  expect(total, JSON.stringify(written)).toBeLessThanOrEqual(ROWS_MAX);
  expect(written).toMatchObject({ audit_event: 3 });
  expect(written).not.toHaveProperty("journal");
  expect((await stage.records(runId)).map((record) => record.kind)).toEqual([
    ...["run.created", "task.leased", "task.succeeded"],
  ]);
});
