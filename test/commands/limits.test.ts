// Limits: what counts and what does not, batches, windows and keys, races at one counter, and a transaction that is lost in between.

import { expect, test } from "vitest";
import { MINUTE } from "../../kit/units.ts";
import { authorizeToolCalls } from "../../server/commands/authorize_tool_call.ts";
import { invoke } from "../../server/commands/invoke.ts";
import type { Assigned } from "../../server/commands/lease_tasks.ts";
import { recordToolResults } from "../../server/commands/record_tool_results.ts";
import { removeLeftovers } from "../../server/commands/remove_expired.ts";
import { replayDeadLetter } from "../../server/commands/replay_dead_letters.ts";
import { createServices } from "../../server/commands/services.ts";
import type { Authorized, ToolCallFact } from "../../server/commands/tool_facts.ts";
import { tryDecisions } from "../../server/commands/try_decisions.ts";
import { agent, document, flow, tool } from "./command_manifests.ts";
import { ana, BROKEN, commandStage, lostOf, outcomeOf, stopOf } from "./command_stage.ts";
import { faultyReplica } from "./faulty_replica.ts";

const stage = await commandStage();
const other = stage.replica();

const EVERYBODY = { match: { "requester.kinds": ["user"] } };

interface Limit {
  readonly key?: readonly string[];
  readonly max: number;
  readonly window?: string;
}

/** A workflow whose agent has a tool of that name, limited by a policy of that name. */
async function limited(name: string, limit: Limit, more: { tool?: Record<string, unknown>; spec?: object } = {}) {
  await stage.applyAll([
    tool(name, "write", more.tool),
    agent(name, { tools: [name, "look", "missing"] }),
    ...flow(name, { nodes: [{ name: "only", agent: name }] }),
    limitPolicy(name, { kind: "Tool", name }, "tool.call", limit, more.spec),
  ]);
}

function limitPolicy(name: string, target: object, checkpoint: string, limit: Limit, spec: object = {}) {
  return document("Policy", name, {
    ...{ attachTo: [target], checkpoints: [checkpoint], allow: EVERYBODY, message: "That is enough." },
    limits: [{ name: "most", key: limit.key ?? [], max: limit.max, window: limit.window ?? "31d" }],
    ...spec,
  });
}

async function begin(workflow: string, principal = ana): Promise<Assigned> {
  const { run } = await stage.invokeOne(workflow, {}, principal);
  const { assigned } = await stage.claimAs("ses_a");
  return assigned.find((one) => one.task.run_id === run.id) as Assigned;
}

function callOf(by: Assigned, name: string, callIndex = 0, more: Partial<ToolCallFact> = {}): ToolCallFact {
  const { task, token, sessionId } = by;
  const call = { turnSequence: 1, callIndex, tool: name, argumentsJson: '{"n":1}', attempt: 1, worker: "w" };
  return { taskId: task.id, token, sessionId, ...call, ...more };
}

/** Asks for what the journal asks for. */
async function ask(by: Assigned, name: string, callIndex = 0, more: Partial<ToolCallFact> = {}, on = stage.context) {
  await stage.journalCall(callOf(by, name, callIndex, more));
  return await askJournaled(by, name, callIndex, more, on);
}

async function askJournaled(
  by: Assigned,
  name: string,
  callIndex = 0,
  more: Partial<ToolCallFact> = {},
  on = stage.context,
) {
  const [answer] = await authorizeToolCalls(on, [callOf(by, name, callIndex, more)]);
  return answer as Authorized;
}

async function countOf(policy: string): Promise<number[]> {
  const rows = await stage.database.db
    .selectFrom("policy_limit")
    .select("count")
    .where("policy", "=", `default/${policy}`)
    .orderBy("window_start")
    .execute();
  return rows.map(({ count }) => count);
}

const typeOf = ({ answer }: Authorized) => (answer.type === "denied" ? answer.code : answer.type);
const tally = (types: readonly string[]) =>
  Object.fromEntries([...Map.groupBy(types, (type) => type)].map(([type, all]) => [type, all.length]));

