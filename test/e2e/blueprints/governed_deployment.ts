// The blueprint governed-deployment: an agent that is denied before it runs, windows that are closed and open at the moment of
// the run, a rule that two groups may meet, and a model that asks for what it was not given. Read by blueprints.test.ts.
// The windows of the blueprint are tried at frozen times by its policy test; a run is decided now, so these windows are told here.

import { expect } from "vitest";
import type { Stage } from "../stage.ts";
import type { BlueprintCase } from "./blueprint_case.ts";

const NAMESPACE = "my-governed-deployment";
const MAINTENANCE = `${NAMESPACE}/not-during-maintenance`;
const PIA = { id: "pia", groups: ["engineering", "platform"] };
const PIPELINE = ["deploy", "verify", "done"];
const ALWAYS = { from: "2000-01-01T00:00:00Z", to: "2100-01-01T00:00:00Z" };
const NEVER = { from: "2000-01-01T00:00:00Z", to: "2000-01-02T00:00:00Z" };

function nodesIn(state: string): Readonly<Record<string, string>> {
  return Object.fromEntries(PIPELINE.map((node) => [node, state]));
}

async function maintain(stage: Stage, window: object): Promise<void> {
  await stage.apply({
    apiVersion: "orloj.dev/v1",
    kind: "Policy",
    metadata: { name: "not-during-maintenance", namespace: NAMESPACE },
    spec: {
      attachTo: [{ kind: "WorkflowTemplate", name: "deploy-platform" }],
      checkpoints: ["workflow.run"],
      deny: { time: { in: [window] } },
    },
  });
}

/** See the file header. */
export const governedDeployment: BlueprintCase = [
  {
    shows: "who is not in engineering: the agent is denied before it runs, no turn is asked for, nothing is called",
    workflow: "deploy",
    parameters: { service: "search", version: "v32" },
    state: "POLICY_DENIED",
    nodes: { deploy: "DENIED", verify: "CANCELLED", done: "CANCELLED" },
    async also(stage, run, sandbox) {
      const [denied] = await stage.trail(run, "task.denied");
      const decidedBy = `${NAMESPACE}/deploy-engineering-only`;
      expect(denied?.detail.decision).toMatchObject({ reason: "not_permitted", decidedBy });
      const kinds = (await stage.trail(run)).map(({ kind }) => kind);
      expect(kinds.filter((kind) => /^(turn|tool)\./.test(kind))).toEqual([]);
      expect(await sandbox.effects()).toMatchObject({ deployments: 0 });

      await maintain(stage, ALWAYS);
      const invoked = stage.client
        .workflow("deploy-platform", { namespace: NAMESPACE })
        .invoke({ service: "search", version: "v32" }, { onBehalfOf: PIA });
      await expect(invoked).rejects.toMatchObject({ reason: "POLICY_DENIED" });
      const refused = await stage.record("run.refused", ({ detail }) => detail.decision.decidedBy === MAINTENANCE);
      expect(refused.detail.decision).toMatchObject({ reason: "forbidden", requester: "pia" });
      expect(await sandbox.effects()).toMatchObject({ deployments: 0 });
      await maintain(stage, NEVER);
    },
  },
  {
    shows: "the platform team outside of the window: it is deployed, once, and the service says so itself",
    workflow: "deploy-platform",
    person: PIA,
    parameters: { service: "search", version: "v32" },
    output: { deployed: true, detail: expect.stringMatching(/^deployment dep-\d+$/) },
    nodes: nodesIn("SUCCEEDED"),
    async also(_, __, sandbox) {
      expect(await sandbox.effects()).toMatchObject({ deployments: 1, rollbacks: 0 });
    },
  },
  {
    shows: "who is on call rolls back at any time",
    workflow: "roll-back",
    person: { id: "ola", groups: ["oncall"] },
    parameters: { service: "search", reason: "errors" },
    output: { rolledBack: true, version: "v31" },
    nodes: { roll_back: "SUCCEEDED" },
    async also(_, __, sandbox) {
      expect(await sandbox.effects()).toMatchObject({ deployments: 1, rollbacks: 1 });
    },
  },
  {
    shows: "a model that asks for a tool which its agent does not declare is denied by structure",
    workflow: "overreach",
    person: PIA,
    state: "POLICY_DENIED",
    nodes: { report: "DENIED" },
    async also(stage, run, sandbox) {
      const [denied] = await stage.trail(run, "task.denied");
      expect(denied?.detail.decision).toMatchObject({ reason: "undeclared", tool: "deploy_release" });
      expect(await sandbox.effects()).toMatchObject({ deployments: 1 });
    },
  },
];
