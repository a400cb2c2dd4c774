// Decisions explained and tried against a real database: what is on record, what holds now, and that neither changes anything.

import { beforeEach, describe, expect, test } from "vitest";
import { authorizeToolCalls } from "../../server/commands/authorize_tool_call.ts";
import type { DecisionView, TryInput } from "../../server/commands/decision_views.ts";
import { explainDecisions } from "../../server/commands/explain_decisions.ts";
import { recordTurns } from "../../server/commands/record_turns.ts";
import { tryDecisions } from "../../server/commands/try_decisions.ts";
import type { Principal } from "../../server/commands/views.ts";
import { agent, document, flow, policy } from "./command_manifests.ts";
import { ana, commandStage } from "./command_stage.ts";

const stage = await commandStage();
const bob: Principal = { ...ana, id: "bob", groups: ["finance"] };

/** A run of bob whose agent asked for tools in its first turn; the last of them is decided and settled. */
async function bobAsked(...calls: { name: string; arguments: object }[]) {
  // Closed to bob only once the task has left: else it would be denied before.
  const guard = (...groups: string[]) => policy("guarded-engineering", "Tool", "guarded", groups, "tool.call");
  await stage.applyAll([guard("engineering", "finance")]);
  const { run } = await stage.invokeOne("calls", {}, bob);
  const held = (await stage.claimAs("ses_a")).assigned.at(-1);
  await stage.applyAll([guard("engineering")]);
  if (held === undefined) throw new Error("nothing was claimed");
  const by = { taskId: held.task.id, token: held.token, sessionId: held.sessionId, worker: "w" };
  await recordTurns(stage.context, [{ ...by, sequence: 1, turnJson: JSON.stringify({ text: "", toolCalls: calls }) }]);
  const callIndex = calls.length - 1;
  const { name, arguments: args } = calls[callIndex] as (typeof calls)[number];
  const fact = { ...by, turnSequence: 1, callIndex, tool: name, argumentsJson: JSON.stringify(args), attempt: 1 };
  const [asked] = await authorizeToolCalls(stage.context, [fact]);
  if (asked?.settle !== undefined) await stage.settle(asked.settle);
  return { runId: run.id, taskId: held.task.id, answer: asked?.answer };
}

const explain = (of: Partial<Parameters<typeof explainDecisions>[2]>) =>
  explainDecisions(stage.context, ana, { runId: "", taskId: "", tool: "", ...of });

function brief({ checkpoint, agent, toolName, args, explanation: { decision, deciding }, recorded }: DecisionView) {
  return {
    ...{ checkpoint, agent, tool: toolName, ...(args && { args }) },
    reason: decision.reason,
    deciding: deciding && `${deciding.policy} ${deciding.path}`,
    recorded: recorded.map(({ kind, decision: then }) => `${kind} ${then.reason}`),
  };
}

async function trailLength(): Promise<number> {
  const { rows } = await stage.database.pool.query("select count(*)::int as count from audit_event");
  return rows[0]?.count as number;
}

