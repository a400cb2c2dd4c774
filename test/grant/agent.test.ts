// Rendering how an agent outside of the worker is reached: secrets in their places, the task named, and a key that repeats.

import { describe, expect, test } from "vitest";
import { agentSecretsOf, type RenderedAgent, renderAgent } from "../../server/grant/render_agent.ts";
import { AGENT_LIMITS } from "../../server/manifests/agent.ts";
import type { AgentSpec } from "../../server/manifests/specs.ts";

const SECRETS: Record<string, string> = { "agent/url": "https://agents.example/v1/", "agent/token": "canary-4711" };
const TASK = {
  taskId: "task_2",
  runId: "run_1",
  originTaskId: "task_1",
  attempt: 3,
  traceparent: `00-${"a".repeat(32)}-${"b".repeat(16)}-01`,
};

function spec(runtime: "http" | "command", block: object): AgentSpec {
  return {
    ...{ description: "", runtime, [runtime]: block, systemPrompt: "", tools: [], repairAttempts: 0 },
    ...{ limits: AGENT_LIMITS, errorHandling: { onExhausted: "fail" }, requirements: { labels: {} } },
  };
}

const HTTP = spec("http", {
  url: "${{ secret.agent.url }}/triage",
  headers: { Authorization: "Bearer ${{ secret.agent.token }}" },
  allowPrivateNetwork: false,
});
const COMMAND = spec("command", {
  argv: ["python3", "agent.py"],
  env: { TOKEN: "${{ secret.agent.token }}", MODE: "fast" },
  workDir: "agents",
});

function rendered(agent: AgentSpec, task = TASK, secrets = SECRETS): RenderedAgent {
  return renderAgent(agent, (name, key) => secrets[`${name}/${key}`], task);
}

function means(agent: AgentSpec, task = TASK) {
  const result = rendered(agent, task);
  if (!result.ok) throw new Error(result.message);
  return result;
}

describe("an http agent", () => {
  test("gets a POST with its secrets, JSON headers, and the headers that name its task", () => {
    expect(means(HTTP)).toEqual({
      ok: true,
      means: {
        ...{ kind: "http", method: "POST", url: "https://agents.example/v1/triage", allowPrivateNetwork: false },
        headers: {
          Authorization: "Bearer canary-4711",
          ...{ Accept: "application/json", "Content-Type": "application/json" },
          ...{ "Idempotency-Key": "task_1", "Orloj-Task-Id": "task_2", "Orloj-Run-Id": "run_1", "Orloj-Attempt": "3" },
          traceparent: TASK.traceparent,
        },
      },
      secrets: ["https://agents.example/v1/", "canary-4711"],
    });
    expect(agentSecretsOf(HTTP)).toEqual([
      { name: "agent", key: "url" },
      { name: "agent", key: "token" },
    ]);
  });

  test("keeps the types that its manifest names, and is in no trace when its run is in none", () => {
    const headers = { accept: "application/vnd.agent+json", "CONTENT-TYPE": "application/vnd.agent+json" };
    const agent = spec("http", { url: "https://agents.example/", headers, allowPrivateNetwork: true });
    const { means: value } = means(agent, { ...TASK, traceparent: "" });
    expect(value).toMatchObject({ headers, allowPrivateNetwork: true });
    expect(Object.keys(value.kind === "http" ? value.headers : {}).map((name) => name.toLowerCase())).toEqual([
      ...["accept", "content-type", "idempotency-key", "orloj-task-id", "orloj-run-id", "orloj-attempt"],
    ]);
  });
});

test("a program gets its environment, the variables that name its task, and nothing of this process", () => {
  expect(means(COMMAND)).toEqual({
    ok: true,
    means: {
      ...{ kind: "command", argv: ["python3", "agent.py"], workDir: "agents" },
      env: {
        ...{ TOKEN: "canary-4711", MODE: "fast" },
        ...{ ORLOJ_IDEMPOTENCY_KEY: "task_1", ORLOJ_TASK_ID: "task_2", ORLOJ_RUN_ID: "run_1", ORLOJ_ATTEMPT: "3" },
        TRACEPARENT: expect.stringMatching(/^00-a{32}-[0-9a-f]{16}-01$/),
      },
    },
    secrets: ["canary-4711"],
  });
});

test.each<[string, AgentSpec, Record<string, string>, string, string]>([
  [
    "a secret that is nowhere",
    HTTP,
    { "agent/url": "https://a.example" },
    "SecretMissing",
    "secret agent/token is not",
  ],
  ["a base URL that is none", HTTP, { ...SECRETS, "agent/url": "canary" }, "AgentInvalid", "http.url: does not give"],
  ["a base URL with a password", HTTP, { ...SECRETS, "agent/url": "https://canary:b@c" }, "AgentInvalid", "http.url"],
  ["a header with a line break", HTTP, { ...SECRETS, "agent/token": "canary\nX: y" }, "AgentInvalid", "Authorization"],
  ["a variable with U+0000", COMMAND, { "agent/token": "canary\0" }, "AgentInvalid", "command.env.TOKEN"],
])("%s is refused without its value", (_name, agent, secrets, failureClass, says) => {
  const result = rendered(agent, TASK, secrets);
  expect(result).toMatchObject({ ok: false, class: failureClass, message: expect.stringContaining(says) });
  expect(JSON.stringify(result)).not.toContain("canary");
});
