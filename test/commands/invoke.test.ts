// Invoking: keys, tags, parameters, denials, and a catalog that changes in between.

import { expect, test } from "vitest";
import { cancelRun } from "../../server/commands/cancel_run.ts";
import { invoke } from "../../server/commands/invoke.ts";
import { createServices } from "../../server/commands/services.ts";
import { flow } from "./command_manifests.ts";
import { ana, commandStage } from "./command_stage.ts";

const stage = await commandStage();
const INPUT = { namespace: "default", workflow: "one", parametersJson: "{}", tags: {}, metadata: {} };

async function count(table: "run" | "audit_event"): Promise<number> {
  const { rows } = await stage.database.pool.query(`select count(*)::integer as count from ${table}`);
  return rows[0].count;
}

test("an invocation makes one run, PENDING never shown, its first task queued, one record", async () => {
  const before = await count("audit_event");
  const { run, duplicate } = await stage.invokeOne("one");
  expect([run.state, duplicate]).toEqual(["RUNNING", false]);
  expect(await stage.queued(run.id)).toMatchObject([{ fresh: true, last_token: null }]);
  expect(await count("audit_event")).toBe(before + 1);
});

test("the same key and body give the first run; another body conflicts; another requester has keys of its own", async () => {
  const first = await stage.invokeOne("one", { idempotencyKey: "k1" });
  const runs = await count("run");
  const records = await count("audit_event");
  expect(await stage.invokeOne("one", { idempotencyKey: "k1" })).toMatchObject({
    run: { id: first.run.id },
    duplicate: true,
  });
  await expect(stage.invokeOne("one", { idempotencyKey: "k1", parametersJson: '{"a":1}' })).rejects.toMatchObject({
    ...{ reason: "IDEMPOTENCY_CONFLICT", metadata: { run: first.run.id } },
  });
  expect([await count("run"), await count("audit_event")]).toEqual([runs, records]);
  const other = await stage.invokeOne("one", { idempotencyKey: "k1" }, { ...ana, id: "bob" });
  expect(other.duplicate).toBe(false);
});

test("one key twice in one batch makes one run; the others of the batch are their own", async () => {
  const items = ["k2", "k2", ""].map((idempotencyKey) => ({ principal: ana, input: { ...INPUT, idempotencyKey } }));
  const results = await invoke(stage.context, items);
  const ids = results.map((result) => (result instanceof Error ? result.message : result.run.id));
  expect(ids[0]).toBe(ids[1]);
  expect(new Set(ids).size).toBe(2);
});

test("two replicas that insert one key at the same time both answer with one run", async () => {
  const items = [{ principal: ana, input: { ...INPUT, idempotencyKey: "race" } }];
  const contexts = [stage.replica(), stage.replica()] as const;
  // Both have looked for the key and wait at their insert, behind a lock that lets readers through.
  const release = await stage.hold("lock table run in share row exclusive mode");
  const both = contexts.map((context) => invoke(context, items));
  await stage.waiting(2);
  await release();
  const [[a], [b]] = (await Promise.all(both)) as [Awaited<(typeof both)[0]>, Awaited<(typeof both)[0]>];
  if (a === undefined || b === undefined || a instanceof Error || b instanceof Error) throw new Error(`${a} ${b}`);
  expect(a.run.id).toBe(b.run.id);
  expect([a.duplicate, b.duplicate].sort()).toEqual([false, true]);
  expect((await stage.records(a.run.id)).map((record) => record.kind)).toEqual(["run.created"]);
});

test("parameters are filled with defaults and refused when they do not fit", async () => {
  const run = await stage.run(await stage.start("tagged"));
  expect(JSON.parse(run.parameters)).toEqual({ count: 3 });
  for (const parametersJson of ['{"count":"x"}', '{"strange":1}', "[]", "{", "null"]) {
    await expect(stage.start("tagged", { parametersJson }), parametersJson).rejects.toMatchObject({
      reason: "PARAMS_INVALID",
    });
  }
});

test("tags come from their declared source alone: claim, template, or request", async () => {
  const run = await stage.run(await stage.start("tagged", { tags: { ticket: "T1" } }));
  expect(run.tags).toEqual({ team: "blue", tier: "gold", ticket: "T1" });
  for (const name of ["team", "tier", "unknown"]) {
    await expect(stage.start("tagged", { tags: { [name]: "red" } }), name).rejects.toMatchObject({
      reason: "PARAMS_INVALID",
    });
  }
  await expect(stage.invokeOne("tagged", {}, { ...ana, claims: {} })).rejects.toMatchObject({
    reason: "PARAMS_INVALID",
  });
});

test("a denied invocation leaves a record with its decision, and no run", async () => {
  const runs = await count("run");
  await expect(stage.start("closed")).rejects.toMatchObject({
    reason: "POLICY_DENIED",
    metadata: { policy: "default/closed-to-all" },
  });
  expect(await count("run")).toBe(runs);
  const { rows } = await stage.database.pool.query("select record from audit_event where kind = 'run.refused'");
  expect(JSON.parse(rows[0].record)).toMatchObject({
    actor: "ana",
    detail: { workflow: "closed", decision: { allowed: false } },
  });
});

test("an unknown workflow fails alone in its batch", async () => {
  const items = ["one", "absent", "one"].map((workflow) => ({
    principal: ana,
    input: { ...INPUT, workflow, idempotencyKey: "" },
  }));
  const results = await invoke(stage.context, items);
  expect(results.map((result) => result instanceof Error)).toEqual([false, true, false]);
  expect(results[1]).toMatchObject({ reason: "WORKFLOW_NOT_FOUND" });
});

test("a run keeps the bundle it began with; the next one uses the catalog as it is then, on every replica", async () => {
  const other = stage.replica();
  const nodes = [{ name: "only", agent: "solo" }];
  await stage.applyAll(flow("moving", { nodes }));
  const first = await stage.invokeOne("moving");
  await stage.invokeOne("moving", {}, ana, other);
  await stage.applyAll(flow("moving", { nodes: [...nodes, { name: "more", agent: "solo" }] }));
  const second = await stage.invokeOne("moving", {}, ana, other);
  expect(Object.keys(await stage.nodes(first.run.id))).toEqual(["only"]);
  expect(Object.keys(await stage.nodes(second.run.id)).sort()).toEqual(["more", "only"]);
});

test("cancelling says what is the case: stopping, or finished already", async () => {
  const services = createServices(stage.context);
  const runId = await stage.start("one");
  expect(await cancelRun(stage.context, services, ana, runId, "no need")).toMatchObject({ state: "CANCELLED" });
  await expect(cancelRun(stage.context, services, ana, runId, "")).rejects.toMatchObject({ reason: "RUN_FINISHED" });
  await expect(cancelRun(stage.context, services, ana, "run_none", "")).rejects.toMatchObject({
    reason: "RUN_NOT_FOUND",
  });
  const held = await stage.start("one");
  await stage.claimAs("ses_a");
  expect(await cancelRun(stage.context, services, ana, held, "x")).toMatchObject({ state: "CANCELLING" });
  expect(await cancelRun(stage.context, services, ana, held, "x")).toMatchObject({ state: "CANCELLING" });
});
