// Declared keys over a real database: one effect and one result for all tasks that call a tool with one key, however they meet.

import { expect, test } from "vitest";
import { authorizeToolCalls } from "../../server/commands/authorize_tool_call.ts";
import type { Assigned } from "../../server/commands/lease_tasks.ts";
import { recordToolResults } from "../../server/commands/record_tool_results.ts";
import { recordTurns } from "../../server/commands/record_turns.ts";
import { replayDeadLetter } from "../../server/commands/replay_dead_letters.ts";
import { createServices } from "../../server/commands/services.ts";
import type { ToolCallFact } from "../../server/commands/tool_facts.ts";
import { agent, document, flow, policy } from "./command_manifests.ts";
import { ana, commandStage, DONE, lostOf, outcomeOf } from "./command_stage.ts";

const stage = await commandStage();
const other = stage.replica();
const services = createServices(stage.context);

const keyed = (name: string, idempotency: object) =>
  document("Tool", name, {
    ...{ type: "http", description: name, effect: "write", inputSchema: { type: "object" } },
    http: { method: "POST", url: `\${{ secret.sink.url }}/${name}`, body: "${{ args }}", allowPrivateNetwork: true },
    idempotency,
  });
await stage.applyAll([
  keyed("pay", { key: "args.order", ttl: "1h" }),
  keyed("repay", { key: "args.order", onUnknownOutcome: "retry" }),
  agent("payer", { tools: ["pay", "repay"], errorHandling: { onExhausted: "deadLetter" } }),
  ...flow("pay", { nodes: [{ name: "only", agent: "payer" }] }),
]);

async function tasks(count: number): Promise<Assigned[]> {
  const runIds = await Promise.all(Array.from({ length: count }, () => stage.start("pay")));
  const { assigned } = await stage.claimAs("ses_a", 200);
  return assigned.filter((one) => runIds.includes(one.task.run_id));
}

const factOf = ({ task, token, sessionId }: Assigned, args: object, tool = "pay"): ToolCallFact => ({
  ...{ taskId: task.id, token, sessionId, worker: "w", turnSequence: 1, callIndex: 0, tool, attempt: 1 },
  argumentsJson: JSON.stringify(args),
});

async function ask(held: Assigned, args: object, tool = "pay", context = stage.context) {
  await stage.journalCall(factOf(held, args, tool));
  const [answer] = await authorizeToolCalls(context, [factOf(held, args, tool)]);
  return answer!;
}

async function answered(held: Assigned, grantId: string, receipt: number) {
  const { task, token, sessionId } = held;
  const result = { ok: true, resultJson: `{"receipt":${receipt}}` } as const;
  const fact = { taskId: task.id, token, sessionId, worker: "w", grantId, result, durationMs: 1, journalSequence: 2 };
  return (await recordToolResults(stage.context, [fact]))[0]?.verdict;
}

const grantOf = ({ answer }: Awaited<ReturnType<typeof ask>>) => {
  if (answer.type !== "granted") throw new Error(`not granted: ${answer.type}`);
  return answer.grant;
};

test("another task with the same key waits while the call is under way, then gets its result; the request id reaches both", async () => {
  const [a, b] = (await tasks(2)) as [Assigned, Assigned];
  const grant = grantOf(await ask(a, { order: "o-1" }));
  expect(grant.requestId).toBe("key:default/pay/o-1");
  expect(grant.means).toMatchObject({ headers: { "Idempotency-Key": "key:default/pay/o-1" } });
  expect((await ask(b, { order: "o-1" })).answer).toMatchObject({ type: "retry_after" });
  await answered(a, grant.grantId, 7);
  expect((await ask(b, { order: "o-1" })).answer).toEqual({ type: "cached", resultJson: '{"receipt":7}' });
  expect((await stage.records(b.task.id)).map(({ kind }) => kind)).toContain("tool.cached");
});

test("the same key with other arguments fails the task, and tells it nothing", async () => {
  const [a, b] = (await tasks(2)) as [Assigned, Assigned];
  await answered(a, grantOf(await ask(a, { order: "o-2", cents: 1 })).grantId, 8);
  const { answer, settle } = await ask(b, { order: "o-2", cents: 2 });
  expect(answer).toEqual({ type: "conflict" });
  expect(settle).toMatchObject({ type: "fail", failure: { class: "IdempotencyConflict" } });
});

test("two replicas that ask for one new key at once grant it once", async () => {
  for (let round = 0; round < 20; round += 1) {
    const [a, b] = (await tasks(2)) as [Assigned, Assigned];
    const args = { order: `race-${round}` };
    const answers = await Promise.all([ask(a, args), ask(b, args, "pay", other)]);
    expect(answers.map(({ answer }) => answer.type).sort()).toEqual(["granted", "retry_after"]);
  }
});

test("a result over its ttl is sent anew for another task, and never for its own", async () => {
  const [a, b] = (await tasks(2)) as [Assigned, Assigned];
  const args = { order: "o-3" };
  await answered(a, grantOf(await ask(a, args)).grantId, 9);
  await stage.database.pool.query(
    "update tool_call set expire_time = clock_timestamp() where request_id = 'key:default/pay/o-3'",
  );
  expect((await ask(a, args)).answer).toMatchObject({ type: "cached" });
  const grant = grantOf(await ask(b, args));
  expect(grant.requestId).toBe("key:default/pay/o-3");
  expect(await answered(b, grant.grantId, 10)).toEqual({ verdict: "committed" });
});

