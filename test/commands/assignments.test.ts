// What a claim decides before a task leaves: workflow.run once more, agent.run, and every declared tool with its arguments left open.

import { expect, test } from "vitest";
import { authorizeToolCalls } from "../../server/commands/authorize_tool_call.ts";
import type { Assigned } from "../../server/commands/lease_tasks.ts";
import { assignmentFrame } from "../../server/dispatch/assignment.ts";
import { agent, document, flow, policy, tool } from "./command_manifests.ts";
import { BROKEN, commandStage, DONE, lostOf, outcomeOf, TIMEOUT } from "./command_stage.ts";
import { faultyReplica } from "./faulty_replica.ts";

const stage = await commandStage();

/** A policy on a tool at tool.call that denies for its own reason. */
function closes(name: string, target: string, condition: object) {
  const attachTo = [{ kind: "Tool", name: target }];
  return document("Policy", name, { attachTo, checkpoints: ["tool.call"], message: "Closed.", ...condition });
}

const NOBODY = { allow: { match: { "requester.groups": ["nobody"] } } };

async function withAgent(name: string, tools: readonly unknown[], ...more: object[]) {
  await stage.applyAll([
    tool(`${name}-tool`, "write"),
    agent(name, { tools }),
    ...flow(name, { nodes: [{ name: "only", agent: name }] }),
    ...more,
  ]);
}

async function claimRun(runId: string, session = "ses_a") {
  const { assigned, denied } = await stage.claimAs(session);
  const tasks = new Set((await stage.tasksOf(runId)).map(({ id }) => id));
  const settled = denied.filter((item) => "taskId" in item && tasks.has(item.taskId));
  await stage.settle(...settled);
  return { assigned: assigned.filter(({ task }) => tasks.has(task.id)), denied: settled };
}

async function callOf({ task, token, sessionId }: Assigned, name: string) {
  const fact = { turnSequence: 1, callIndex: 0, tool: name, argumentsJson: '{"n":1}', attempt: 1, worker: "w" };
  const call = { taskId: task.id, token, sessionId, ...fact };
  await stage.journalCall(call);
  const [answer] = await authorizeToolCalls(stage.context, [call]);
  if (answer?.settle !== undefined) await stage.settle(answer.settle);
  return answer?.answer;
}

test("a tool that is denied whatever its arguments are denies the task before it leaves, with the tool's decision", async () => {
  await withAgent("early", ["look", "early-tool"], closes("early", "early-tool", NOBODY));
  const runId = await stage.start("early");
  const { assigned, denied } = await claimRun(runId);
  expect([assigned.length, denied.length]).toEqual([0, 1]);
  expect(await stage.run(runId)).toMatchObject({ state: "POLICY_DENIED", failure_class: "PolicyDenied" });
  const records = await stage.records(runId);
  expect(records.map(({ kind }) => kind)).toEqual(["run.created", "task.denied"]);
  expect(records[1]?.detail).toMatchObject({
    failure: { message: "tool early-tool for agent early was denied (not_permitted) by policy default/early: Closed." },
    decision: { checkpoint: "tool.call", tool: "early-tool", argsDeferred: true, decidedBy: "default/early" },
  });
});

test.each([
  ["the arguments decide", { allow: { cel: "args.n < 5" } }],
  ["the arguments or the group decide", { allow: { any: [NOBODY.allow, { exists: "args.n" }] } }],
  ["an argument forbids", { deny: { cel: "args.n > 5" } }],
  [
    "all but the arguments are fine",
    { allow: { all: [{ match: { "requester.groups": ["engineering"] } }, { cel: "args.n < 5" }] } },
  ],
])("a task leaves as long as some arguments may be allowed: %s", async (name, condition) => {
  const own = `open-${name.replaceAll(" ", "-")}`;
  await withAgent(own, [`${own}-tool`], closes(own, `${own}-tool`, condition));
  const { assigned } = await claimRun(await stage.start(own));
  expect(assigned).toMatchObject([{ withheldTools: [] }]);
  expect(await callOf(assigned[0] as Assigned, `${own}-tool`)).toMatchObject({ type: "granted" });
});

test("a guarded tool without a policy denies the task before it leaves", async () => {
  await stage.applyAll([
    tool("bare", "write", { guarded: true }),
    agent("bare", { tools: ["bare"] }),
    ...flow("bare", { nodes: [{ name: "only", agent: "bare" }] }),
  ]);
  const runId = await stage.start("bare");
  expect((await claimRun(runId)).denied).toMatchObject([{ decision: { reason: "policy_missing" } }]);
});

