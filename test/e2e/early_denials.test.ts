// Agents that do not run because of their tools, tools that are withheld, and limits. Effects are counted outside.

import { beforeAll, expect, test } from "vitest";
import { agent, httpTool, policy, single } from "./documents.ts";
import { type Stage, startStage } from "./stage.ts";

let stage: Stage;
const RETRY = { errorHandling: { retry: { on: ["ToolFailed", "Timeout"], maxAttempts: 3 } } };
const ANYBODY = { exists: "requester.id" };

beforeAll(async () => {
  stage = await startStage({ args: ["--dev-groups", "developers"] });
  await stage.worker("w1");
});

/** An agent that calls a writing tool once, and a workflow of its name. */
function caller(name: string, tool: string, more: object = {}, spec: object = {}) {
  const script = [{ when: "turn == 1", toolCalls: [{ name: tool, arguments: { n: 1 } }] }, { output: { ok: true } }];
  return [agent(name, script, { tools: [tool], ...RETRY, ...more }), ...single(name, { ...spec })];
}

const onTool = (name: string, spec: Readonly<Record<string, unknown>>) =>
  policy(`${name}-policy`, { attachTo: [{ kind: "Tool", name }], checkpoints: ["tool.call"], ...spec });

test("a denied tool keeps its agent from running: no turn is recorded and nothing called", async () => {
  await stage.apply(
    httpTool("never", "/never", { effect: "write" }),
    ...caller("never", "never"),
    onTool("never", { allow: { match: { "requester.groups": ["nobody"] } } }),
  );
  const run = await stage.client.workflow("never").invoke();
  await expect(run.result()).rejects.toMatchObject({ state: "POLICY_DENIED" });
  const kinds = (await stage.trail(run)).map(({ kind }) => kind);
  expect(kinds).toEqual(["run.created", "task.denied"]);
  expect(stage.sink.count("/never")).toBe(0);
});

test("a withheld tool: the agent runs without it, and one that calls it all the same is denied", async () => {
  const withheld = { tools: [{ ref: "shy", onDenied: "withhold" }] };
  await stage.apply(
    httpTool("shy", "/shy", { effect: "write" }),
    agent("modest", [{ output: { ok: true } }], withheld),
    ...single("modest"),
    ...caller("bold", "shy", withheld),
    onTool("shy", { allow: { match: { "requester.groups": ["nobody"] } } }),
  );
  const modest = await stage.client.workflow("modest").invoke();
  expect(await modest.result()).toEqual({ ok: true });
  const [leased] = await stage.trail(modest, "task.leased");
  expect(leased?.detail.withheldTools).toMatchObject([{ name: "shy", decision: { decidedBy: "default/shy-policy" } }]);
  const bold = await stage.client.workflow("bold").invoke();
  await expect(bold.result()).rejects.toMatchObject({ state: "POLICY_DENIED" });
  const [denied] = await stage.trail(bold, "task.denied");
  expect(denied?.detail.decision).toMatchObject({ reason: "undeclared", tool: "shy" });
  expect(stage.sink.count("/shy")).toBe(0);
});

test("a limit: so many calls and no more, over runs; the message reaches the requester and not the model", async () => {
  await stage.apply(
    httpTool("scarce", "/scarce", { effect: "write" }),
    ...caller("scarce", "scarce"),
    onTool("scarce", {
      allow: ANYBODY,
      limits: [{ name: "ever", key: ["requester.id"], max: 2, window: "31d" }],
      message: "Twice a month.",
    }),
  );
  const run = () => stage.client.workflow("scarce").invoke();
  for (const handle of [await run(), await run()]) expect(await handle.result()).toEqual({ ok: true });
  const third = await run();
  await expect(third.result()).rejects.toMatchObject({ state: "POLICY_DENIED" });
  expect((await third.get()).failure?.message).toContain("Twice a month.");
  const [denied] = await stage.trail(third, "task.denied");
  expect(denied?.detail.decision).toMatchObject({ reason: "limit_exceeded", limits: [{ count: 2, max: 2 }] });
  expect(stage.sink.count("/scarce")).toBe(2);
});
