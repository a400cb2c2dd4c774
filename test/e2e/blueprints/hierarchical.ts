// The blueprint hierarchical: a lead, a specialist and a team at the same time, a join, a chief.
// Read by blueprints.test.ts.

import { expect } from "vitest";
import type { BlueprintCase } from "./blueprint_case.ts";

const WITH_TASKS = ["chief", "lead", "reliability/capacity", "reliability/probes", "security"];
const ALL = Object.fromEntries(["reliability", ...WITH_TASKS].map((node) => [node, "SUCCEEDED"]));
const SOUND = "replicas: 3\nimage: shop:v7\nreadinessProbe: {}\nlivenessProbe: {}\n";

/** See the file header. */
export const hierarchical: BlueprintCase = [
  {
    shows: "what the lead asks for reaches both branches, and the chief hears both: nothing is in the way",
    workflow: "readiness-review",
    parameters: { service: "shop", exposed: true, manifest: SOUND },
    output: { service: "shop", asked: "open to the world", ready: true, blockers: [] },
    nodes: ALL,
    async also(stage, run) {
      const { tasks } = await stage.client.workflows.listTasks({ runId: run.id });
      expect(tasks.map(({ node }) => node).sort()).toEqual(WITH_TASKS);
      // The join: whichever of the others ended last, the chief came after it.
      const succeeded = await stage.trail(run, "task.succeeded");
      expect(succeeded.at(-1)?.taskId).toBe(tasks.find(({ node }) => node === "chief")?.id);
      const granted = await stage.trail(run, "tool.granted");
      expect(granted.map(({ detail }) => detail.tool)).toEqual(Array(4).fill("count-lines"));
    },
  },
  {
    shows: "a blocker of each branch reaches the chief",
    workflow: "readiness-review",
    parameters: { service: "shop", manifest: "image: shop:latest\nreplicas: 2\nlivenessProbe: {}\n" },
    output: {
      service: "shop",
      asked: "internal",
      ready: false,
      blockers: [
        "security: 1 lines give more rights, or promise less, than they should",
        "reliability: readiness probes: 0, liveness probes: 1; there are enough copies",
      ],
    },
    nodes: ALL,
  },
];
