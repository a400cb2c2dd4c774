// The races for slots, each with two real transactions that meet at a lock, in both orders; a database that is lost at every statement;
// and random histories on three replicas. A group never has more runs than it may, and nobody waits while there is a slot.

import fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import type { Assigned } from "../../server/commands/lease_tasks.ts";
import { replayDeadLetter } from "../../server/commands/replay_dead_letters.ts";
import { createServices } from "../../server/commands/services.ts";
import { settle } from "../../server/commands/settle.ts";
import type { SettleItem } from "../../server/commands/settle_items.ts";
import { startQueued } from "../../server/commands/start_queued.ts";
import { ana, BROKEN, commandStage, DONE, outcomeOf, stopOf } from "./command_stage.ts";
import { faultyReplica } from "./faulty_replica.ts";
import { GROUPED, groupStage } from "./group_stage.ts";
import { meeting, ORDERS } from "./meeting.ts";

const stage = await commandStage();
await stage.applyAll(GROUPED);
const groups = groupStage(stage);
const replicas = [stage.context, stage.replica(), stage.replica()] as const;
const [here, there] = replicas;
const services = replicas.map((each) => createServices(each));
const { meet, lockRun } = meeting(stage);
const SINGLE = "default/single/";
const PLAIN = { currentManifests: false, repeatEffects: false, results: new Map<string, string>() };

const lockGroup = (id: string) => () => stage.hold("select 1 from concurrency_group where id = $1 for update", [id]);
const one = async (item: SettleItem, context = here) => (await settle(context, [item]))[0]?.verdict;
const invoke = (context = here, workflow = "single") =>
  stage.invokeOne(workflow, {}, ana, context).then(({ run }) => run.id);

afterEach(async () => {
  await groups.startAll();
  await groups.expectCounts();
  await drain();
});

// Ends whatever is left, one slot after the other: every run that waits gets its turn.
async function drain(): Promise<void> {
  for (;;) {
    await groups.startAll();
    const { assigned } = await stage.claimAs("ses_drain");
    const held = await stage.database.db.selectFrom("lease").select(["task_id", "token", "session_id"]).execute();
    await stage.settle(
      ...held.map(({ task_id: taskId, token, session_id: sessionId }) => ({
        ...({ type: "outcome", taskId, token, sessionId, outcome: DONE, actor: "worker:w" } as const),
      })),
    );
    if (assigned.length === 0 && held.length === 0) break;
  }
  const rows = await stage.database.db.selectFrom("run").select(["id", "slot"]).where("end_time", "is", null).execute();
  // Only what is parked has not ended.
  expect(rows.filter(({ slot }) => slot !== null)).toEqual([]);
  await stage.settle(...rows.map(({ id }) => stopOf(id)));
  expect(await stage.database.db.selectFrom("concurrency_group").selectAll().execute()).toEqual([]);
}

test.each(ORDERS)("two invocations at the limit, order %i %i: one goes on, the other waits", async (...order) => {
  // The group is not there yet: both make it.
  const barrier = () => stage.hold("lock table concurrency_group in share row exclusive mode");
  const ids = await meet(barrier, [() => invoke(here), () => invoke(there)], order);
  expect((await Promise.all(ids.map(groups.slotOf))).sort()).toEqual(["held", "waiting"]);
});

test.each(ORDERS)("end vs invoke, order %i %i: the run goes on, at once or in its turn", async (...order) => {
  const held = await groups.claimOf(await invoke());
  const end = () => one(outcomeOf(held, DONE), there);
  const [, runId] = await meet(lockGroup(SINGLE), [end, () => invoke(here)], order);
  expect(await groups.slotOf(runId)).toBe(order[0] === 0 ? "held" : "waiting");
  await groups.startAll();
  expect(await groups.slotOf(runId)).toBe("held");
});

test.each(ORDERS)("cancel vs start, order %i %i: what is cancelled takes no slot and leaves none", async (...order) => {
  const held = await groups.claimOf(await invoke());
  const [queued, next] = [await invoke(), await invoke()];
  await one(outcomeOf(held, DONE));
  const actions = [() => one(stopOf(queued), there), () => startQueued(here, [SINGLE])] as const;
  const [verdict, open] = await meet(lockRun(queued), actions, order);
  expect(verdict).toBe("committed");
  expect(await stage.run(queued)).toMatchObject({ state: "CANCELLED", slot: null });
  // Whoever of the two freed the slot told it.
  expect(order[0] === 0 ? await groups.open() : open).toEqual(order[0] === 0 ? [SINGLE] : []);
  await groups.startAll();
  expect(await groups.slotOf(next)).toBe("held");
});

test.each(ORDERS)("two starters, order %i %i: one slot is given once", async (...order) => {
  const held = await groups.claimOf(await invoke());
  const [first, second] = [await invoke(), await invoke()];
  await one(outcomeOf(held, DONE));
  const actions = [() => startQueued(here, [SINGLE]), () => startQueued(there, [SINGLE])] as const;
  await meet(lockRun(first), actions, order);
  expect([await groups.slotOf(first), await groups.slotOf(second)]).toEqual(["held", "waiting"]);
});