test("the call over the limit is denied, its task and run end, and the record says which limit and how full it was", async () => {
  await limited("over", { max: 2 });
  const by = await begin("over");
  expect(typeOf(await ask(by, "over", 0))).toBe("granted");
  expect(typeOf(await ask(by, "over", 1))).toBe("granted");
  const third = await ask(by, "over", 2);
  expect(third.answer).toEqual({ type: "denied", code: "limit_exceeded" });
  expect(await countOf("over")).toEqual([2]);
  if (third.settle !== undefined) await stage.settle(third.settle);
  expect(await stage.run(by.task.run_id)).toMatchObject({ state: "POLICY_DENIED" });
  const records = await stage.records(by.task.run_id);
  const granted = records.filter(({ kind }) => kind === "tool.granted").map(({ detail }) => detail["decision"]);
  expect(granted).toMatchObject([
    { allowed: true, limits: [{ policy: "default/over", limit: "most", count: 1, max: 2 }] },
    { allowed: true, limits: [{ count: 2, max: 2 }] },
  ]);
  const denied = records.find(({ kind }) => kind === "task.denied")?.detail;
  expect(denied).toMatchObject({
    failure: { message: expect.stringContaining("That is enough.") },
    decision: { allowed: false, reason: "limit_exceeded", decidedBy: "default/over", limits: [{ count: 2, max: 2 }] },
  });
});

test("retries of a request, lost answers and recorded results count nothing", async () => {
  await limited("again", { max: 1 }, { tool: { idempotency: { onUnknownOutcome: "retry" } } });
  const by = await begin("again");
  const first = await ask(by, "again");
  if (first.answer.type !== "granted") throw new Error(typeOf(first));
  expect(typeOf(await ask(by, "again"))).toBe("granted");
  await stage.settle(lostOf(by, "expired"));
  const next = (await stage.claimAs("ses_b")).assigned.at(-1) as Assigned;
  const second = await ask(next, "again");
  if (second.answer.type !== "granted") throw new Error(typeOf(second));
  const { task, token, sessionId } = next;
  const { grantId } = second.answer.grant;
  const result = { ok: true, resultJson: "1" } as const;
  const fact = { taskId: task.id, token, sessionId, grantId, result, durationMs: 1, journalSequence: 2, worker: "w" };
  await recordToolResults(stage.context, [fact]);
  expect(typeOf(await ask(next, "again"))).toBe("cached");
  expect(await countOf("again")).toEqual([1]);
  expect(typeOf(await ask(next, "again", 1))).toBe("limit_exceeded");
});

test("what is not granted in the end counts nothing: bad arguments, a missing secret, a denial, a run that stops", async () => {
  await limited("unmet", { max: 1 });
  await stage.applyAll([limitPolicy("unmet-missing", { kind: "Tool", name: "missing" }, "tool.call", { max: 5 })]);
  const by = await begin("unmet");
  expect(typeOf(await ask(by, "unmet", 0, { argumentsJson: "{}" }))).toBe("invalid_arguments");
  expect(typeOf(await ask(by, "missing", 1))).toBe("failed");
  expect(await countOf("unmet-missing")).toEqual([0]);
  const closed = { deny: { match: { "requester.ids": ["ana"] } } };
  await stage.applyAll([limitPolicy("unmet-closed", { kind: "Tool", name: "unmet" }, "tool.call", { max: 1 }, closed)]);
  expect(typeOf(await ask(by, "unmet", 2))).toBe("forbidden");
  await stage.settle(stopOf(by.task.run_id));
  expect(typeOf(await ask(by, "unmet", 3))).toBe("retry_after");
  expect(await countOf("unmet")).toEqual([]);
});

test("the calls of one batch count in order, and the one over is denied alone", async () => {
  await limited("batch", { max: 2 });
  const by = await begin("batch");
  const facts = [0, 1, 1, 2, 3].map((index) => callOf(by, "batch", index));
  const all = [...facts, callOf(by, "look", 4)];
  for (const fact of all) await stage.journalCall(fact);
  const answers = await authorizeToolCalls(stage.context, all);
  expect(answers.map(typeOf)).toEqual([
    ...["granted", "granted", "granted", "limit_exceeded", "limit_exceeded", "granted"],
  ]);
  expect(await countOf("batch")).toEqual([2]);
});

