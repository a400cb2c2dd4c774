// Concurrency of a tool over a real database: how many calls are granted at a time, on all replicas together, and whose turn it is.

import { afterEach, expect, test } from "vitest";
import { authorizeToolCalls } from "../../server/commands/authorize_tool_call.ts";
import type { Assigned } from "../../server/commands/lease_tasks.ts";
import { recordToolResults } from "../../server/commands/record_tool_results.ts";
import type { ToolCallFact } from "../../server/commands/tool_facts.ts";
import { agent, flow, tool } from "./command_manifests.ts";
import { commandStage, lostOf, stopOf } from "./command_stage.ts";
import { meeting, ORDERS } from "./meeting.ts";

const stage = await commandStage();
const other = stage.replica();
const { meet } = meeting(stage);
const scarce = (concurrency?: number) => tool("scarce", "read", concurrency === undefined ? {} : { concurrency });
const secretless = { headers: { Authorization: "Bearer ${{ secret.sink.absent }}" } };
await stage.applyAll([
  scarce(2),
  tool("hollow", "read", { concurrency: 1 }, secretless),
  agent("limited", { tools: ["scarce", "hollow"] }),
  ...flow("limited", { nodes: [{ name: "only", agent: "limited" }] }),
]);

afterEach(async () => {
  const rows = await stage.database.db.selectFrom("run").select("id").where("end_time", "is", null).execute();
  await stage.settle(...rows.map(({ id }) => stopOf(id)));
  await stage.database.pool.query("delete from lease; delete from tool_call; delete from tool_waiter");
});

type Five = readonly [Assigned, Assigned, Assigned, Assigned, Assigned];

async function held(count: number): Promise<readonly Assigned[]> {
  for (let index = 0; index < count; index += 1) await stage.start("limited");
  const { assigned } = await stage.claimAs("ses_a");
  for (const one of assigned) for (const name of ["scarce", "hollow"]) await stage.journalCall(callOf(one, name));
  return assigned;
}

function callOf(by: Assigned, name = "scarce"): ToolCallFact {
  return {
    ...{ taskId: by.task.id, token: by.token, sessionId: by.sessionId, turnSequence: 1 },
    ...{ callIndex: name === "scarce" ? 0 : 1, tool: name, argumentsJson: '{"n":1}', attempt: 1, worker: "w" },
  };
}

const askAll = async (by: readonly Assigned[], name = "scarce", on = stage.context) =>
  (
    await authorizeToolCalls(
      on,
      by.map((one) => callOf(one, name)),
    )
  ).map(({ answer }) => answer);
const ask = async (by: Assigned, on = stage.context) => (await askAll([by], "scarce", on))[0]!;

async function answer(by: Assigned): Promise<void> {
  const [row] = await stage.database.db.selectFrom("tool_call").selectAll().where("task_id", "=", by.task.id).execute();
  const { token, sessionId, task } = by;
  const result = { ok: true, resultJson: "1" } as const;
  const fact = {
    taskId: task.id,
    token,
    sessionId,
    grantId: row!.grant_id,
    result,
    durationMs: 1,
    journalSequence: 2,
    worker: "w",
  };
  expect((await recordToolResults(stage.context, [fact]))[0]).toMatchObject({ verdict: { verdict: "committed" } });
}

async function open(): Promise<number> {
  const { rows } = await stage.database.pool.query(
    "select 1 from tool_call where limited_tool = 'default/scarce' and state = 'granted' and grant_expire_time > clock_timestamp()",
  );
  return rows.length;
}

test("calls beyond the limit are told to wait, and are granted first come, first served", async () => {
  const [a, b, c, d, e] = (await held(5)) as unknown as Five;
  const answers = await askAll([a, b, c, d]);
  expect(answers.map(({ type }) => type)).toEqual(["granted", "granted", "retry_after", "retry_after"]);
  // The next one looks often, those behind it less so.
  expect(answers.slice(2)).toMatchObject([{ delayMs: 100 }, { delayMs: 200 }]);
  expect(await open()).toBe(2);
  // Asked again after a lost answer, a grant is the same one, and takes no other.
  expect(await ask(a)).toEqual(answers[0]);
  await answer(a);
  // Neither the newcomer nor the one behind gets what is the next one's.
  expect((await askAll([e, d])).map(({ type }) => type)).toEqual(["retry_after", "retry_after"]);
  expect((await ask(c)).type).toBe("granted");
  await answer(b);
  expect((await ask(e)).type).toBe("retry_after");
  expect((await ask(d)).type).toBe("granted");
  // A recorded result needs no turn.
  expect((await ask(a)).type).toBe("cached");
  const waiters = await stage.database.db.selectFrom("tool_waiter").select("tool").execute();
  expect(waiters).toEqual([{ tool: "default/scarce" }]);
});