test("withheld: the task leaves without the tool, its record says why, and a call of it is denied by structure", async () => {
  const tools = ["look", { ref: "shy-tool", as: "pay", onDenied: "withhold" }];
  await withAgent("shy", tools, closes("shy", "shy-tool", NOBODY));
  const runId = await stage.start("shy");
  const [held] = (await claimRun(runId)).assigned as [Assigned];
  expect(held.withheldTools).toEqual(["pay"]);
  expect(assignmentFrame(held, 1n).withheldTools).toEqual(["pay"]);
  const leased = (await stage.records(runId)).find(({ kind }) => kind === "task.leased")?.detail;
  expect(leased?.["withheldTools"]).toMatchObject([
    {
      name: "pay",
      decision: { tool: "shy-tool", reason: "not_permitted", decidedBy: "default/shy", argsDeferred: true },
    },
  ]);
  expect(await callOf(held, "look")).toMatchObject({ type: "granted" });
  // Allowed by now; but this assignment went without it.
  await stage.applyAll([closes("shy", "shy-tool", { allow: { match: { "requester.groups": ["engineering"] } } })]);
  expect(await callOf(held, "pay")).toEqual({ type: "denied", code: "undeclared" });
  expect(await stage.run(runId)).toMatchObject({ state: "POLICY_DENIED" });
});

test("what is withheld is decided for each assignment anew", async () => {
  const tools = [{ ref: "anew-tool", onDenied: "withhold" }];
  await withAgent("anew", tools, closes("anew", "anew-tool", NOBODY));
  const runId = await stage.start("anew");
  const [first] = (await claimRun(runId)).assigned as [Assigned];
  expect(first.withheldTools).toEqual(["anew-tool"]);
  await stage.settle(lostOf(first, "expired"));
  await stage.applyAll([closes("anew", "anew-tool", { allow: { match: { "requester.groups": ["engineering"] } } })]);
  const [second] = (await claimRun(runId, "ses_b")).assigned as [Assigned];
  expect(second.withheldTools).toEqual([]);
  expect(await callOf(second, "anew-tool")).toMatchObject({ type: "granted" });
});

test("pre-decisions count against no limit", async () => {
  const limits = [{ name: "once", key: ["args.n"], max: 1, window: "31d" }];
  const allow = { match: { "requester.kinds": ["user"] } };
  await withAgent("free", ["free-tool"], closes("free", "free-tool", { allow, limits }));
  const [held] = (await claimRun(await stage.start("free"))).assigned as [Assigned];
  expect(await callOf(held, "free-tool")).toMatchObject({ type: "granted" });
  const { rows } = await stage.database.pool.query("select count from policy_limit where policy = 'default/free'");
  expect(rows).toEqual([{ count: 1 }]);
});

const CLOSED = policy("second-look", "WorkflowTemplate", "second", ["nobody"], "workflow.run");
const OPEN = policy("second-look", "WorkflowTemplate", "second", ["engineering"], "workflow.run");

test("workflow.run is decided once more before anything of the run leaves: denied then, the run ends and no other task of it starts", async () => {
  await stage.applyAll([
    ...flow("second", {
      nodes: ["left", "right", "after"].map((name) => ({ name, agent: "solo" })),
      edges: [{ from: "left", to: "after" }],
    }),
    OPEN,
  ]);
  const runId = await stage.start("second");
  await stage.applyAll([CLOSED]);
  const { assigned, denied } = await stage.claimAs("ses_a", 1);
  expect([assigned.length, denied.length]).toEqual([0, 1]);
  await stage.settle(...denied);
  expect(await stage.run(runId)).toMatchObject({ state: "POLICY_DENIED", cause: "policy_denied" });
  expect(await stage.queued(runId)).toEqual([]);
  expect(await stage.leases(runId)).toEqual([]);
  expect((await stage.tasksOf(runId)).map(({ state }) => state).sort()).toEqual(["CANCELLED", "POLICY_DENIED"]);
  const record = (await stage.records(runId)).find(({ kind }) => kind === "task.denied")?.detail;
  expect(record).toMatchObject({
    failure: { message: expect.stringContaining("workflow second was denied (not_permitted)") },
    decision: { checkpoint: "workflow.run", allowed: false, decidedBy: "default/second-look" },
  });
});

test("two roots that are claimed together are denied together", async () => {
  await stage.applyAll([OPEN]);
  const runId = await stage.start("second");
  await stage.applyAll([CLOSED]);
  const { assigned, denied } = await claimRun(runId);
  expect([assigned.length, denied.length]).toEqual([0, 2]);
  expect(await stage.run(runId)).toMatchObject({ state: "POLICY_DENIED" });
  expect(new Set((await stage.tasksOf(runId)).map(({ state }) => state))).toEqual(new Set(["POLICY_DENIED"]));
});

