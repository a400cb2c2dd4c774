// Tool calls: structure before policy, policy before the ledger, the ledger's table row by row, grants and what they hold.

import { beforeEach, expect, test } from "vitest";
import { authorizeToolCalls } from "../../server/commands/authorize_tool_call.ts";
import type { Assigned } from "../../server/commands/lease_tasks.ts";
import { recordToolResults } from "../../server/commands/record_tool_results.ts";
import type { Authorized, ToolCallFact, ToolResultFact } from "../../server/commands/tool_facts.ts";
import { policy } from "./command_manifests.ts";
import { ana, commandStage, lostOf, outcomeOf, stopOf } from "./command_stage.ts";

const stage = await commandStage();
let held: Assigned;

beforeEach(async () => {
  await stage.start("calls");
  held = await claimOne("ses_a");
});

async function claimOne(session: string): Promise<Assigned> {
  const one = (await stage.claimAs(session)).assigned.at(-1);
  if (one === undefined) throw new Error("nothing was claimed");
  return one;
}

function callOf(tool: string, more: Partial<ToolCallFact> = {}, by = held): ToolCallFact {
  return {
    ...{ taskId: by.task.id, token: by.token, sessionId: by.sessionId, turnSequence: 1, callIndex: 0 },
    ...{ tool, argumentsJson: '{"n":1}', attempt: 1, worker: "w", ...more },
  };
}

/** Asks for what the journal asks for. */
async function ask(tool: string, more: Partial<ToolCallFact> = {}, by = held): Promise<Authorized> {
  await stage.journalCall(callOf(tool, more, by));
  return await askUnjournaled(tool, more, by);
}

async function askUnjournaled(tool: string, more: Partial<ToolCallFact> = {}, by = held): Promise<Authorized> {
  const [answer] = await authorizeToolCalls(stage.context, [callOf(tool, more, by)]);
  if (answer === undefined) throw new Error("no answer");
  return answer;
}

async function granted(tool: string, by = held, more: Partial<ToolCallFact> = {}) {
  const { answer } = await ask(tool, more, by);
  if (answer.type !== "granted") throw new Error(`${tool} got ${answer.type}`);
  return answer.grant;
}

async function tell(grantId: string, result: ToolResultFact["result"], by = held, journalSequence = 2) {
  const { token, sessionId, task } = by;
  const fact = { taskId: task.id, token, sessionId, grantId, result, durationMs: 1, journalSequence, worker: "w" };
  return (await recordToolResults(stage.context, [fact]))[0];
}

async function ledger(taskId = held.task.id) {
  return await stage.database.db.selectFrom("tool_call").selectAll().where("task_id", "=", taskId).execute();
}

const FAILED = { ok: false, class: "Http5xx", message: "503", ambiguous: false } as const;

test("a tool that the agent does not declare is denied by structure, whatever the arguments, and ends the run", async () => {
  const { answer, settle } = await ask("nowhere", { argumentsJson: "[]" });
  expect(answer).toEqual({ type: "denied", code: "undeclared" });
  expect(await ledger()).toEqual([]);
  if (settle !== undefined) await stage.settle(settle);
  expect(await stage.run(held.task.run_id)).toMatchObject({ state: "POLICY_DENIED" });
});

test.each(["[1]", '{"n":"x"}', "{}"])(
  "arguments %s are refused before policy, and the task goes on",
  async (argumentsJson) => {
    expect((await ask("guarded", { argumentsJson })).answer.type).toBe("invalid_arguments");
    expect(await ledger()).toEqual([]);
    expect((await stage.records(held.task.id)).at(-1)).toMatchObject({
      kind: "tool.refused",
      detail: { reason: "invalid_args" },
    });
    const journal = await stage.store.read((tx) => tx.ledger.journal([held.task.id]));
    expect(journal.filter(({ kind }) => kind !== "turn")).toMatchObject([
      { kind: "failure", failure_class: "InvalidArguments", turn_sequence: 1, call_index: 0 },
    ]);
    await ask("guarded", { argumentsJson });
    expect(await stage.store.read((tx) => tx.ledger.journal([held.task.id], 1))).toHaveLength(1);
  },
);

test("two refused calls of one turn in one batch both reach the journal", async () => {
  const facts = [0, 1].map((callIndex) => callOf("look", { callIndex, argumentsJson: "{}" }));
  for (const fact of facts) await stage.journalCall(fact);
  await authorizeToolCalls(stage.context, facts);
  const journal = await stage.store.read((tx) => tx.ledger.journal([held.task.id], 1));
  expect(journal.map((row) => [row.sequence, row.call_index])).toEqual([
    [2, 0],
    [3, 1],
  ]);
});

