// What makes a benchmark fail: commits that are not durable, a record or a decision that is missing, engines that are not installed.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { INSTALL_PEERS, installedVersion } from "../../bench/peer_rounds.ts";
import { requireDurable } from "../../bench/postgres.ts";
import { checkTrail, newestRecord } from "../../bench/trail.ts";
import { commandStage, DONE, outcomeOf } from "../commands/command_stage.ts";
import { testDatabase } from "../harness/database.ts";
import { temporaryFolder } from "../harness/folders.ts";

const stage = await commandStage();
const { pool } = stage.database;
const records = { "run.created": 1, "task.leased": 1, "task.succeeded": 1 };

async function workflowOf(runId: string): Promise<string> {
  const { rows } = await pool.query("select workflow from run where id = $1", [runId]);
  return rows[0].workflow;
}

async function noOpRun(): Promise<string> {
  const runId = await stage.start("one");
  const { assigned } = await stage.claimAs("ses_a");
  await stage.settle(...assigned.map((one) => outcomeOf(one, DONE)));
  return runId;
}

test("a trail without the decision of a policy fails", async () => {
  const afterId = await newestRecord(pool);
  const workflow = await workflowOf(await noOpRun());
  await expect(checkTrail(pool, { workflow, runs: 1, afterId, records: { "task.succeeded": 1 } })).resolves.toBe(
    undefined,
  );
  await expect(checkTrail(pool, { workflow, runs: 1, afterId, records })).rejects.toThrow("0 decisions in 1 records");
});

test("a trail that lacks a record fails, and so does a run that did not succeed", async () => {
  const afterId = await newestRecord(pool);
  const workflow = await workflowOf(await noOpRun());
  await stage.start("one");
  const wanted = { "task.succeeded": 1 };
  await expect(checkTrail(pool, { workflow, runs: 2, afterId, records: wanted })).rejects.toThrow(
    "has 1 records task.succeeded instead of 2",
  );
});

test("commits that are not durable fail, also when it is for one database alone", async () => {
  const database = await testDatabase({ migrated: false });
  await database.pool.query(`alter database ${database.name} set synchronous_commit = off`);
  await expect(requireDurable(database.pool)).rejects.toThrow("synchronous_commit = off");
});

test("an engine that is not installed, or in another version, is told with what to run", async () => {
  const folder = await temporaryFolder();
  await writeFile(join(folder, "package.json"), JSON.stringify({ dependencies: { "pg-boss": "12.0.0" } }));
  expect(() => installedVersion("pg-boss", folder)).toThrow(`--peers: pg-boss is not installed; run: ${INSTALL_PEERS}`);
  await mkdir(join(folder, "node_modules/pg-boss"), { recursive: true });
  const installed = (version: string) =>
    writeFile(join(folder, "node_modules/pg-boss/package.json"), JSON.stringify({ version }));
  await installed("11.0.0");
  expect(() => installedVersion("pg-boss", folder)).toThrow("is installed as 11.0.0 instead of 12.0.0; run: npm ci");
  await installed("12.0.0");
  expect(installedVersion("pg-boss", folder)).toBe("12.0.0");
});