describe("explain", () => {
  beforeEach(() => stage.applyAll([policy("guarded-engineering", "Tool", "guarded", ["engineering"], "tool.call")]));

  test("a denied run: the workflow, and the call that was denied with its arguments, as recorded and by the policies of now", async () => {
    const { runId, taskId, answer } = await bobAsked(
      { name: "guarded", arguments: { n: 1 } },
      { name: "guarded", arguments: { n: 2 } },
    );
    expect(answer?.type).toBe("denied");
    const before = await stage.everything();
    const denied = {
      ...{ checkpoint: "tool.call", agent: "caller", tool: "guarded", args: { n: 2 }, reason: "not_permitted" },
      deciding: "default/guarded-engineering spec.allow.match.requester.groups",
      recorded: ["task.denied not_permitted"],
    };
    const ofRun = (await explain({ runId })).map(brief);
    expect(ofRun).toEqual([
      { checkpoint: "workflow.run", agent: "", tool: "", reason: "allowed", deciding: undefined, recorded: [] },
      denied,
    ]);
    expect((await explain({ taskId })).map(brief)).toEqual([
      { checkpoint: "agent.run", agent: "caller", tool: "", reason: "allowed", deciding: undefined, recorded: [] },
      denied,
    ]);
    expect((await explain({ taskId, tool: "guarded" })).map(brief)).toEqual([denied]);

    await stage.applyAll([policy("guarded-engineering", "Tool", "guarded", ["finance"], "tool.call")]);
    const [now] = await explain({ taskId, tool: "guarded" });
    expect(now && brief(now)).toMatchObject({ reason: "allowed", recorded: ["task.denied not_permitted"] });
    expect(now?.recorded[0]?.decision.verdicts).toMatchObject([
      { policy: "default/guarded-engineering", reason: "not_permitted" },
    ]);
    expect(now?.explanation.policies).toMatchObject([{ verdict: { passes: true } }]);
    expect(await stage.everything()).toBe(before);
  });

  test("each call is recorded as a reading of the trail, by whom and of what", async () => {
    const runId = await stage.start("calls");
    const before = await trailLength();
    await explain({ runId });
    const { rows } = await stage.database.pool.query(
      "select kind, actor, record from audit_event order by id desc limit 1",
    );
    expect(await trailLength()).toBe(before + 1);
    expect(rows[0]).toMatchObject({ kind: "audit.read", actor: "ana" });
    expect(JSON.parse(rows[0]?.record).detail).toEqual({ how: "explain", filter: { runId } });
  });

  test("a tool of a run is explained for every agent that declares it; arguments stay open unless they are given", async () => {
    await stage.applyAll([
      document("Policy", "few", {
        attachTo: [{ kind: "Tool", name: "write" }],
        allow: { cel: "args.n < 5" },
      }),
    ]);
    const runId = await stage.start("calls");
    const reasonOf = async (args?: object) => {
      const [one, ...more] = await explain({ runId, tool: "write", ...(args && { args: args as never }) });
      expect(more).toEqual([]);
      return [one?.explanation.decision.reason, one?.explanation.policies[0]?.allow?.value, one?.problem];
    };
    expect(await reasonOf()).toEqual(["allowed", "open", ""]);
    expect(await reasonOf({ n: 5 })).toEqual(["not_permitted", "false", ""]);
    expect(await reasonOf({ n: "x" })).toEqual(["invalid_args", undefined, "n: must be integer"]);
  });

  test("what an agent does not declare is explained as undeclared", async () => {
    const { runId, taskId, answer } = await bobAsked({ name: "nowhere", arguments: {} });
    expect(answer).toMatchObject({ type: "denied", code: "undeclared" });
    const undeclared = { tool: "nowhere", reason: "undeclared", recorded: ["task.denied undeclared"] };
    expect((await explain({ runId })).map(brief)).toMatchObject([{ checkpoint: "workflow.run" }, undeclared]);
    expect((await explain({ taskId, tool: "nowhere" })).map(brief)).toMatchObject([undeclared]);
    await expect(explain({ runId, tool: "nowhere" })).rejects.toMatchObject({
      reason: "RESOURCE_NOT_FOUND",
      message: 'no agent of the run declares a tool "nowhere"; its agents are caller',
    });
  });

  test("a task that its agent.run denied is explained by the policy of the agent", async () => {
    const { run } = await stage.invokeOne("denied", {}, bob);
    const { denied } = await stage.claimAs("ses_b");
    await stage.settle(...denied);
    const [task] = await stage.tasksOf(run.id);
    expect((await explain({ taskId: task?.id ?? "" })).map(brief)[0]).toMatchObject({
      ...{ checkpoint: "agent.run", agent: "locked", reason: "not_permitted" },
      deciding: "default/nobody-runs-locked spec.allow.match.requester.groups",
    });
  });

  test.each([
    [{ runId: "run_none" }, "RUN_NOT_FOUND"],
    [{ taskId: "task_none" }, "TASK_NOT_FOUND"],
  ])("%j is not found", async (of, reason) => {
    await expect(explain(of)).rejects.toMatchObject({ reason });
  });
});