test("a grant carries the means with their secrets; neither the ledger nor the trail holds any of it", async () => {
  const grant = await granted("write");
  expect(grant.means).toMatchObject({ kind: "http", url: "http://127.0.0.1:9/write" });
  expect(JSON.stringify(grant.means)).toContain("canary-7c1f");
  const [row] = await ledger();
  expect(row).toMatchObject({ state: "granted", attempt: 1, grant_id: grant.grantId, grant_token: held.token });
  const { rows } = await stage.database.pool.query("select record from audit_event");
  const stored = `${await stage.everything()} ${JSON.stringify(rows)}`;
  expect(stored).not.toContain("canary-7c1f");
  expect(stored).not.toContain("127.0.0.1:9");
  expect(JSON.stringify(rows)).not.toContain(held.token);
});

test("a missing secret fails the task by name, and nothing is granted", async () => {
  const { answer, settle } = await ask("missing");
  expect(answer.type).toBe("failed");
  expect(settle).toMatchObject({ type: "fail", failure: { class: "SecretMissing" } });
  expect(await ledger()).toEqual([]);
});

test("the policy is read anew for each call: applied between two, it flips the second", async () => {
  await granted("guarded");
  await stage.applyAll([policy("guarded-engineering", "Tool", "guarded", ["nobody"], "tool.call")]);
  expect(await ask("guarded", { callIndex: 1 })).toMatchObject({
    answer: { type: "denied" },
    settle: { type: "denied" },
  });
  await stage.applyAll([policy("guarded-engineering", "Tool", "guarded", ["engineering"], "tool.call")]);
  await granted("guarded", held, { callIndex: 2 });
});

test("a denied requester gets no grant and no ledger row, and the record names the policy", async () => {
  // Not denied before the task leaves: with other arguments it would be allowed.
  const guarded = policy("guarded-engineering", "Tool", "guarded", ["engineering"], "tool.call");
  const { allow } = guarded.spec as { allow: object };
  await stage.applyAll([{ ...guarded, spec: { ...guarded.spec, allow: { any: [allow, { cel: "args.n > 5" }] } } }]);
  const { run } = await stage.invokeOne("calls", {}, { ...ana, id: "eve", groups: ["sales"] });
  const own = await claimOne("ses_e");
  const { answer, settle } = await ask("guarded", {}, own);
  expect(answer.type).toBe("denied");
  expect(await ledger(own.task.id)).toEqual([]);
  if (settle !== undefined) await stage.settle(settle);
  const denied = (await stage.records(run.id)).at(-1);
  expect(denied).toMatchObject({
    kind: "task.denied",
    detail: { decision: { decidedBy: "default/guarded-engineering" } },
  });
  await stage.applyAll([guarded]);
});

test("done: the stored result is given again after a fresh decision, to this and to the next holder", async () => {
  const { grantId } = await granted("guarded");
  await tell(grantId, { ok: true, resultJson: '{"id":1}' });
  expect((await ask("guarded")).answer).toEqual({ type: "cached", resultJson: '{"id":1}' });
  await stage.settle(lostOf(held, "expired"));
  const next = await claimOne("ses_b");
  expect((await ask("guarded", {}, next)).answer.type).toBe("cached");
  await stage.applyAll([policy("guarded-engineering", "Tool", "guarded", ["nobody"], "tool.call")]);
  expect((await ask("guarded", {}, next)).answer.type).toBe("denied");
  await stage.applyAll([policy("guarded-engineering", "Tool", "guarded", ["engineering"], "tool.call")]);
});

test("failed: the next attempt is granted until the tool's retry is used up", async () => {
  await tell((await granted("look")).grantId, FAILED, held, 0);
  const second = await granted("look");
  expect(await ledger()).toMatchObject([{ state: "granted", attempt: 2, grant_id: second.grantId }]);
  await tell(second.grantId, FAILED);
  expect(await ask("look")).toMatchObject({
    answer: { type: "failed" },
    settle: { failure: { class: "ToolAttemptsExhausted" } },
  });
});

