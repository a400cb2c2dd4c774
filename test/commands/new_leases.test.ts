// Tasks that are leased in the transaction that makes them: instead of the queue when there is a slot, never beside it, and as a claim would
// have leased them. The slots are played; real sessions have theirs in test/dispatch/seats.test.ts.

import { expect, test } from "vitest";
import type { CommandContext } from "../../server/commands/context.ts";
import { invoke } from "../../server/commands/invoke.ts";
import type { Assigned } from "../../server/commands/lease_tasks.ts";
import type { Seat, Seats } from "../../server/commands/new_leases.ts";
import { settle } from "../../server/commands/settle.ts";
import { agent, flow, policy } from "./command_manifests.ts";
import { ana, commandStage, DONE, lostOf, outcomeOf, stopOf } from "./command_stage.ts";
import { faultyReplica } from "./faulty_replica.ts";

const stage = await commandStage();

/** So many slots of one session for whatever route. */
function slots(free: number) {
  const sent: Assigned[] = [];
  const state = { free, sent };
  const seats: Seats = {
    take: (routes) =>
      routes.map((): Seat | undefined => {
        if (state.free === 0) return undefined;
        state.free -= 1;
        return { sessionId: "ses_a", worker: "worker-ses_a" };
      }),
    giveBack(given) {
      state.free += given.length;
    },
    send: (leased) => void sent.push(...leased.map(({ assigned }) => assigned)),
  };
  return Object.assign(state, { seats });
}

/** A replica with so many slots. */
function replicaWith(free: number, base = stage.replica()) {
  const own = slots(free);
  return { context: { ...base, seats: own.seats } satisfies CommandContext, own };
}

const kindsOf = async (runId: string) => (await stage.records(runId)).map(({ kind }) => kind);
const leasedRecordOf = async (runId: string) => (await stage.records(runId)).find(({ kind }) => kind === "task.leased");

test("a new task goes to a free slot with its run, as a claim would have leased it", async () => {
  const { context, own } = replicaWith(1);
  const { run } = await stage.invokeOne("one", {}, ana, context);
  expect(await stage.queued(run.id)).toEqual([]);
  const [lease] = await stage.leases(run.id);
  const [assigned] = own.sent;
  expect(own).toMatchObject({ free: 0, sent: [{ sessionId: "ses_a", token: lease?.token, journal: [] }] });
  expect(await kindsOf(run.id)).toEqual(["run.created", "task.leased"]);

  const claimedRun = await stage.start("one");
  const [claimed] = (await stage.claimAs("ses_a")).assigned;
  const [claimedLease] = await stage.leases(claimedRun);
  const own1 = { task_id: "", run_id: "", token: "", claim_time: null };
  expect({ ...lease, ...own1 }).toEqual({ ...claimedLease, ...own1 });
  const bare = ({ task, bundle, ...rest }: Assigned) => ({
    ...rest,
    ...{ token: "", lease: undefined, assignment: undefined, traceparent: "" },
    task: { ...task, id: "", run_id: "", origin_task_id: "", trace_id: "" },
  });
  const { run_dispatched: told, ...rest } = bare(claimed as Assigned).task;
  expect(told).not.toBe(true);
  expect(bare(assigned as Assigned).task).toMatchObject(rest);
  expect((await leasedRecordOf(run.id))?.detail).toEqual((await leasedRecordOf(claimedRun))?.detail);

  expect(await stage.settle(outcomeOf(assigned as Assigned, DONE), outcomeOf(claimed as Assigned, DONE))).toEqual([
    { verdict: "committed" },
    { verdict: "committed" },
  ]);
  expect((await stage.run(run.id)).state).toBe("SUCCEEDED");
});

test("the next task of a run goes to a free slot in the transaction that ends the one before", async () => {
  const { context, own } = replicaWith(2);
  const { run } = await stage.invokeOne("chain", {}, ana, context);
  expect(await settle(context, [outcomeOf(own.sent[0] as Assigned, DONE)])).toEqual([{ verdict: "committed" }]);
  expect(await stage.queued(run.id)).toEqual([]);
  expect(own.sent.map(({ task }) => task.node)).toEqual(["first", "second"]);
  expect(await kindsOf(run.id)).toEqual(["run.created", "task.leased", "task.succeeded", "task.leased"]);
  await settle(context, [outcomeOf(own.sent[1] as Assigned, DONE)]);
  expect((await stage.run(run.id)).state).toBe("SUCCEEDED");
});

test("what there is no slot for is queued", async () => {
  const { context, own } = replicaWith(1);
  const { run } = await stage.invokeOne("pair", {}, ana, context);
  expect(own.sent.map(({ task }) => task.node)).toEqual(["left"]);
  expect(await stage.queued(run.id)).toHaveLength(1);
  expect((await stage.claimAs("ses_b")).assigned.map(({ task }) => task.node)).toEqual(["right"]);
});

test("of several, the one that a claim would take first has the slot", async () => {
  const { context, own } = replicaWith(1);
  const input = { namespace: "default", parametersJson: "{}", tags: {}, metadata: {}, idempotencyKey: "" };
  const items = ["patient", "one", "urgent", "one"].map((workflow) => ({
    principal: ana,
    input: { ...input, workflow },
  }));
  await invoke(context, items);
  expect(own.sent.map(({ task }) => task.workflow)).toEqual(["urgent"]);
  expect((await stage.claimAs("ses_b")).assigned.map(({ task }) => task.workflow)).toEqual(["one", "one", "patient"]);
});