test("a starter that waited for a run gives it no slot that another run was given meanwhile", async () => {
  const held = await groups.claimOf(await invoke());
  const [slow, fast] = [await invoke(), await invoke()];
  await one(outcomeOf(held, DONE));
  const release = await lockRun(slow)();
  const waiting = startQueued(here, [SINGLE]);
  await stage.waiting(1);
  await stage.database.pool.query("update run set queue_order = queue_order - 60000 where id = $1", [fast]);
  await startQueued(there, [SINGLE]);
  await release();
  expect(await waiting).toEqual([]);
  expect([await groups.slotOf(slow), await groups.slotOf(fast)]).toEqual(["waiting", "held"]);
});

test.each(ORDERS)("two runs of a group end at once, order %i %i: both slots are free", async (...order) => {
  const ids = [await groups.for("acme"), await groups.for("acme")];
  const { assigned } = await stage.claimAs("ses_a");
  const [a, b] = ids.map((id) => assigned.find(({ task }) => task.run_id === id)) as [Assigned, Assigned];
  const waiting = [await groups.for("acme"), await groups.for("acme")];
  const actions = [() => one(outcomeOf(a, DONE), here), () => one(outcomeOf(b, DONE), there)] as const;
  expect(await meet(lockGroup("default/by-customer/acme"), actions, order)).toEqual(["committed", "committed"]);
  await groups.startAll();
  expect(await Promise.all(waiting.map(groups.slotOf))).toEqual(["held", "held"]);
});

test("a database that is lost at any statement leaves counts that are true, and a run that can start", async () => {
  const { context, cuts } = faultyReplica(stage);
  const acts: Record<string, () => Promise<() => Promise<unknown>>> = {
    invoke: async () => () => invoke(context),
    end: async () => {
      const held = await groups.claimOf(await invoke());
      return () => one(outcomeOf(held, DONE), context);
    },
    start: async () => {
      const held = await groups.claimOf(await invoke());
      await invoke();
      await one(outcomeOf(held, DONE));
      return () => startQueued(context, [SINGLE]);
    },
  };
  for (const [name, prepare] of Object.entries(acts)) {
    for (let statement = 1; ; statement += 1) {
      const act = await prepare();
      cuts.before(statement);
      await act().catch(() => undefined);
      const { fired } = cuts;
      cuts.before(0);
      await groups.expectCounts();
      await drain();
      if (!fired) break;
      expect(statement, name).toBeLessThan(40);
    }
  }
});

type Move = {
  readonly what: "invoke" | "end" | "park" | "stop" | "start" | "replay";
  readonly pick: number;
  readonly on: number;
};

test("random histories on three replicas never exceed max, and nobody waits while a slot is free", async () => {
  const move = fc.record({
    what: fc.constantFrom<Move["what"]>("invoke", "invoke", "invoke", "end", "end", "park", "stop", "start", "replay"),
    pick: fc.nat(100),
    on: fc.nat(2),
  });
  const perform = async ({ what, pick, on }: Move) => {
    const context = replicas[on]!;
    const any = <Row>(rows: readonly Row[]) => rows[pick % Math.max(1, rows.length)];
    const { db } = stage.database;
    switch (what) {
      case "invoke":
        return await invoke(context, ["single", "parking"][pick % 2]!);
      case "end":
      case "park": {
        const row = any(await db.selectFrom("lease").selectAll().orderBy("task_id").execute());
        if (row === undefined) return undefined;
        const outcome = what === "end" ? DONE : BROKEN;
        const { task_id: taskId, token, session_id: sessionId } = row;
        return await one({ type: "outcome", taskId, token, sessionId, outcome, actor: "worker:w" }, context);
      }
      case "stop": {
        const run = any(await db.selectFrom("run").select("id").where("end_time", "is", null).orderBy("id").execute());
        return run && (await one(stopOf(run.id), context));
      }
      case "start":
        return await startQueued(context, await groups.open());
      case "replay": {
        const letters = db.selectFrom("dead_letter").select("task_id").where("state", "=", "open");
        const letter = any(await letters.orderBy("task_id").execute());
        // Somebody else may have decided about it, or stopped its run.
        return letter && (await replayDeadLetter(context, services[on]!, ana, letter.task_id, PLAIN).catch(() => 0));
      }
    }
  };
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(move, { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 10 }),
      async (rounds) => {
        for (const round of rounds) {
          await Promise.all(round.map(perform));
          await groups.expectCounts();
          await stage.claimAs("ses_a");
        }
        await groups.startAll();
        expect(await groups.open()).toEqual([]);
        await groups.expectCounts();
        await drain();
      },
    ),
    { numRuns: 25 },
  );
}, 120_000);
