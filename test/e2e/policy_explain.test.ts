// Explain and can on a real server and worker: why a denied call was denied, that trying has no effect, and who may not ask.

import { expect, test } from "vitest";
import { Code, createClient } from "../../sdk/index.ts";
import { runOrloj } from "../harness/processes.ts";
import { agent, httpTool, policy, single } from "./documents.ts";
import { startStage } from "./stage.ts";

test("a denied run is explained down to the condition, can says so before there is a run, and neither calls or changes anything", async () => {
  const stage = await startStage({ args: ["--dev-groups", "developers"] });
  await stage.worker("w1");
  const script = [{ when: "turn == 1", toolCalls: [{ name: "refund", arguments: { amount: 500 } }] }, { output: {} }];
  await stage.apply(
    httpTool("refund", "/refund", {
      effect: "write",
      inputSchema: { type: "object", required: ["amount"], properties: { amount: { type: "integer" } } },
    }),
    agent("clerk", script, { tools: ["refund"] }),
    ...single("clerk"),
    policy("small-refunds", {
      attachTo: [{ kind: "Tool", name: "refund" }],
      allow: { all: [{ match: { "requester.groups": ["developers"] } }, { cel: "args.amount <= 100" }] },
      message: "Ask a person.",
    }),
  );
  const run = await stage.client.workflow("clerk").invoke();
  await expect(run.result()).rejects.toMatchObject({ state: "POLICY_DENIED" });

  const orloj = (...words: string[]) => runOrloj(["policy", ...words], { server: stage.server });
  const explained = await orloj("explain", run.id);
  expect(explained).toMatchObject({ code: 0, stderr: "" });
  expect(explained.stdout).toContain("denied: not_permitted by default/small-refunds");
  expect(explained.stdout).toMatch(/\[1\]\.cel: false {2}wants "args\.amount <= 100"; args\.amount is 500/);
  expect(explained.stdout).toMatch(/recorded \S+ task\.denied: denied, not_permitted by default\/small-refunds/);

  const who = ["--as", "dev", "--group", "developers", "--tool", "refund", "-o", "json"];
  const [large, small, open] = await Promise.all([
    orloj("can", ...who, "--args", '{"amount": 101}'),
    orloj("can", ...who, "--args", '{"amount": 100}'),
    orloj("can", ...who),
  ]);
  expect([large.code, small.code, open.code]).toEqual([4, 0, 0]);
  expect(JSON.parse(large.stdout).decisions.map(({ checkpoint }: { checkpoint: string }) => checkpoint)).toEqual([
    "workflow.run",
    "agent.run",
    "tool.call",
  ]);
  expect(stage.sink.count("/refund")).toBe(0);
  const { runs } = await stage.client.workflows.listRuns({});
  expect(runs.map(({ id }) => id)).toEqual([run.id]);

  const { token } = await stage.client.tokens.createToken({ name: "other", roles: ["auditor"], namespaces: ["other"] });
  const stranger = createClient({ endpoint: stage.server.api, token });
  await expect(stranger.policies.explain({ runId: run.id })).rejects.toMatchObject({ code: Code.NotFound });
  await expect(stranger.policies.can({ as: { id: "dev" }, workflow: "clerk" })).rejects.toMatchObject({
    code: Code.PermissionDenied,
  });
  const invoker = await stage.client.tokens.createToken({ name: "ci", roles: ["invoker"] });
  const asInvoker = createClient({ endpoint: stage.server.api, token: invoker.token });
  await expect(asInvoker.policies.explain({ runId: run.id })).rejects.toMatchObject({ code: Code.PermissionDenied });
});