test("each key has a count of its own, and so has each window", async () => {
  await limited("keyed", { key: ["requester.id", "args.n"], max: 1, window: "1m" });
  const [one, two] = [await begin("keyed"), await begin("keyed", { ...ana, id: "bob" })];
  expect(typeOf(await ask(one, "keyed", 0))).toBe("granted");
  expect(typeOf(await ask(one, "keyed", 1))).toBe("limit_exceeded");
  expect(typeOf(await ask(one, "keyed", 2, { argumentsJson: '{"n":2}' }))).toBe("granted");
  expect(typeOf(await ask(two, "keyed", 0))).toBe("granted");
  expect(await countOf("keyed")).toEqual([1, 1, 1]);
  // A window later: the counters are those of the window before.
  await stage.database.pool.query(
    "update policy_limit set window_start = window_start - interval '1 minute' where policy = 'default/keyed'",
  );
  expect(typeOf(await ask(one, "keyed", 3))).toBe("granted");
  expect(await countOf("keyed")).toEqual([1, 1, 1, 1]);
});

test("a key whose value is absent denies, whatever room there is", async () => {
  await limited("absent", { key: ["args.order"], max: 9 });
  expect(typeOf(await ask(await begin("absent"), "absent"))).toBe("policy_error");
});

test("of two limits, the one that is full denies and the other counts nothing", async () => {
  await limited("pair-limits", { max: 1 });
  await stage.applyAll([limitPolicy("pair-wide", { kind: "Agent", name: "pair-limits" }, "tool.call", { max: 9 })]);
  const by = await begin("pair-limits");
  expect(typeOf(await ask(by, "pair-limits", 0))).toBe("granted");
  expect(typeOf(await ask(by, "pair-limits", 1))).toBe("limit_exceeded");
  expect([await countOf("pair-limits"), await countOf("pair-wide")]).toEqual([[1], [1]]);
});

test("what somebody could do tells of a full limit, and counts nothing", async () => {
  await limited("tried", { max: 1 });
  const can = async () => {
    const of = { namespace: "default", requester: ana, workflow: "tried", agent: "tried", tool: "tried" };
    const decisions = await tryDecisions(stage.context, { ...of, args: { n: 1 }, tags: {}, metadata: {} });
    const { explanation } = decisions.at(-1) as (typeof decisions)[number];
    return [explanation.decision.reason, explanation.policies[0]?.limits[0]?.used];
  };
  expect(await can()).toEqual(["allowed", 0]);
  await ask(await begin("tried"), "tried");
  expect(await can()).toEqual(["limit_exceeded", 1]);
  expect(await countOf("tried")).toEqual([1]);
});

test("a policy that only observes counts nothing", async () => {
  await limited("watched", { max: 1 }, { spec: { mode: "observe" } });
  const by = await begin("watched");
  for (const index of [0, 1, 2]) expect(typeOf(await ask(by, "watched", index))).toBe("granted");
  expect(await countOf("watched")).toEqual([]);
});

test("50 calls at once at a limit of 3, over two replicas: exactly 3 are granted", async () => {
  await limited("rush", { max: 3 });
  const held = await Promise.all(Array.from({ length: 10 }, () => stage.start("rush")));
  const assigned = (await stage.claimAs("ses_rush")).assigned.filter(({ task }) => held.includes(task.run_id));
  expect(assigned).toHaveLength(10);
  for (const by of assigned) for (let call = 0; call < 5; call += 1) await stage.journalCall(callOf(by, "rush", call));
  const calls = Array.from({ length: 50 }, (_, index) => {
    const on = index % 2 === 0 ? stage.context : other;
    return askJournaled(assigned[index % 10] as Assigned, "rush", Math.floor(index / 10), {}, on);
  });
  expect(tally((await Promise.all(calls)).map(typeOf))).toEqual({ granted: 3, limit_exceeded: 47 });
  expect(await countOf("rush")).toEqual([3]);
  const { rows } = await stage.database.pool.query("select count(*)::int as count from tool_call where tool = 'rush'");
  expect(rows).toEqual([{ count: 3 }]);
});

