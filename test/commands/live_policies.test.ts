// Policies are live on every replica: what one applies is in force on the other at its next decision, and so are labels and `guarded`.
// An update, a decision and the effect race both ways.

import { expect, test } from "vitest";
import { authorizeToolCalls } from "../../server/commands/authorize_tool_call.ts";
import { Caches } from "../../server/commands/caches.ts";
import type { Assigned } from "../../server/commands/lease_tasks.ts";
import { recordToolResults } from "../../server/commands/record_tool_results.ts";
import { readServerConfig } from "../../server/config.ts";
import { agent, document, flow, tool } from "./command_manifests.ts";
import { ana, commandStage } from "./command_stage.ts";

const stage = await commandStage();
const other = stage.replica();
const REPLICAS = { "this replica": stage.context, "the other replica": other };

function gate(name: string, kind: string, checkpoint: string, groups: readonly string[], more: object = {}) {
  const attachTo = [{ kind, name: "lively" }];
  const allow = { match: { "requester.groups": groups } };
  return document("Policy", name, { attachTo, checkpoints: [checkpoint], allow, ...more });
}

const OPEN = ["engineering"];
const CLOSED = ["nobody"];
await stage.applyAll([
  tool("lively", "write"),
  agent("lively", { tools: ["lively"] }),
  ...flow("lively", { nodes: [{ name: "only", agent: "lively" }] }),
]);

async function begin(on = stage.context): Promise<Assigned> {
  const { run } = await stage.invokeOne("lively", {}, ana, on);
  const { assigned } = await stage.claimAs("ses_a", 100, on);
  return assigned.find(({ task }) => task.run_id === run.id) as Assigned;
}

/** Asks for the only call of a turn of its own. */
async function ask(held: Assigned, on = stage.context, turn = 1) {
  const { task, token, sessionId } = held;
  const fact = { turnSequence: turn, callIndex: 0, tool: "lively", argumentsJson: '{"n":1}', attempt: 1, worker: "w" };
  const call = { taskId: task.id, token, sessionId, ...fact };
  await stage.journalCall(call);
  return (await authorizeToolCalls(on, [call]))[0]?.answer;
}

test("what is applied decides the next tool call, claim and invocation of every replica, however warm its caches", async () => {
  for (const on of Object.values(REPLICAS)) expect(await ask(await begin(on), on)).toMatchObject({ type: "granted" });
  const byArguments = { allow: { all: [{ match: { "requester.groups": CLOSED } }, { cel: "args.n > 0" }] } };
  for (const groups of [CLOSED, OPEN, CLOSED, OPEN]) {
    const held = await begin(other);
    const closed = groups === CLOSED;
    await stage.applyAll([
      gate(
        "live-tool",
        "Tool",
        "tool.call",
        groups,
        closed ? { allow: { any: [byArguments.allow, { cel: "args.n > 5" }] } } : {},
      ),
    ]);
    for (const on of Object.values(REPLICAS)) {
      expect(await ask(held, on, 2)).toMatchObject(closed ? { type: "denied" } : { type: "granted" });
    }
    await stage.applyAll([
      gate("live-tool", "Tool", "tool.call", OPEN),
      gate("live-agent", "Agent", "agent.run", groups),
    ]);
    for (const on of Object.values(REPLICAS)) {
      const { run } = await stage.invokeOne("lively", {}, ana, on);
      const { assigned, denied } = await stage.claimAs("ses_b", 100, on);
      const own = assigned.filter(({ task }) => task.run_id === run.id);
      expect([own.length, denied.length]).toEqual(closed ? [0, 1] : [1, 0]);
      await stage.settle(...denied);
    }
    await stage.applyAll([
      gate("live-agent", "Agent", "agent.run", OPEN),
      gate("live-run", "WorkflowTemplate", "workflow.run", groups),
    ]);
    for (const on of Object.values(REPLICAS)) {
      const invoked = stage.invokeOne("lively", {}, ana, on);
      if (closed) await expect(invoked).rejects.toMatchObject({ reason: "POLICY_DENIED" });
      else await stage.claimAs("ses_b", 100, on).then(() => invoked);
    }
    await stage.applyAll([gate("live-run", "WorkflowTemplate", "workflow.run", OPEN)]);
  }
});

test("labels by which a policy selects, `guarded`, and a deletion are live as well", async () => {
  const selects = document("Policy", "live-risky", {
    attachTo: [{ kind: "Tool", selector: { risk: "high" } }],
    checkpoints: ["tool.call"],
    deny: { exists: "tool.name" },
  });
  const held = await begin();
  await stage.applyAll([selects]);
  for (const on of Object.values(REPLICAS)) expect(await ask(held, on, 3)).toMatchObject({ type: "granted" });
  const lively = tool("lively", "write");
  await stage.applyAll([{ ...lively, metadata: { ...lively.metadata, labels: { risk: "high" } } }]);
  for (const on of Object.values(REPLICAS)) expect(await ask(held, on, 4)).toMatchObject({ code: "forbidden" });
  await stage.applyAll([lively]);
  for (const on of Object.values(REPLICAS)) expect(await ask(held, on, 4)).toMatchObject({ type: "granted" });
  const remove = async (name: string) => {
    await stage.database.pool.query("delete from resource where name = $1", [name]);
    await stage.database.pool.query("update revision set value = value + 1");
  };
  await stage.applyAll([tool("lively", "write", { guarded: true })]);
  for (const on of Object.values(REPLICAS)) expect(await ask(held, on, 5)).toMatchObject({ type: "granted" });
  await remove("live-tool");
  for (const on of Object.values(REPLICAS)) expect(await ask(held, on, 6)).toMatchObject({ code: "policy_missing" });
  await stage.applyAll([tool("lively", "write")]);
  for (const on of Object.values(REPLICAS)) expect(await ask(held, on, 6)).toMatchObject({ type: "granted" });
});

