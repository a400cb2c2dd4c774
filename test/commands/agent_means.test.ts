// How an agent outside of the worker is reached: rendered when its task is claimed and allowed, never before, never kept, and with
// one key for the whole lineage of the task.

import { expect, test } from "vitest";
import type { CommandContext } from "../../server/commands/context.ts";
import type { Assigned } from "../../server/commands/lease_tasks.ts";
import { replayDeadLetter } from "../../server/commands/replay_dead_letters.ts";
import { createServices } from "../../server/commands/services.ts";
import { validateManifests } from "../../server/commands/validate.ts";
import type { ReplayHow } from "../../server/commands/views.ts";
import { assignmentFrame } from "../../server/dispatch/assignment.ts";
import { document, flow, policy } from "./command_manifests.ts";
import { ana, BROKEN, commandStage, outcomeOf } from "./command_stage.ts";
import { stageSecrets } from "./stage_secrets.ts";

const stage = await commandStage();
const services = createServices(stage.context);
const errorHandling = {
  retry: { on: ["AgentUnavailable"], maxAttempts: 2, backoff: { initial: "1m", jitter: "none" } },
  onExhausted: "deadLetter",
};
const remote = (name: string) =>
  document("Agent", name, {
    runtime: "http",
    http: { url: "${{ secret.agent.url }}/run", headers: { Authorization: "Bearer ${{ secret.agent.token }}" } },
    errorHandling,
  });
await stage.applyAll([
  remote("remote"),
  remote("barred"),
  document("Agent", "script", {
    runtime: "command",
    command: { argv: ["python3", "agent.py"], env: { TOKEN: "${{ secret.agent.token }}" }, workDir: "agents" },
    errorHandling,
  }),
  document("Agent", "gateway", {
    model: {
      ...{ provider: "openai-compatible", name: "m", baseUrl: "http://127.0.0.1:9/v1" },
      headers: { "X-Team": "support", "X-Gateway": "Key ${{ secret.agent.token }}" },
    },
    errorHandling,
  }),
  policy("nobody-runs-barred", "Agent", "barred", ["nobody"], "agent.run"),
  ...["remote", "barred", "script", "gateway"].flatMap((name) =>
    flow(`asks-${name}`, { nodes: [{ name: "only", agent: name }] }),
  ),
]);
stage.secrets.set("agent/url", "https://agents.example");
stage.secrets.set("agent/token", "canary-agent-token");

async function claimOf(runId: string, context?: CommandContext): Promise<Assigned> {
  const { assigned } = await stage.claimAs("ses_a", 100, context);
  const found = assigned.find((one) => one.task.run_id === runId);
  if (found === undefined) throw new Error(`nothing of ${runId} was claimed`);
  return found;
}

/** What the worker is told, as plain values. */
function frame(one: Assigned) {
  const { agentMeans, agentSecrets, inputJson } = assignmentFrame(one, 1n);
  const { case: kind, value } = agentMeans;
  return { kind, agentSecrets, inputJson, ...(value && JSON.parse(JSON.stringify({ ...value, body: 0, stdin: 0 }))) };
}

test("an assignment carries the means with their secrets; bundle, worker view and journal of the run hold neither address nor secret", async () => {
  const runId = await stage.start("asks-remote", { parametersJson: '{"question":"why"}' });
  const one = await claimOf(runId);
  expect(frame(one)).toMatchObject({
    ...{ kind: "agentHttp", method: "POST", url: "https://agents.example/run", hasBody: false },
    ...{ inputJson: '{"question":"why"}', agentSecrets: ["https://agents.example", "canary-agent-token"] },
    headers: {
      Authorization: "Bearer canary-agent-token",
      ...{ "Idempotency-Key": one.task.id, "Orloj-Task-Id": one.task.id, "Orloj-Run-Id": runId, "Orloj-Attempt": "1" },
      traceparent: expect.stringContaining((await stage.run(runId)).trace_id),
    },
  });
  const { row } = one.bundle;
  expect(row.document).not.toContain("canary");
  expect(row.view_document).not.toMatch(/agents\.example|secret|Authorization|canary/);
  expect(stage.context.redactor.text("canary-agent-token")).toBe("[redacted]");
  const rows = await stage.everything();
  expect(rows).not.toContain("canary-agent-token");

  const script = await claimOf(await stage.start("asks-script"));
  expect(frame(script)).toMatchObject({
    ...{ kind: "agentCommand", argv: ["python3", "agent.py"], workDir: "agents", agentSecrets: ["canary-agent-token"] },
    env: { TOKEN: "canary-agent-token", ORLOJ_IDEMPOTENCY_KEY: script.task.id, ORLOJ_ATTEMPT: "1" },
  });
});

