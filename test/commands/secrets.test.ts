// A namespace's secrets: checked when manifests are applied and again when a value would leave; model keys; rotation between grants.

import { expect, test } from "vitest";
import { authorizeToolCalls } from "../../server/commands/authorize_tool_call.ts";
import type { CommandContext } from "../../server/commands/context.ts";
import type { Assigned } from "../../server/commands/lease_tasks.ts";
import { recordToolResults } from "../../server/commands/record_tool_results.ts";
import { recordTurns } from "../../server/commands/record_turns.ts";
import { validateManifests } from "../../server/commands/validate.ts";
import { assignmentFrame } from "../../server/dispatch/assignment.ts";
import { agent, flow } from "./command_manifests.ts";
import { commandStage } from "./command_stage.ts";
import { stageSecrets } from "./stage_secrets.ts";

const stage = await commandStage();
const model = (key: string) => ({
  ...{ provider: "openai-compatible", name: "m", baseUrl: "http://127.0.0.1:9/v1", secretRef: { name: "llm", key } },
});
await stage.applyAll([
  agent("asker", { model: model("key") }),
  ...flow("asks", { nodes: [{ name: "only", agent: "asker" }] }),
]);

async function call(one: Assigned, tool: string, context: CommandContext = stage.context, callIndex = 0) {
  const fact = { taskId: one.task.id, token: one.token, sessionId: one.sessionId, turnSequence: 1, callIndex };
  const asked = { ...fact, tool, argumentsJson: '{"n":1}', attempt: 1, worker: "w" };
  await stage.journalCall(asked);
  const [answer] = await authorizeToolCalls(context, [asked]);
  if (answer === undefined) throw new Error("no answer");
  return answer;
}

async function claimed(workflow: string, context?: CommandContext): Promise<Assigned> {
  await stage.start(workflow);
  const one = (await stage.claimAs("ses_a", 100, context)).assigned.at(-1);
  if (one === undefined) throw new Error("nothing was claimed");
  return one;
}

test("manifests that name a secret which their namespace may not name are refused with the place, and not those that may", async () => {
  const list = { default: ["sink/url"], ops: ["*"] };
  const context = { store: stage.store, pool: stage.pool, ...stageSecrets(new Map(), list) };
  const tool = (name: string, namespace: string, header: string) =>
    JSON.stringify({
      ...{ apiVersion: "orloj.dev/v1", kind: "Tool", metadata: { name, namespace } },
      spec: {
        ...{ type: "http", description: name, inputSchema: { type: "object" }, effect: "read" },
        http: { method: "GET", url: "${{ secret.sink.url }}/x", headers: { "X-Key": header } },
      },
    });
  const content = [
    tool("fine", "default", "none"),
    tool("greedy", "default", "${{ secret.pay.token }}"),
    tool("guarded-read", "default", "${{ has(secret.pay.token) ? secret.pay.token : 'none' }}"),
    tool("allowed", "ops", "${{ secret.pay.token }}"),
    JSON.stringify(agent("modeller", { model: model("key") })),
  ].join("\n---\n");
  const input = { files: [{ name: "tools.yaml", content }], defaultNamespace: "", strict: false };
  const { valid, diagnostics } = await validateManifests(context, input);
  expect(valid).toBe(false);
  const forbidden = diagnostics.filter(({ code }) => code === "E-SECRET-FORBIDDEN");
  expect(forbidden.map(({ file, line, message }) => [file, line, message])).toEqual([
    ["tools.yaml", 3, "secret pay/token may not be used in namespace default; an operator has to allow it"],
    ["tools.yaml", 5, "secret pay/token may not be used in namespace default; an operator has to allow it"],
    ["tools.yaml", 9, "secret llm/key may not be used in namespace default; an operator has to allow it"],
  ]);
});

test("a call whose tool names a forbidden secret fails the task, says the same of one that does not exist, and grants nothing", async () => {
  const listed = { ...stage.context, ...stageSecrets(stage.secrets, { default: ["sink/url"] }) };
  const one = await claimed("calls");
  const failures = [];
  for (const tool of ["look", "missing"]) {
    const { answer, settle } = await call(one, tool, listed);
    expect(answer).toEqual({ type: "failed" });
    failures.push(settle?.type === "fail" && settle.failure);
  }
  const message = (tool: string, secret: string) =>
    `tool ${tool}: secret sink/${secret} may not be used in namespace default; an operator has to allow it`;
  expect(failures).toEqual([
    { class: "SecretForbidden", message: message("look", "token") },
    { class: "SecretForbidden", message: message("missing", "absent") },
  ]);
  const { rows } = await stage.database.pool.query("select 1 from tool_call where task_id = $1", [one.task.id]);
  expect(rows).toEqual([]);
});