test("50 invocations at once at a limit of 3: exactly 3 runs, and each of the others is recorded as refused", async () => {
  await stage.applyAll([
    ...flow("rush-runs", { nodes: [{ name: "only", agent: "solo" }] }),
    limitPolicy("rush-runs", { kind: "WorkflowTemplate", name: "rush-runs" }, "workflow.run", { max: 3 }),
  ]);
  const runs = Array.from({ length: 50 }, (_, index) =>
    stage.invokeOne("rush-runs", {}, ana, index % 2 === 0 ? stage.context : other).then(
      () => "run",
      (error) => `${error.reason} ${error.metadata.reason} ${error.metadata.policy}`,
    ),
  );
  expect(tally(await Promise.all(runs))).toEqual({ run: 3, "POLICY_DENIED limit_exceeded default/rush-runs": 47 });
  const { rows } = await stage.database.pool.query(
    `select (select count(*)::int from run where workflow = 'rush-runs') as runs, (select count(*)::int from audit_event
      where kind = 'run.refused' and record like '%"limit_exceeded"%' and record like '%rush-runs%') as refused`,
  );
  expect(rows).toEqual([{ runs: 3, refused: 47 }]);
});

test("invocations of one batch count in order; a repeated key counts once, and its run is given again when the limit is full", async () => {
  await stage.applyAll([
    ...flow("counted", { nodes: [{ name: "only", agent: "solo" }] }),
    limitPolicy("counted", { kind: "WorkflowTemplate", name: "counted" }, "workflow.run", { max: 2 }),
  ]);
  const item = (idempotencyKey: string) => ({
    principal: ana,
    input: { namespace: "default", workflow: "counted", parametersJson: "{}", tags: {}, metadata: {}, idempotencyKey },
  });
  const results = await invoke(stage.context, ["a", "a", "", "b", "a"].map(item));
  const said = results.map((result) => (result instanceof Error ? result.message : result.duplicate));
  expect(said).toEqual([false, true, false, expect.stringContaining("(limit_exceeded): That is enough."), true]);
  expect(await countOf("counted")).toEqual([2]);
});

test("a replay into a new run is a run that counts; denied by the limit, it is recorded and nothing is replayed", async () => {
  const parked = async () => {
    const runId = await stage.start("parked");
    const held = (await stage.claimAs("ses_a")).assigned.find((one) => one.task.run_id === runId) as Assigned;
    await stage.settle(outcomeOf(held, BROKEN));
    await stage.settle(stopOf(runId));
    return { runId, taskId: held.task.id };
  };
  const [one, two] = [await parked(), await parked()];
  await stage.applyAll([
    limitPolicy("replays", { kind: "WorkflowTemplate", name: "parked" }, "workflow.run", { max: 1 }),
  ]);
  const how = { currentManifests: false, repeatEffects: false, results: new Map() };
  const services = createServices(stage.context);
  const replay = (taskId: string) => replayDeadLetter(stage.context, services, ana, taskId, how);
  expect((await replay(one.taskId)).replayRunId).not.toBe(one.runId);
  await expect(replay(two.taskId)).rejects.toMatchObject({ reason: "POLICY_DENIED" });
  expect(await countOf("replays")).toEqual([1]);
  const { rows } = await stage.database.pool.query("select state from dead_letter where task_id = $1", [two.taskId]);
  expect(rows).toEqual([{ state: "open" }]);
  const refused = await stage.database.pool.query(
    `select record from audit_event where kind = 'run.refused' and record like '%"workflow":"parked"%'`,
  );
  expect(refused.rows).toHaveLength(1);
  expect(refused.rows[0].record).toContain("limit_exceeded");
  await stage.database.pool.query("delete from resource where name = 'replays'");
  await stage.database.pool.query("update revision set value = value + 1");
});