test("update, decision and effect race 100 times: each grant was decided before the update, and none follows it", async () => {
  const { pool } = stage.database;
  await stage.applyAll([gate("live-race", "Tool", "tool.call", OPEN)]);
  const documentOf = async () =>
    (await pool.query("select document from resource where name = 'live-race'")).rows[0].document;
  const open = (await documentOf()) as string;
  const closed = open.replace('"engineering"', '"nobody"');
  const turn = async (text: string): Promise<string> => {
    const { rows } = await pool.query(
      `with turned as (update resource set document = $1 where name = 'live-race'), counted as (update revision set value = value + 1
        returning name, value) select value::text as revision from counted where name = 'policy'`,
      [text],
    );
    return rows[0].revision;
  };
  const seen = { granted: 0, denied: 0 };
  const held = await begin(other);
  const after = async <T>(statements: number, act: () => Promise<T>): Promise<T> => {
    for (let waited = 0; waited < statements; waited += 1) await pool.query("select 1");
    return act();
  };
  // Statements by which the decision begins before the update: fewer after each grant, more after each denial, so that they meet on any machine.
  let lead = 0;
  for (let round = 0; round < 100; round += 1) {
    const [answer, revision] = await Promise.all([
      after(-lead, () => ask(held, other, 100 + round)),
      after(lead, () => turn(closed)),
    ]);
    lead += answer?.type === "granted" ? -1 : 1;
    expect(await ask(held, other, 1_000 + round)).toMatchObject({ type: "denied" });
    if (answer?.type === "granted") {
      seen.granted += 1;
      const { grantId } = answer.grant;
      const record = (await stage.records(held.task.id)).find(({ detail }) => detail["grantId"] === grantId);
      const decision = record?.detail["decision"] as { policyRevision: string } | undefined;
      expect(BigInt(decision?.policyRevision ?? revision)).toBeLessThan(BigInt(revision));
      // The effect was allowed; what came of it is recorded, whatever policies say by now.
      const { task, token, sessionId } = held;
      const result = { ok: true, resultJson: "1" } as const;
      const fact = {
        taskId: task.id,
        token,
        sessionId,
        grantId,
        result,
        durationMs: 1,
        journalSequence: 0,
        worker: "w",
      };
      expect((await recordToolResults(stage.context, [fact]))[0]?.verdict).toEqual({ verdict: "committed" });
    } else seen.denied += 1;
    await turn(open);
  }
  expect(seen.granted).toBeGreaterThan(5);
  expect(seen.denied).toBeGreaterThan(5);
});

test("with unattached: deny, what no enforcing policy decides is policy_missing at each checkpoint", async () => {
  const strict = { ...stage.replica(), caches: new Caches("deny") };
  const open = (name: string, mode: string, checkpoint: string) =>
    document("Policy", name, {
      ...{ mode, attachTo: [{ kind: "Namespace", name: "default" }], checkpoints: [checkpoint] },
      allow: { exists: "requester.id" },
    });
  await stage.applyAll([
    ...flow("bare", { nodes: [{ name: "only", agent: "lively" }] }),
    open("floor", "observe", "workflow.run"),
  ]);
  const refused = { reason: "POLICY_DENIED", metadata: { reason: "policy_missing" } };
  await expect(stage.invokeOne("bare", {}, ana, strict)).rejects.toMatchObject(refused);
  await stage.applyAll([open("floor", "enforce", "workflow.run")]);
  await stage.claimAs("ses_c");
  const { run } = await stage.invokeOne("bare", {}, ana, strict);
  await stage.database.pool.query("delete from resource where name like 'live-%'");
  await stage.database.pool.query("update revision set value = value + 1");
  const { denied } = await stage.claimAs("ses_c", 100, strict);
  expect(denied).toMatchObject([{ decision: { checkpoint: "agent.run", reason: "policy_missing" } }]);
  await stage.settle(...denied);
  expect(await stage.run(run.id)).toMatchObject({ state: "POLICY_DENIED" });
  await stage.applyAll([open("floor-agent", "enforce", "agent.run")]);
  await stage.invokeOne("bare", {}, ana, strict);
  const early = (await stage.claimAs("ses_c", 100, strict)).denied;
  expect(early).toMatchObject([{ decision: { checkpoint: "tool.call", reason: "policy_missing" } }]);
  await stage.settle(...early);
  await stage.applyAll([open("floor-tool", "enforce", "tool.call")]);
  await stage.invokeOne("bare", {}, ana, strict);
  const [held] = (await stage.claimAs("ses_c", 100, strict)).assigned as [Assigned];
  expect(await ask(held, strict)).toMatchObject({ type: "granted" });
});

test("unattached is allow unless a flag or the environment says deny, and nothing else", () => {
  const unattached = (argv: string[], env = {}) => readServerConfig(argv, env).unattached;
  expect(unattached([])).toBe("allow");
  expect(unattached([], { ORLOJ_UNATTACHED: "deny" })).toBe("deny");
  expect(unattached(["--unattached=allow"], { ORLOJ_UNATTACHED: "deny" })).toBe("allow");
  expect(() => unattached(["--unattached", "no"])).toThrow('--unattached: "no" is not one of allow, deny');
});