test("a call that stopped asking is passed over, and forgotten in the end", async () => {
  const [a, b, gone, next] = (await held(4)) as unknown as Five;
  await askAll([a, b, gone, next]);
  await answer(a);
  await stage.database.pool.query(
    "update tool_waiter set seen_time = seen_time - interval '7 s' where request_id like $1",
    [`%${gone.task.id}%`],
  );
  expect((await ask(next)).type).toBe("granted");
  await stage.store.read(({ toolTurns }) => toolTurns.forget(5_000));
  expect(await stage.database.db.selectFrom("tool_waiter").selectAll().execute()).toEqual([]);
});

test("a grant that expired is free, and the next holder of a lost task takes over the grant that is open", async () => {
  const [a, b, c] = (await held(3)) as unknown as Five;
  await askAll([a, b, c]);
  await stage.settle(lostOf(a, "expired"));
  const again = (await stage.claimAs("ses_b")).assigned[0]!;
  expect(again.task.id).toBe(a.task.id);
  expect((await ask(again)).type).toBe("granted");
  expect([await open(), (await ask(c)).type]).toEqual([2, "retry_after"]);
  await stage.database.pool.query("update tool_call set grant_expire_time = clock_timestamp() where task_id = $1", [
    b.task.id,
  ]);
  expect((await ask(c)).type).toBe("granted");
  // Its own grant being over, the holder asks for another one and has to wait.
  expect((await ask(b)).type).toBe("retry_after");
});

test("a call that cannot be granted after all takes no turn from the others of its batch", async () => {
  const both = await held(2);
  expect((await askAll(both, "hollow")).map(({ type }) => type)).toEqual(["failed", "failed"]);
  expect(await stage.database.db.selectFrom("tool_waiter").selectAll().execute()).toEqual([]);
});

test("the limit is the one of the manifest as it is now, also for tasks that began under another", async () => {
  const [a, b, c, d] = (await held(4)) as unknown as Five;
  expect((await askAll([a, b, c])).at(-1)?.type).toBe("retry_after");
  await stage.applyAll([scarce(3)]);
  expect((await ask(c)).type).toBe("granted");
  await stage.applyAll([scarce(1)]);
  await answer(a);
  await answer(b);
  expect((await ask(d)).type).toBe("retry_after");
  await stage.applyAll([scarce()]);
  expect((await ask(d)).type).toBe("granted");
  const row = stage.database.db.selectFrom("tool_call").select("limited_tool").where("task_id", "=", d.task.id);
  expect(await row.executeTakeFirst()).toEqual({ limited_tool: null });
  await stage.applyAll([scarce(2)]);
});

test.each(ORDERS)("two replicas at the last grant, order %i %i: one gives it", async (...order) => {
  const [a, b, c] = (await held(3)) as unknown as Five;
  await ask(a);
  const barrier = () => stage.hold("select pg_advisory_xact_lock(hashtextextended('tool:default/scarce', 0))");
  const answers = await meet(barrier, [() => ask(b), () => ask(c, other)], order);
  expect(answers.map(({ type }) => type)).toEqual(
    order[0] === 0 ? ["granted", "retry_after"] : ["retry_after", "granted"],
  );
  expect(await open()).toBe(2);
});

test("many that ask on two replicas at once never hold more than the limit, and all have their turn", async () => {
  const tasks = await held(12);
  const waiting = new Set(tasks);
  for (let round = 0; waiting.size > 0; round += 1) {
    expect(round).toBeLessThan(12);
    const asking = [...waiting];
    const answers = await Promise.all(asking.map((by, index) => ask(by, index % 2 === 0 ? stage.context : other)));
    expect(await open()).toBeLessThanOrEqual(2);
    const granted = asking.filter((_by, index) => answers[index]?.type === "granted");
    for (const by of granted) {
      waiting.delete(by);
      await answer(by);
    }
  }
});
