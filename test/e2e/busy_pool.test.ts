// Every connection of a replica's pool waits for a lock, for longer than a lease: no lease is lost.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { createClient } from "../../sdk/index.ts";
import { startCountingServer } from "../harness/counting_server.ts";
import { testDatabase } from "../harness/database.ts";
import { startServer, startWorker } from "../harness/processes.ts";
import { agent, httpTool, single } from "./documents.ts";

/** More than the pool has connections. */
const BLOCKED_CALLS = 30;
const POOL = 12;
/** Two leases. */
const BLOCKED_MS = 4_000;
const clock = systemClock();

test("with its pool used up for two leases a replica goes on renewing", {
  timeout: 60_000,
}, async () => {
  const sink = await startCountingServer();
  sink.hold("/slow");
  const { url } = await testDatabase();
  const start = () =>
    startServer({ databaseUrl: url, env: { ORLOJ_LEASE_TTL: "2s", ORLOJ_SECRET_SINK_URL: sink.url } });
  const server = await start();
  // Another replica looks for lost leases all along, and would take what is not renewed.
  await start();
  await startWorker(server, { env: { ORLOJ_PRIVATE_NETWORKS: "127.0.0.0/8" } });
  const { token } = JSON.parse(await readFile(join(server.home, "config.json"), "utf8")) as { token: string };
  const client = createClient({ endpoint: server.api, token });
  const script = [{ when: "turn == 1", toolCalls: [{ name: "slow", arguments: {} }] }, { output: { done: true } }];
  const documents = [
    httpTool("slow", "/slow", { effect: "read" }),
    agent("sloth", script, { tools: ["slow"] }),
    ...single("sloth"),
  ];
  const content = documents.map((document) => JSON.stringify(document)).join("\n---\n");
  await client.manifests.apply({ files: [{ name: "busy.yaml", content }] });
  const run = await client.workflow("sloth").invoke();
  await sink.waitForCount("/slow", 1);

  const blocker = new pg.Client({ connectionString: url });
  await blocker.connect();
  await blocker.query("begin; lock table resource in access exclusive mode");
  const list = () => client.manifests.listResources({ pageSize: 1 }, { timeoutMs: 20_000 });
  const calls = Promise.allSettled(Array.from({ length: BLOCKED_CALLS }, list));
  await clock.sleep(BLOCKED_MS);
  const { rows } = await blocker.query(
    "select count(*)::integer as waiting from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
  );
  await blocker.query("rollback");
  await blocker.end();
  expect(rows[0].waiting).toBeGreaterThanOrEqual(POOL);
  await calls;

  sink.release("/slow");
  expect(await run.result()).toEqual({ done: true });
  const { records } = await client.audit.listAuditRecords({ filter: { runId: run.id } });
  expect(records.map(({ kind }) => kind)).not.toContain("lease.expired");
  expect((await list()).resources).toHaveLength(1);
});