test("headers of a model leave with the assignment; worker view and rows hold none of their secrets", async () => {
  const one = await claimOf(await stage.start("asks-gateway"));
  expect(frame(one)).toMatchObject({
    ...{ kind: "agentModel", agentSecrets: ["canary-agent-token"] },
    headers: { "X-Team": "support", "X-Gateway": "Key canary-agent-token" },
  });
  expect(one.bundle.row.view_document).not.toMatch(/X-Team|X-Gateway|canary/);
  expect(await stage.everything()).not.toContain("canary-agent-token");
});

test("attempts and plain replays of a task have one key and tell which attempt they are; a replay that begins anew has another", async () => {
  const runId = await stage.start("asks-remote");
  const seen = async () => {
    const one = await claimOf(runId);
    const { headers } = frame(one) as { headers: Record<string, string> };
    return { one, key: headers["Idempotency-Key"], attempt: headers["Orloj-Attempt"], task: headers["Orloj-Task-Id"] };
  };
  const replay = async (taskId: string, how: Partial<ReplayHow> = {}) => {
    const plain = { currentManifests: false, repeatEffects: false, results: new Map() };
    return await replayDeadLetter(stage.context, services, ana, taskId, { ...plain, ...how });
  };
  const first = await seen();
  const failure = { class: "AgentUnavailable", message: "the endpoint answered 500" };
  await stage.settle(outcomeOf(first.one, { type: "failed", failure }));
  await stage.makeDue(first.one.task.id);
  await stage.settle({ type: "wake", taskId: first.one.task.id });
  const second = await seen();
  expect(second).toMatchObject({ key: first.task, attempt: "2", task: first.task });
  await stage.settle(outcomeOf(second.one, { type: "failed", failure }));
  await replay(first.one.task.id);
  const third = await seen();
  expect(third).toMatchObject({ key: first.task, attempt: "1" });
  expect(third.task).not.toBe(first.task);
  await stage.settle(outcomeOf(third.one, BROKEN));
  await replay(third.one.task.id, { input: { question: "other" } });
  const fourth = await seen();
  expect(fourth).toMatchObject({ key: fourth.task, attempt: "1" });
  expect(new Set([first.task, third.task, fourth.task]).size).toBe(3);
});

test("an agent that policy denies is reached by nobody: nothing is assigned and no secret is read", async () => {
  const read = new Map(stage.secrets);
  const given = stageSecrets(read);
  const runId = await stage.start("asks-barred");
  const { assigned, denied } = await stage.claimAs("ses_b", 100, { ...stage.context, ...given });
  expect(assigned).toEqual([]);
  expect(denied).toMatchObject([{ type: "denied" }]);
  expect(given.redactor.text("canary-agent-token")).toBe("canary-agent-token");
  await stage.settle(...denied);
  expect(await stage.run(runId)).toMatchObject({ state: "POLICY_DENIED" });
});

test.each<[string, () => CommandContext, string]>([
  [
    "SecretForbidden",
    () => ({ ...stage.context, ...stageSecrets(stage.secrets, { default: ["agent/url"] }) }),
    "agent remote: secret agent/token may not be used in namespace default; an operator has to allow it",
  ],
  [
    "SecretMissing",
    () => ({ ...stage.context, ...stageSecrets(new Map()) }),
    "agent remote: secret agent/url, agent/token is not provided; mount it or set its variable",
  ],
  [
    "AgentInvalid",
    () => ({
      ...stage.context,
      ...stageSecrets(new Map([...stage.secrets, ["agent/url", "agents.example"]])),
    }),
    "agent remote: http.url: does not give an http or https URL without user and password",
  ],
])("a task whose agent cannot be reached fails with %s and is never sent", async (failureClass, context, message) => {
  const runId = await stage.start("asks-remote");
  const claim = await stage.claimAs("ses_c", 100, context());
  expect(claim.assigned).toEqual([]);
  expect(claim.denied).toMatchObject([{ type: "fail", failure: { class: failureClass, message } }]);
  expect(await stage.settle(...claim.denied)).toEqual([{ verdict: "committed" }]);
  expect(await stage.run(runId)).toMatchObject({ state: "FAILED", failure_class: failureClass });
});

test("manifests of agents that name a secret which their namespace may not name are refused", async () => {
  const context = { store: stage.store, pool: stage.pool, ...stageSecrets(new Map(), { default: ["agent/url"] }) };
  const content = JSON.stringify(remote("greedy"));
  const input = { files: [{ name: "a.yaml", content }], defaultNamespace: "", strict: false };
  expect((await validateManifests(context, input)).diagnostics).toMatchObject([
    {
      code: "E-SECRET-FORBIDDEN",
      message: "secret agent/token may not be used in namespace default; an operator has to allow it",
    },
  ]);
});
