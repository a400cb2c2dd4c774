// Denials have no effect, are final and are explained; policies are read live.

import { beforeAll, expect, test } from "vitest";
import { runOrloj } from "../harness/processes.ts";
import { effect, expectDenied, RETRY } from "./denials.ts";
import { agent, httpTool, policy, single } from "./documents.ts";
import { type Stage, startStage } from "./stage.ts";

let stage: Stage;
const DEVELOPERS = { match: { "requester.groups": ["developers"] } };
const ENGINEERS = { match: { "requester.groups": ["engineering"] } };

beforeAll(async () => {
  stage = await startStage({ args: ["--dev-groups", "developers"] });
  await stage.worker("w1");
});

test("a denied tool is never called: the task and the run end POLICY_DENIED, with every policy's verdict recorded", async () => {
  await stage.apply(
    ...effect("refund"),
    policy("refund-engineering", {
      attachTo: [{ kind: "Tool", name: "refund" }],
      checkpoints: ["tool.call"],
      allow: ENGINEERS,
      message: "Only engineering refunds.",
    }),
    policy("refund-people", {
      attachTo: [{ kind: "Tool", name: "refund" }],
      checkpoints: ["tool.call"],
      allow: DEVELOPERS,
    }),
    policy("refund-no-service", {
      attachTo: [{ kind: "Agent", name: "refund" }],
      deny: { match: { "requester.kinds": ["service"] } },
    }),
  );
  const run = await stage.client.workflow("refund").invoke();
  const decision = await expectDenied(stage, run);
  expect(decision).toMatchObject({ allowed: false, reason: "not_permitted", tool: "refund" });
  expect(decision.decidedBy).toContain("refund-engineering");
  const verdicts = Object.fromEntries(
    decision.verdicts.map((verdict: { policy: string; reason: string }) => [
      verdict.policy.split("/").at(-1),
      verdict.reason,
    ]),
  );
  expect(verdicts).toEqual({
    "refund-engineering": "not_permitted",
    "refund-people": "allowed",
    "refund-no-service": "allowed",
  });
  expect(stage.sink.count("/refund")).toBe(0);
  expect((await run.get()).failure?.message).toContain("Only engineering refunds.");
  const described = await runOrloj(["describe", "run", run.id], { server: stage.server });
  expect(described.stdout).toContain("refund-engineering");
});

test("a tool that the agent does not declare is denied by structure, whatever its own rights are", async () => {
  await stage.apply(
    httpTool("vault", "/vault", { effect: "write" }),
    agent("thief", [{ when: "turn == 1", toolCalls: [{ name: "vault", arguments: {} }] }, { output: {} }], RETRY),
    ...single("thief"),
  );
  const decision = await expectDenied(stage, await stage.client.workflow("thief").invoke());
  expect(decision).toMatchObject({ allowed: false, reason: "undeclared", checkpoint: "tool.call", tool: "vault" });
  expect(stage.sink.count("/vault")).toBe(0);
});

test("a guarded tool without a policy of its own is denied", async () => {
  const [tool, ...others] = effect("guarded") as [{ spec: object }, ...object[]];
  await stage.apply({ ...tool, spec: { ...tool.spec, guarded: true } }, ...others);
  const decision = await expectDenied(stage, await stage.client.workflow("guarded").invoke());
  expect(decision).toMatchObject({ reason: "policy_missing" });
  expect(stage.sink.count("/guarded")).toBe(0);
});