test("a model's key leaves with the assignment, wrapped until then", async () => {
  stage.secrets.set("llm/key", "canary-model-key");
  const one = await claimed("asks");
  expect(JSON.stringify(one)).not.toContain("canary-model-key");
  expect(assignmentFrame(one, 1n).modelSecret).toBe("canary-model-key");
  expect(stage.context.redactor.text("canary-model-key")).toBe("[redacted]");
});

test.each<[string, () => CommandContext, string]>([
  [
    "SecretForbidden",
    () => ({ ...stage.context, ...stageSecrets(stage.secrets, { default: ["sink/*"] }) }),
    "model of agent asker: secret llm/key may not be used in namespace default; an operator has to allow it",
  ],
  [
    "SecretMissing",
    () => ({ ...stage.context, ...stageSecrets(new Map()) }),
    "model of agent asker: secret llm/key is not provided; mount it or set its variable",
  ],
])("a task whose model has no key fails with %s and is never sent", async (failureClass, context, message) => {
  const runId = await stage.start("asks");
  const claim = await stage.claimAs("ses_b", 100, context());
  expect(claim.assigned).toEqual([]);
  expect(claim.denied).toMatchObject([{ type: "fail", failure: { class: failureClass, message } }]);
  expect(await stage.settle(...claim.denied)).toEqual([{ verdict: "committed" }]);
  expect(await stage.run(runId)).toMatchObject({
    state: "FAILED",
    failure_class: failureClass,
    failure_message: `node only: ${message}`,
  });
  expect((await stage.records(runId)).map(({ kind }) => kind)).toEqual(["run.created", "task.failed"]);
});

test("a secret that is rotated between two grants: each carries the value of its moment, and both are known afterwards", async () => {
  const one = await claimed("calls");
  const seen = [];
  for (const [index, value] of ["canary-before-rotation", "canary-after-rotation"].entries()) {
    stage.secrets.set("sink/token", value);
    const { answer } = await call(one, "look", stage.context, index);
    if (answer.type !== "granted") throw new Error(`got ${answer.type}`);
    expect(JSON.stringify(answer.grant.means)).toContain(`Bearer ${value}`);
    seen.push(answer.grant.secrets);
  }
  expect(seen).toEqual([
    ["http://127.0.0.1:9", "canary-before-rotation"],
    ["http://127.0.0.1:9", "canary-after-rotation"],
  ]);
  const { redactor } = stage.context;
  expect(redactor.text("canary-before-rotation, canary-after-rotation")).toBe("[redacted], [redacted]");
});

test("a turn, a call and a result from before a secret in them was known are the same when they are told again without it", async () => {
  const one = await claimed("calls");
  const fact = { taskId: one.task.id, token: one.token, sessionId: one.sessionId, worker: "w" };
  const value = "canary-known-later";
  const { redactor } = stage.context;
  const argumentsJson = `{"n":1,"note":"${value}"}`;
  const turnJson = `{"text":"${value}","toolCalls":[{"arguments":${argumentsJson},"name":"rewrite"}]}`;
  const turn = { ...fact, sequence: 1, turnJson };
  const asked = { ...fact, turnSequence: 1, callIndex: 0, tool: "rewrite", argumentsJson, attempt: 1 };
  expect(await recordTurns(stage.context, [turn])).toEqual([{ verdict: "committed" }]);
  const [before] = await authorizeToolCalls(stage.context, [asked]);
  redactor.learn(value);
  const clean = (text: string) => redactor.jsonText(text);
  expect(await recordTurns(stage.context, [{ ...turn, turnJson: clean(turnJson) }])).toEqual([
    { verdict: "duplicate" },
  ]);
  const [after] = await authorizeToolCalls(stage.context, [{ ...asked, argumentsJson: clean(argumentsJson) }]);
  if (before?.answer.type !== "granted" || after?.answer.type !== "granted") throw new Error(after?.answer.type);
  expect(after.answer.grant.grantId).toBe(before.answer.grant.grantId);
  const other = { ...asked, argumentsJson: '{"n":2,"note":"[redacted]"}' };
  expect(await authorizeToolCalls(stage.context, [other])).toMatchObject([{ answer: { type: "not_asked" } }]);

  const result = { ...fact, grantId: after.answer.grant.grantId, durationMs: 1, journalSequence: 2 };
  const tell = (resultJson: string) =>
    recordToolResults(stage.context, [{ ...result, result: { ok: true as const, resultJson } }]);
  const later = "canary-known-even-later";
  expect(await tell(`"${later}"`)).toMatchObject([{ verdict: { verdict: "committed" } }]);
  redactor.learn(later);
  expect(await tell('"[redacted]"')).toMatchObject([{ verdict: { verdict: "duplicate" } }]);
});