describe("can", () => {
  const can = (more: Partial<TryInput>) =>
    tryDecisions(stage.context, {
      ...{ namespace: "default", requester: ana, workflow: "", agent: "", tool: "", tags: {}, metadata: {} },
      ...more,
    });
  const words = (decisions: readonly DecisionView[]) =>
    decisions.map(
      ({ workflow, checkpoint, explanation }) => `${workflow} ${checkpoint} ${explanation.decision.reason}`,
    );

  test("every checkpoint on the way is decided, for the workflows and agents that fit", async () => {
    await stage.applyAll([policy("guarded-engineering", "Tool", "guarded", ["engineering"], "tool.call")]);
    const way = (reason: string) => [
      "default/calls workflow.run allowed",
      "default/calls agent.run allowed",
      `default/calls tool.call ${reason}`,
    ];
    expect(words(await can({ tool: "guarded", args: { n: 1 } }))).toEqual(way("allowed"));
    expect(words(await can({ tool: "guarded", requester: bob }))).toEqual(way("not_permitted"));
    expect(words(await can({ workflow: "calls", agent: "caller", tool: "nowhere" }))).toEqual(way("undeclared"));
    expect(words(await can({ workflow: "calls", tool: "guarded", args: { n: "x" } }))).toEqual(way("invalid_args"));
    expect(words(await can({ agent: "locked" }))).toEqual([
      "default/denied workflow.run allowed",
      "default/denied agent.run not_permitted",
    ]);
    expect(words(await can({ workflow: "closed" }))).toEqual(["default/closed workflow.run not_permitted"]);
  });

  test("the tools of an agent are decided as before it runs: a denied one ends the task, or is only withheld", async () => {
    await stage.applyAll([
      policy("guarded-engineering", "Tool", "guarded", ["engineering"], "tool.call"),
      agent("picky", { tools: ["look", { ref: "guarded", as: "dangerous", onDenied: "withhold" }] }),
      ...flow("picks", { nodes: [{ name: "only", agent: "picky" }] }),
    ]);
    const told = (decisions: readonly DecisionView[]) =>
      decisions.map(({ toolName, explanation, withheld }) => [toolName, explanation.decision.reason, withheld]);
    const [run, started] = [
      ["", "allowed", false],
      ["", "allowed", false],
    ] as const;
    expect(told(await can({ agent: "picky", requester: bob }))).toEqual([
      run,
      started,
      ["look", "allowed", false],
      ["dangerous", "not_permitted", true],
    ]);
    expect(told(await can({ workflow: "picks", tool: "look", requester: bob, args: { n: 1 } }))).toEqual([
      run,
      started,
      ["dangerous", "not_permitted", true],
      ["look", "allowed", false],
    ]);
    expect(told(await can({ workflow: "picks", tool: "guarded", requester: bob }))).toEqual([
      run,
      started,
      ["guarded", "not_permitted", false],
    ]);
    expect(told(await can({ workflow: "calls", tool: "look", requester: bob, args: { n: 1 } }))).toEqual([
      run,
      started,
      ["guarded", "not_permitted", false],
      ["look", "allowed", false],
    ]);
  });

  test("tags come from their sources, and a time may be given", async () => {
    await stage.applyAll([
      document("Policy", "blue-in-may", {
        attachTo: [{ kind: "WorkflowTemplate", name: "tagged" }],
        checkpoints: ["workflow.run"],
        allow: {
          all: [
            { match: { "context.tags": { team: ["blue"], ticket: ["T-1"] } } },
            { time: { in: [{ from: "2026-05-01T00:00:00Z", to: "2026-06-01T00:00:00Z" }] } },
          ],
        },
      }),
    ]);
    const at = (time: string, requester = ana) =>
      can({ workflow: "tagged", tags: { ticket: "T-1" }, time: new Date(time), requester });
    expect(words(await at("2026-05-31T23:59:59Z"))).toEqual(["default/tagged workflow.run allowed"]);
    expect(words(await at("2026-06-01T00:00:00Z"))).toEqual(["default/tagged workflow.run not_permitted"]);
    const claimless = { ...ana, claims: {} };
    await expect(at("2026-05-02T00:00:00Z", claimless)).rejects.toMatchObject({ reason: "PARAMS_INVALID" });
    await expect(can({ workflow: "tagged", tags: { team: "blue" } })).rejects.toMatchObject({
      reason: "PARAMS_INVALID",
      message: expect.stringContaining('tag "team" cannot be set by the caller'),
    });
  });

  test("nothing is written: no run, no record", async () => {
    const [before, records] = [await stage.everything(), await trailLength()];
    await can({ tool: "guarded", args: { n: 1 } });
    await can({ workflow: "closed" });
    expect([await stage.everything(), await trailLength()]).toEqual([before, records]);
  });

  test.each([
    [{ workflow: "nowhere" }, "WORKFLOW_NOT_FOUND", "nowhere does not exist"],
    [{ agent: "nobody" }, "RESOURCE_NOT_FOUND", 'no workflow of namespace default has agent "nobody"'],
    [{ workflow: "one", agent: "caller" }, "RESOURCE_NOT_FOUND", 'workflow default/one does not have agent "caller"'],
    [{ tool: "hammer" }, "RESOURCE_NOT_FOUND", 'has an agent that declares tool "hammer"'],
  ])("%j is not found", async (of, reason, message) => {
    await expect(can(of)).rejects.toMatchObject({ reason, message: expect.stringContaining(message) });
  });
});