test("a run that has begun is not decided again: by its other root, a later node, or a retry", async () => {
  await stage.applyAll([OPEN]);
  const runId = await stage.start("second");
  const [left] = (await stage.claimAs("ses_a", 1)).assigned as [Assigned];
  const leased = (await stage.records(runId)).find(({ kind }) => kind === "task.leased")?.detail;
  expect(leased?.["runDecision"]).toMatchObject({ checkpoint: "workflow.run", allowed: true });
  await stage.applyAll([CLOSED]);
  const [right] = (await stage.claimAs("ses_a", 1)).assigned as [Assigned];
  expect(right.task.run_id).toBe(runId);
  await stage.settle(outcomeOf(right, TIMEOUT));
  await stage.makeDue(right.task.id);
  await stage.settle({ type: "wake", taskId: right.task.id });
  await stage.settle(outcomeOf(left, DONE));
  const rest = (await claimRun(runId)).assigned;
  expect(rest).toHaveLength(2);
  await stage.settle(...rest.map((one) => outcomeOf(one, BROKEN)));
  const decided = (await stage.records(runId)).filter(({ detail }) => "runDecision" in detail);
  expect(decided).toHaveLength(1);
});

const RESCUED = {
  nodes: ["risky", "rescue", "wrong"].map((name) => ({ name, agent: name === "risky" ? "caught" : "solo" })),
  edges: [
    { from: "risky", to: "rescue", outcome: "policyDenied" },
    { from: "risky", to: "wrong", outcome: "failed" },
  ],
};

test.each(["before the agent runs", "at its call"])(
  "a tool that is denied %s takes the policyDenied edge and never the failed one",
  async (when) => {
    const byArguments = { allow: { any: [NOBODY.allow, { cel: "args.n > 5" }] } };
    await stage.applyAll([
      tool("caught-tool", "write"),
      agent("caught", { tools: ["caught-tool"] }),
      ...flow("rescued", RESCUED),
      closes("caught", "caught-tool", when === "at its call" ? byArguments : NOBODY),
    ]);
    const runId = await stage.start("rescued");
    const { assigned, denied } = await claimRun(runId);
    expect([assigned.length, denied.length]).toEqual(when === "at its call" ? [1, 0] : [0, 1]);
    for (const held of assigned) expect(await callOf(held, "caught-tool")).toMatchObject({ type: "denied" });
    expect(await stage.nodes(runId)).toEqual({ risky: "DENIED", rescue: "ACTIVE", wrong: "SKIPPED" });
    expect((await stage.tasksOf(runId)).map(({ state, attempt }) => [state, attempt])).toEqual([
      ["POLICY_DENIED", 1],
      ["READY", 1],
    ]);
    const rescue = (await claimRun(runId)).assigned;
    await stage.settle(...rescue.map((one) => outcomeOf(one, DONE)));
    expect(await stage.run(runId)).toMatchObject({ state: "SUCCEEDED" });
  },
);

test("a run that is denied as a whole is caught by no edge", async () => {
  const open = (groups: readonly string[]) => policy("whole", "WorkflowTemplate", "whole", groups, "workflow.run");
  await stage.applyAll([
    ...flow("whole", { ...RESCUED, nodes: RESCUED.nodes.map((node) => ({ ...node, agent: "solo" })) }),
    open(["engineering"]),
  ]);
  const runId = await stage.start("whole");
  await stage.applyAll([open(["nobody"])]);
  expect((await claimRun(runId)).denied).toHaveLength(1);
  expect(await stage.run(runId)).toMatchObject({ state: "POLICY_DENIED" });
  expect(await stage.nodes(runId)).toEqual({ risky: "DENIED", rescue: "CANCELLED", wrong: "CANCELLED" });
});

test("a claim asks as much of the database with policies at workflow.run as without", async () => {
  const { pool } = stage.database;
  await stage.applyAll([...flow("plain", { nodes: [{ name: "only", agent: "solo" }] })]);
  const { context, faults } = faultyReplica(stage);
  const statements = async () => {
    await stage.start("plain");
    await stage.claimAs("ses_a", 100, context);
    await stage.start("plain");
    faults.set({ type: "none" });
    await stage.claimAs("ses_a", 100, context);
    return faults.statements;
  };
  const before = await statements();
  await pool.query("delete from resource where kind = 'Policy' and document like '%workflow.run%'");
  await pool.query("update revision set value = value + 1");
  expect(await statements()).toBe(before);
});