test("a denied invocation leaves no run and a record of the decision", async () => {
  const { client } = stage;
  const name = "report";
  await stage.apply(
    agent(name, [{ output: { ok: true } }]),
    ...single(name, { tags: { "customer-id": { from: "request" } } }),
    policy("customer-123-only", {
      attachTo: [{ kind: "WorkflowTemplate", name }],
      checkpoints: ["workflow.run"],
      allow: { match: { "context.tags": { "customer-id": ["123"] } } },
    }),
  );
  const cases = [
    { tags: { "customer-id": "999" }, reason: "not_permitted" },
    { tags: {}, reason: "policy_error" },
  ];
  for (const { tags, reason } of cases) {
    await expect(client.workflow(name).invoke({}, { tags })).rejects.toMatchObject({ reason: "POLICY_DENIED" });
    const refused = await stage.record("run.refused", ({ detail }) => detail.decision.reason === reason);
    expect(refused.detail).toMatchObject({ workflow: name, requester: { id: "dev" }, decision: { allowed: false } });
    expect(refused.detail.decision.verdicts).toHaveLength(1);
  }
  expect((await client.workflows.listRuns({ workflow: name })).runs).toEqual([]);
  const allowed = await client.workflow(name).invoke({}, { tags: { "customer-id": "123" } });
  expect(await allowed.result()).toEqual({ ok: true });
});

test("a policy that changes between two runs decides the second one, without a restart", async () => {
  const name = "live";
  const attached = { attachTo: [{ kind: "Tool", name }], checkpoints: ["tool.call"] };
  await stage.apply(...effect(name), policy("live-policy", { ...attached, allow: DEVELOPERS }));
  expect(await (await stage.client.workflow(name).invoke()).result()).toEqual({ ok: true });
  expect(stage.sink.count("/live")).toBe(1);

  await stage.apply(policy("live-policy", { ...attached, allow: ENGINEERS }));
  const decision = await expectDenied(stage, await stage.client.workflow(name).invoke());
  expect(decision.verdicts[0].generation).toBe(2);
  expect(stage.sink.count("/live")).toBe(1);

  const gone = { kind: "Policy", namespace: "default", name: "live-policy" };
  await stage.client.manifests.deleteResource(gone);
  expect(await (await stage.client.workflow(name).invoke()).result()).toEqual({ ok: true });
  expect(stage.sink.count("/live")).toBe(2);
});

test("a policy that is added in the middle of a run denies its next tool call", async () => {
  const { client, sink } = stage;
  sink.hold("/first");
  await stage.apply(
    httpTool("first", "/first", { effect: "read" }),
    httpTool("second", "/second", { effect: "write" }),
    agent(
      "midway",
      [
        { when: "turn == 1", toolCalls: [{ name: "first", arguments: {} }] },
        { when: "turn == 2", toolCalls: [{ name: "second", arguments: {} }] },
        { output: {} },
      ],
      { tools: ["first", "second"], ...RETRY },
    ),
    ...single("midway"),
  );
  const run = await client.workflow("midway").invoke();
  await sink.waitForCount("/first", 1);
  await stage.apply(
    policy("second-closed", {
      attachTo: [{ kind: "Tool", name: "second" }],
      checkpoints: ["tool.call"],
      allow: ENGINEERS,
    }),
  );
  sink.release("/first");
  const decision = await expectDenied(stage, run);
  expect(decision).toMatchObject({ checkpoint: "tool.call", reason: "not_permitted", tool: "second" });
  expect(decision.argumentsDigest).toMatch(/^sha256:/);
  expect(sink.count("/first")).toBe(1);
  expect(sink.count("/second")).toBe(0);
});

test("guarded by two policies: denied as long as one of them denies", async () => {
  const name = "both";
  const attached = { attachTo: [{ kind: "Namespace", name: "default" }], checkpoints: ["tool.call"] };
  await stage.apply(
    ...effect(name),
    policy("both-yes", { attachTo: [{ kind: "Tool", name }], allow: DEVELOPERS }),
    policy("both-no", { ...attached, deny: { match: { "tool.names": [name] } } }),
  );
  const decision = await expectDenied(stage, await stage.client.workflow(name).invoke());
  expect(decision.reason).toBe("forbidden");
  expect(decision.verdicts.length).toBeGreaterThanOrEqual(2);
  expect(stage.sink.count(`/${name}`)).toBe(0);
});