test("lost at any statement between the count and the commit: nothing is counted and nothing granted", async () => {
  await limited("crash", { max: 2 });
  const by = await begin("crash");
  const { context, faults } = faultyReplica(stage);
  await ask(by, "look", 9, {}, context);
  faults.set({ type: "none" });
  expect(typeOf(await ask(by, "crash", 0, {}, context))).toBe("granted");
  const statements = faults.statements;
  expect(statements).toBeGreaterThan(5);
  for (let statement = 1; statement <= statements; statement += 1) {
    faults.set({ type: "die_before", statement });
    await expect(ask(by, "crash", 1, {}, context)).rejects.toMatchObject({ reason: "STORAGE_UNAVAILABLE" });
    faults.rest();
    expect(await countOf("crash")).toEqual([1]);
  }
  expect(typeOf(await ask(by, "crash", 1, {}, context))).toBe("granted");
  expect(await countOf("crash")).toEqual([2]);
});

test("policies that change while a counter is waited for are decided anew, and what was reserved is given back", async () => {
  const target = { kind: "WorkflowTemplate", name: "waits" };
  await stage.applyAll([
    ...flow("waits", { nodes: [{ name: "only", agent: "solo" }] }),
    limitPolicy("waits", target, "workflow.run", { max: 5 }),
  ]);
  await stage.start("waits");
  const release = await stage.hold("select 1 from policy_limit where policy = 'default/waits' for update");
  const waiting = stage.invokeOne("waits").then(
    () => "run",
    (error) => error.metadata.reason,
  );
  await stage.waiting(1);
  const closed = { deny: { match: { "requester.ids": ["ana"] } } };
  await stage.applyAll([limitPolicy("waits-closed", target, "workflow.run", { max: 1 }, closed)]);
  await release();
  expect(await waiting).toBe("forbidden");
  expect(await countOf("waits")).toEqual([1]);
});

test("a call that waits for a counter holds a change of policies up until it is on record", async () => {
  await limited("gated", { max: 5 });
  const by = await begin("gated");
  await ask(by, "gated", 0);
  const release = await stage.hold("select 1 from policy_limit where policy = 'default/gated' for update");
  const waiting = ask(by, "gated", 1);
  await stage.waiting(1);
  const closed = { deny: { match: { "requester.ids": ["ana"] } } };
  const closing = stage.applyAll([
    limitPolicy("gated-closed", { kind: "Tool", name: "gated" }, "tool.call", { max: 1 }, closed),
  ]);
  await stage.waiting(2);
  await release();
  expect(typeOf(await waiting)).toBe("granted");
  await closing;
  expect(typeOf(await ask(by, "gated", 2))).toBe("forbidden");
  expect(await countOf("gated")).toEqual([2]);
});

test("transactions that count the same things in different orders all end", async () => {
  await limited("tangle", { key: ["args.n"], max: 1_000 });
  const held: Assigned[] = [];
  for (let begun = 0; begun < 8; begun += 1) held.push(await begin("tangle"));
  const factsOf = (by: Assigned, seed: number) =>
    Array.from({ length: 12 }, (_, index) =>
      callOf(by, "tangle", index, { argumentsJson: `{"n":${(index * 7 + seed * 5) % 12}}` }),
    );
  for (const [seed, by] of held.entries()) for (const fact of factsOf(by, seed)) await stage.journalCall(fact);
  const batches = held.map((by, seed) => authorizeToolCalls(seed % 2 === 0 ? stage.context : other, factsOf(by, seed)));
  const answers = (await Promise.all(batches)).flat();
  expect(new Set(answers.map(typeOf))).toEqual(new Set(["granted"]));
  expect((await countOf("tangle")).reduce((sum, count) => sum + count, 0)).toBe(96);
});

test("counters go once their window has been over for a while, and not before", async () => {
  await limited("gone", { max: 5, window: "1m" });
  await ask(await begin("gone"), "gone");
  await removeLeftovers(stage.store);
  expect(await countOf("gone")).toEqual([1]);
  const age = async (ms: number) => {
    const text = `update policy_limit set expire_time = clock_timestamp() - $1 * interval '1 ms' where policy = 'default/gone'`;
    await stage.database.pool.query(text, [ms]);
    await removeLeftovers(stage.store);
    return await countOf("gone");
  };
  expect(await age(59 * MINUTE)).toEqual([1]);
  expect(await age(61 * MINUTE)).toEqual([]);
});
