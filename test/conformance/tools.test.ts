// One suite for every kind of tool, through a real server and a real worker: success, error classes, time-outs, cancellation,
// denial, retries and shared keys, output schemas, redaction. What happened is counted where it happens, never by the product.

import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import type { RunHandle } from "../../sdk/index.ts";
import { agent, policy, single } from "../e2e/documents.ts";
import { type Stage, startStage } from "../e2e/stage.ts";
import { startCountingServer } from "../harness/counting_server.ts";
import { testDatabase, withAdmin } from "../harness/database.ts";
import { temporaryFolder } from "../harness/folders.ts";
import { overTcp } from "../harness/postgres_bridge.ts";
import { type Behaviour, databaseKinds, httpKinds, type Kind, LEAKED, prepareSink, programKinds } from "./kinds.ts";
import { startMcpEndpoint } from "./mcp_endpoint.ts";

const ROLE = `conform_${process.pid}`;
const KINDS = ["http", "webhook", "command", "mcp-local", "mcp-remote", "sqlite", "postgres"];
const BACKOFF = { initial: "20ms", max: "200ms", factor: 2, jitter: "full" };
const CANCEL_MS_MAX = 5_000;

let stage: Stage;
let admin: pg.Client;
const kinds = new Map<string, Kind>();

beforeAll(async () => {
  const folder = await temporaryFolder("conform");
  const file = new DatabaseSync(join(folder, "effects.db"));
  file.exec("create table effects (behaviour text, id text)");
  file.close();
  const shop = await testDatabase({ migrated: false });
  admin = new pg.Client({ connectionString: shop.url });
  await admin.connect();
  await admin.query(`create table effects (behaviour text, id text); create role ${ROLE} login password 'pw';
    grant select, insert on effects to ${ROLE}`);
  const sink = await startCountingServer();
  stage = await startStage({
    leaseTtl: "20s",
    env: {
      ORLOJ_SECRET_SINK_URL: sink.url,
      ORLOJ_SECRET_MCP_URL: await startMcpEndpoint(sink.url),
      ORLOJ_SECRET_HOOK_KEY: `whsec_${Buffer.alloc(32, 1).toString("base64")}`,
      ORLOJ_SECRET_LEAK_VALUE: LEAKED,
      ORLOJ_SECRET_SHOP_DSN: await overTcp(shop.url, ROLE, "pw"),
    },
  });
  await stage.worker("w1", { ORLOJ_WORK_DIR: folder });
  for (const kind of [...httpKinds(sink), ...programKinds(sink), ...databaseKinds(admin, ROLE, folder)]) {
    prepareSink(sink, kind.name);
    kinds.set(kind.name, kind);
  }
});

afterAll(async () => {
  await admin.query(`drop owned by ${ROLE}`);
  await admin.end();
  await withAdmin(inject("postgres").adminUrl, (client) => client.query(`drop role ${ROLE}`));
});

/** Applies a tool that behaves so, and an agent that calls it once; returns the workflow's name. */
async function prepare(kind: Kind, behaviour: Behaviour, spec: object = {}, more: readonly object[] = []) {
  const name = `${kind.name}-${behaviour}`;
  const tool = {
    ...{ apiVersion: "orloj.dev/v1", kind: "Tool", metadata: { name } },
    spec: {
      ...{ description: name, inputSchema: { type: "object" }, effect: "read", timeout: "20s" },
      retry: { on: [], maxAttempts: 1 },
      ...kind.block(behaviour),
      // A readWrite statement cannot say that it only reads.
      ...(JSON.stringify(kind.block(behaviour)).includes("readWrite") ? { effect: "write" } : {}),
      ...spec,
    },
  };
  const script = [
    { when: "turn == 1", toolCalls: [{ name: "t", arguments: { key: "k1" } }] },
    { output: { got: "${{ results.t }}" } },
  ];
  const tools = [{ ref: name, as: "t", onError: "fail" }];
  const errorHandling = { retry: { on: [], maxAttempts: 1 }, onExhausted: "fail" };
  await stage.apply(tool, agent(name, script, { tools, errorHandling }), ...single(name), ...more);
  return name;
}

async function expectFailure(run: RunHandle, failureClass: string): Promise<void> {
  const failure = { class: "ToolFailed", message: expect.stringContaining(`failed with ${failureClass}: `) };
  await expect(run.result()).rejects.toMatchObject({ state: "FAILED", failure });
  const results = await stage.trail(run, "tool.result");
  expect(results.map(({ detail }) => [detail.ok, detail.failure?.class])).toEqual([[false, failureClass]]);
}