test("what is queued in the same transaction is not overtaken", async () => {
  const { context, own } = replicaWith(3);
  const { run } = await stage.invokeOne("chain", {}, ana, context);
  const { run: other } = await stage.invokeOne("one", {}, ana, context);
  const [first, second] = own.sent as [Assigned, Assigned];
  await settle(context, [outcomeOf(first, DONE), lostOf(second, "revoked")]);
  expect(own).toMatchObject({ free: 1, sent: [{ task: { node: "first" } }, { task: { run_id: other.id } }] });
  expect([await stage.queued(run.id), await stage.queued(other.id)].map((rows) => rows.length)).toEqual([1, 1]);
  await stage.claimAs("ses_b");
});

test("what may not leave is queued, keeps no slot, and is denied by its claim", async () => {
  const { context, own } = replicaWith(3);
  const { run } = await stage.invokeOne("denied", {}, ana, context);
  expect(own).toMatchObject({ free: 3, sent: [] });
  expect(await stage.queued(run.id)).toHaveLength(1);
  await stage.settle(...(await stage.claimAs("ses_a")).denied);
  expect((await stage.run(run.id)).state).toBe("POLICY_DENIED");
});

test("a repetition of an invocation takes no slot", async () => {
  const { context, own } = replicaWith(3);
  const input = { workflow: "one", namespace: "default", parametersJson: "{}", tags: {}, metadata: {} };
  const item = { principal: ana, input: { ...input, idempotencyKey: "once" } };
  await invoke(context, [item, item]);
  await invoke(context, [item]);
  expect(own).toMatchObject({ free: 2, sent: [{ task: { node: "only" } }] });
});

test("a run that waits for its turn has nothing leased", async () => {
  const concurrency = { max: 1 };
  await stage.applyAll(flow("in-turn", { nodes: [{ name: "only", agent: "solo" }] }, { concurrency }));
  const { context, own } = replicaWith(3);
  await stage.invokeOne("in-turn", {}, ana, context);
  const { run } = await stage.invokeOne("in-turn", {}, ana, context);
  expect(own.sent).toHaveLength(1);
  expect([await stage.leases(run.id), await stage.queued(run.id)]).toEqual([[], []]);
});

test("of a run that stops in the same batch nothing more is leased", async () => {
  const { context, own } = replicaWith(2);
  const { run } = await stage.invokeOne("chain", {}, ana, context);
  await settle(context, [outcomeOf(own.sent[0] as Assigned, DONE), stopOf(run.id)]);
  expect(own).toMatchObject({ free: 1, sent: [{ task: { node: "first" } }] });
  expect([await stage.leases(run.id), await stage.queued(run.id)]).toEqual([[], []]);
  expect((await stage.run(run.id)).state).toBe("CANCELLED");
});

test("a transaction that does not commit keeps no slot and sends nothing, wherever it breaks", async () => {
  const { context: faulty, cuts } = faultyReplica(stage);
  const { context, own } = replicaWith(2, faulty);
  let broken = 0;
  for (let statement = 1; statement < 40; statement += 1) {
    cuts.before(statement);
    const done = await stage.invokeOne("one", {}, ana, context).catch((error: unknown) => error);
    if (!cuts.fired) break;
    if (!(done instanceof Error)) continue;
    broken += 1;
    expect(own).toMatchObject({ free: 2 - own.sent.length });
    own.free = 2;
    own.sent.length = 0;
  }
  cuts.before(0);
  expect(broken).toBeGreaterThan(3);
  own.sent.length = 0;
  own.free = 1;
  await stage.invokeOne("one", {}, ana, context);
  expect(own.sent).toHaveLength(1);
});

test("changes of a policy: once one is acknowledged, no lease that was decided without it is recorded", async () => {
  await stage.applyAll([agent("swing"), ...flow("swing", { nodes: [{ name: "only", agent: "swing" }] })]);
  const gate = (isOpen: boolean) =>
    stage.applyAll([policy("swing-gate", "Agent", "swing", isOpen ? ["engineering"] : ["nobody"], "agent.run")]);
  await gate(true);
  const lastRecord = async (kind: string) =>
    BigInt(
      (await stage.database.pool.query("select coalesce(max(id), 0) as id from audit_event where kind = $1", [kind]))
        .rows[0].id,
    );
  const replicas = [replicaWith(1_000), replicaWith(1_000)];
  const totals = { leased: 0, queued: 0 };
  for (let round = 0; round < 60; round += 1) {
    const isOpen = round % 2 === 1;
    const asked = replicas.flatMap(({ context }) =>
      Array.from({ length: 3 }, () => stage.invokeOne("swing", {}, ana, context)),
    );
    await gate(isOpen);
    const changed = await lastRecord("task.leased");
    const revision = BigInt((await stage.store.read((tx) => tx.bundles.revisions())).policy);
    for (const { run } of await Promise.all(asked)) {
      const record = await leasedRecordOf(run.id);
      if (record === undefined) totals.queued += 1;
      else totals.leased += 1;
      if (record === undefined || BigInt(record.id) <= changed) continue;
      const { policyRevision } = record.detail["decision"] as { policyRevision: string };
      expect(BigInt(policyRevision)).toBeGreaterThanOrEqual(revision);
    }
  }
  // Not vacuous: some came before the change, some after.
  expect(Math.min(totals.leased, totals.queued)).toBeGreaterThan(10);
});
