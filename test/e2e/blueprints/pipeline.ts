// The blueprint pipeline: agents in a row, with transforms between them.
// Read by blueprints.test.ts.

import { expect } from "vitest";
import type { BlueprintCase } from "./blueprint_case.ts";

const ALL = { read: "SUCCEEDED", outliers: "SUCCEEDED", judge: "SUCCEEDED", facts: "SUCCEEDED", write: "SUCCEEDED" };

/** See the file header. */
export const pipeline: BlueprintCase = [
  {
    shows: "sums by the tool, three tasks in a row, and transforms without a task",
    workflow: "cost-digest",
    parameters: { csv: "a,4\nb,1\na,5\n\nc,20\n", limit: 5 },
    output: {
      subject: "2 of 3 services over the limit, 30 euros in all",
      lines: ["a: 9 euros, look at it this week", "c: 20 euros, look at it today"],
      over: 2,
    },
    nodes: ALL,
    async also(stage, run) {
      const { tasks } = await stage.client.workflows.listTasks({ runId: run.id });
      expect(tasks.map(({ node, agent }) => `${node} ${agent}`)).toEqual([
        "read cost-reader",
        "judge cost-analyst",
        "write cost-writer",
      ]);
      expect((await stage.trail(run, "tool.granted")).map(({ detail }) => detail.tool)).toEqual(["sum-costs"]);
    },
  },
  {
    shows: "a text that the tool refuses ends the run, and nothing after it runs",
    workflow: "cost-digest",
    parameters: { csv: "a,4\nb;rm\n" },
    state: "FAILED",
    nodes: { read: "FAILED", outliers: "CANCELLED", judge: "CANCELLED", facts: "CANCELLED", write: "CANCELLED" },
  },
];