describe.each(KINDS)("%s", (name) => {
  const kind = () => kinds.get(name) as Kind;

  test("success: the result is what came, and a declared key makes one effect out of two runs", async () => {
    const spec = { effect: "write", idempotency: { key: "args.key" } };
    const workflow = await prepare(kind(), "ok", spec);
    const run = await stage.client.workflow(workflow).invoke();
    expect(await run.result()).toEqual({ got: kind().result });
    const again = await stage.client.workflow(workflow).invoke();
    expect(await again.result()).toEqual({ got: kind().result });
    expect(await stage.trail(again, "tool.cached")).toHaveLength(1);
    expect(await kind().effects("ok")).toEqual([`key:default/${workflow}/k1`]);
  });

  test("error classes: an endpoint that refuses, and one that is not there", async () => {
    for (const behaviour of ["refuse", "gone"] as const) {
      const run = await stage.client.workflow(await prepare(kind(), behaviour)).invoke();
      await expectFailure(run, kind().classes[behaviour]);
    }
  });

  test("time-out: the call ends at its time with Timeout", async () => {
    const run = await stage.client.workflow(await prepare(kind(), "slow", { timeout: "1500ms" })).invoke();
    await expectFailure(run, "Timeout");
    const [result] = await stage.trail(run, "tool.result");
    expect(result?.detail.durationMs).toBeGreaterThanOrEqual(1_400);
    expect(result?.detail.durationMs).toBeLessThan(10_000);
  });

  test("cancellation: what is under way ends where it runs, and the run is CANCELLED at once", async () => {
    const run = await stage.client.workflow(await prepare(kind(), "hang", { timeout: "60s" })).invoke();
    await kind().begun();
    const startMs = performance.now();
    await run.cancel("enough");
    await kind().ended();
    await expect(run.result()).rejects.toMatchObject({ state: "CANCELLED" });
    expect(performance.now() - startMs).toBeLessThan(CANCEL_MS_MAX);
    expect((await stage.client.fleet.listLeases({ runId: run.id })).leases).toEqual([]);
  });

  test("denial: no effect, no grant, POLICY_DENIED", async () => {
    const tool = `${name}-denied`;
    const denying = policy(tool, {
      attachTo: [{ kind: "Tool", name: tool }],
      checkpoints: ["tool.call"],
      allow: { match: { "requester.groups": ["nobody"] } },
    });
    const run = await stage.client.workflow(await prepare(kind(), "denied", {}, [denying])).invoke();
    await expect(run.result()).rejects.toMatchObject({ state: "POLICY_DENIED" });
    expect(await stage.trail(run, "tool.granted")).toEqual([]);
    expect(await kind().effects("denied")).toEqual([]);
  });

  test("retry: every attempt of a call has the same key, and one success is recorded", async () => {
    const idempotency = { onUnknownOutcome: "retry" };
    const retry = { on: kind().passing, maxAttempts: 20, backoff: BACKOFF };
    const workflow = await prepare(kind(), "flaky", { effect: "write", idempotency, retry, timeout: "4s" });
    const calm = await kind().disturb();
    const run = await stage.client.workflow(workflow).invoke();
    await stage.record("tool.result", (entry) => entry.runId === run.id && entry.detail.ok === false);
    await calm();
    expect(await run.result()).toEqual({ got: kind().result });
    const results = await stage.trail(run, "tool.result");
    expect(results.filter(({ detail }) => detail.ok)).toHaveLength(1);
    const granted = await stage.trail(run, "tool.granted");
    expect(granted.length).toBeGreaterThan(1);
    const keys = new Set(granted.map(({ detail }) => detail.requestId as string));
    expect(keys.size).toBe(1);
    const effects = await kind().effects("flaky");
    expect(new Set(effects)).toEqual(keys);
    // The counting server counts the refused attempt as well; a row is there once.
    expect(effects.length).toBe(kind().name === "sqlite" || kind().name === "postgres" ? 1 : 2);
  });

  test("output schema: a result that does not fit is ResultInvalid", async () => {
    const outputSchema = { type: "object", required: ["other"] };
    // Without a write there is no unknown outcome to be decided by a person.
    const spec = { outputSchema, idempotency: { onUnknownOutcome: "retry" } };
    const run = await stage.client.workflow(await prepare(kind(), "schema", spec)).invoke();
    await expectFailure(run, "ResultInvalid");
  });

  test("redaction: a secret that the tool was given is in no result and in no record", async () => {
    const run = await stage.client.workflow(await prepare(kind(), "leak")).invoke();
    const output = JSON.stringify(await run.result());
    expect(output).not.toContain(LEAKED);
    if (kind().echoes) expect(output).toContain("[redacted]");
    expect(JSON.stringify(await stage.trail(run))).not.toContain(LEAKED);
    const { tasks } = await stage.client.workflows.listTasks({ runId: run.id });
    const shown = await stage.client.workflows.getTask({ taskId: tasks[0]?.id ?? "" });
    expect(JSON.stringify(shown, (_key, value) => (typeof value === "bigint" ? String(value) : value))).not.toContain(
      LEAKED,
    );
  });
});