test("granted to this holder: asked again gets the same grant, so that the answer to either question takes its result", async () => {
  const first = await granted("write");
  const second = await granted("write");
  expect(second.grantId).toBe(first.grantId);
  expect(await ledger()).toMatchObject([{ attempt: 1, grant_id: first.grantId }]);
  expect(await tell(first.grantId, { ok: true, resultJson: "1" })).toMatchObject({ verdict: { verdict: "committed" } });
  expect(await tell(second.grantId, { ok: true, resultJson: "1" })).toMatchObject({
    verdict: { verdict: "duplicate" },
  });
});

test("a call and its copy in one batch are one grant", async () => {
  const { task, token, sessionId } = held;
  const call = { turnSequence: 1, callIndex: 0, tool: "write", argumentsJson: '{"n":1}', attempt: 1, worker: "w" };
  const fact = { taskId: task.id, token, sessionId, ...call };
  await stage.journalCall(fact);
  const [first, second] = await authorizeToolCalls(stage.context, [fact, fact]);
  expect(first?.answer).toMatchObject({ type: "granted" });
  expect(second?.answer).toEqual(first?.answer);
  expect(await ledger()).toHaveLength(1);
});

test.each([
  ["look", "granted"],
  ["rewrite", "granted"],
  ["write", "unknown_outcome"],
])("granted to a holder that is gone: %s gives %s", async (tool, expected) => {
  await granted(tool);
  await stage.settle(lostOf(held, "expired"));
  const next = await claimOne("ses_b");
  const { answer, settle } = await ask(tool, {}, next);
  expect(answer.type).toBe(expected);
  if (settle === undefined) return;
  expect(await ledger()).toMatchObject([{ state: "unknown" }]);
  await stage.settle(settle);
  expect(await stage.task(next.task.id)).toMatchObject({ state: "DEAD_LETTERED", failure_class: "UnknownOutcome" });
});

test("the same request with other arguments is a conflict that fails the task, done or granted", async () => {
  const { grantId } = await granted("write");
  expect((await ask("write", { argumentsJson: '{"n":2}' })).answer.type).toBe("conflict");
  await tell(grantId, { ok: true, resultJson: "1" });
  const { answer, settle } = await ask("write", { argumentsJson: '{"n":2}' });
  expect([answer.type, settle?.type]).toEqual(["conflict", "fail"]);
  // Written otherwise, but the same arguments.
  expect((await ask("write", { argumentsJson: ' { "n" : 1 } ' })).answer.type).toBe("cached");
});

test("a stale token and another session get nothing, recorded as refused", async () => {
  await stage.settle(lostOf(held, "revoked"));
  const next = await claimOne("ses_b");
  await stage.journalCall(callOf("write", {}, next));
  const before = await stage.everything();
  expect((await ask("write")).answer).toEqual({ type: "lease_lost" });
  expect((await ask("write", { sessionId: "ses_thief" }, next)).answer).toEqual({ type: "lease_lost" });
  expect(await stage.everything()).toBe(before);
  const refused = (await stage.records(held.task.id)).filter((record) => record.kind === "fact.refused");
  expect(refused).toHaveLength(2);
});

test("no grant leaves once the run is stopping", async () => {
  await stage.settle(stopOf(held.task.run_id));
  expect((await ask("write")).answer.type).toBe("retry_after");
  expect(await ledger()).toEqual([]);
  await stage.settle(outcomeOf(held, { type: "cancelled" }));
});

test.each(["cancel", "grant"] as const)("a cancel and a grant that meet at the lease: %s first", async (first) => {
  const release = await stage.hold("select 1 from lease where task_id = $1 for update", [held.task.id]);
  const stop = () => stage.settle(stopOf(held.task.run_id));
  const call = () => ask("write");
  let answer: Promise<Authorized>;
  let stopped: Promise<unknown>;
  if (first === "cancel") {
    stopped = stop();
    await stage.waiting(1);
    answer = call();
  } else {
    answer = call();
    await stage.waiting(1);
    stopped = stop();
  }
  await stage.waiting(2);
  await release();
  await stopped;
  expect((await answer).answer.type).toBe(first === "cancel" ? "retry_after" : "granted");
  expect(await stage.run(held.task.run_id)).toMatchObject({ state: "CANCELLING" });
  const kinds = (await stage.records(held.task.run_id)).map((record) => record.kind);
  expect(kinds.filter((kind) => kind === "tool.granted" || kind === "run.stopping")).toEqual(
    first === "cancel" ? ["run.stopping"] : ["tool.granted", "run.stopping"],
  );
});