test("a holder that is gone leaves the outcome unknown: parked, or sent again with the same key, as the tool says", async () => {
  for (const [tool, type] of [
    ["pay", "unknown_outcome"],
    ["repay", "granted"],
  ] as const) {
    const [a, b] = (await tasks(2)) as [Assigned, Assigned];
    const args = { order: `gone-${tool}` };
    const first = grantOf(await ask(a, args, tool));
    // Expired, nobody superseded it: its word still counts.
    await stage.settle(lostOf(a, "expired"));
    expect((await ask(b, args, tool)).answer).toMatchObject({ type: "retry_after" });
    await stage.database.pool.query("update ready set last_token = null, last_session_id = null where task_id = $1", [
      a.task.id,
    ]);
    const { answer } = await ask(b, args, tool);
    expect(answer.type).toBe(type);
    // What the first one still tells counts only while the row is its own.
    expect(await answered(a, first.grantId, 1)).toMatchObject(
      type === "granted" ? { verdict: "refused" } : { verdict: "lease_lost" },
    );
  }
});

test("a cached result is decided anew for who asks now", async () => {
  const [a, b] = (await tasks(2)) as [Assigned, Assigned];
  const args = { order: "o-4" };
  await answered(a, grantOf(await ask(a, args)).grantId, 11);
  await stage.applyAll([policy("nobody-pays", "Tool", "pay", ["nobody"], "tool.call")]);
  expect((await ask(b, args)).answer).toEqual({ type: "denied", code: "not_permitted" });
  await stage.database.pool.query("delete from resource where name = 'nobody-pays'");
  await stage.database.pool.query("update revision set value = value + 1 where name = 'policy'");
});

test.each([[{}], [{ order: null }], [{ order: [1] }], [{ order: "" }]])(
  "a key that is none, as of %j, goes back to the model",
  async (args) => {
    const [held] = (await tasks(1)) as [Assigned];
    expect((await ask(held, args)).answer).toMatchObject({
      type: "invalid_arguments",
      message: expect.stringContaining("key"),
    });
  },
);

test("a dead letter whose call has a declared key is replayed with what a person found out", async () => {
  const [held] = (await tasks(1)) as [Assigned];
  const args = { order: "o-5" };
  const { grantId, requestId } = grantOf(await ask(held, args));
  const { task, token, sessionId } = held;
  const result = { ok: false, class: "Timeout", message: "late", ambiguous: true } as const;
  const fact = { taskId: task.id, token, sessionId, worker: "w", grantId, result, durationMs: 1, journalSequence: 2 };
  const [recorded] = await recordToolResults(stage.context, [fact]);
  await services.settle.add(recorded!.settle!);
  const how = { currentManifests: false, repeatEffects: false, results: new Map() };
  await expect(replayDeadLetter(stage.context, services, ana, task.id, how)).rejects.toMatchObject({
    reason: "OUTCOME_UNKNOWN",
    message: expect.stringContaining(requestId),
  });
  await replayDeadLetter(stage.context, services, ana, task.id, {
    ...how,
    results: new Map([[requestId, { receipt: 3 }]]),
  });
  const again = (await stage.claimAs("ses_a")).assigned.find((one) => one.task.run_id === task.run_id) as Assigned;
  expect((await ask(again, args)).answer).toEqual({ type: "cached", resultJson: '{"receipt":3}' });
  await stage.settle(outcomeOf(again, DONE));
});

test("10,000 calls of 100 tasks on two replicas with 50 keys: each key is granted once, other arguments always refused", async () => {
  const held = await tasks(100);
  const grants = new Map<string, string[]>();
  const counts: Record<string, number> = {};
  const keyOf = (index: number) => `bulk-${index % 50}`;
  const callOf = (one: Assigned, index: number, round: number, replica: number): ToolCallFact => {
    // The last ten keys come with other arguments from half of the tasks.
    const order = keyOf(index + round + replica);
    const strange = Number(order.slice(5)) >= 40 && index % 2 === 0 && round > 0;
    return { ...factOf(one, strange ? { order, cents: index + 1 } : { order }), callIndex: round * 2 + replica };
  };
  for (const [index, one] of held.entries()) {
    const asked = Array.from({ length: 100 }, (_, place) => callOf(one, index, place >> 1, place & 1));
    const toolCalls = asked.map(({ tool, argumentsJson }) => ({ name: tool, arguments: JSON.parse(argumentsJson) }));
    const turn = { taskId: one.task.id, token: one.token, sessionId: one.sessionId, worker: "w", sequence: 1 };
    await recordTurns(stage.context, [{ ...turn, turnJson: JSON.stringify({ text: "", toolCalls }) }]);
  }
  for (let round = 0; round < 50; round += 1) {
    const both = [stage.context, other].map(async (context, replica) => {
      const facts = held.map((one, index) => callOf(one, index, round, replica));
      const answers = await authorizeToolCalls(context, facts);
      for (const [index, { answer }] of answers.entries()) {
        counts[answer.type] = (counts[answer.type] ?? 0) + 1;
        if (answer.type !== "granted") continue;
        const { requestId, grantId } = answer.grant;
        grants.set(requestId, [...new Set([...(grants.get(requestId) ?? []), grantId])]);
        const { task, token, sessionId } = held[index]!;
        const result = { ok: true, resultJson: "1" } as const;
        await recordToolResults(context, [
          { taskId: task.id, token, sessionId, worker: "w", grantId, result, durationMs: 1, journalSequence: 0 },
        ]);
      }
    });
    await Promise.all(both);
  }
  expect(Object.values(counts).reduce((sum, count) => sum + count)).toBe(10_000);
  expect([...grants.keys()]).toHaveLength(50);
  expect([...grants.values()].every((ids) => ids.length === 1)).toBe(true);
  expect(counts["conflict"]).toBeGreaterThan(500);
}, 120_000);
