// The blueprint governed-deployment: what policies let pass, what they deny, and that a denial has no effect.
// Read by blueprints.test.ts.

import { expect } from "vitest";
import type { BlueprintCase } from "./blueprint_case.ts";

/** See the file header. */
export const governedDeployment: BlueprintCase = [
  {
    shows: "who is not in engineering deploys nothing",
    workflow: "deploy",
    parameters: { service: "checkout", version: "v8" },
    state: "POLICY_DENIED",
    nodes: { deploy: "DENIED", verify: "CANCELLED", done: "CANCELLED" },
    async also(stage, run, sandbox) {
      expect(await stage.trail(run, "tool.granted")).toEqual([]);
      expect(await sandbox.effects()).toMatchObject({ deployments: 0 });
    },
  },
];
