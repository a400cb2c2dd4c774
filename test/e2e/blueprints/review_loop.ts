// The blueprint review-loop: rounds between a writer and a reviewer, and what comes after the last of them.
// Read by blueprints.test.ts.

import { expect } from "vitest";
import type { RunHandle } from "../../../sdk/index.ts";
import type { Stage } from "../stage.ts";
import type { BlueprintCase } from "./blueprint_case.ts";

const IN_LOOP = { draft: "SUCCEEDED", measure: "SUCCEEDED", review: "SUCCEEDED", verdict: "SUCCEEDED" };
const SHORT = "Since 09:40 the checkout answers slowly. We are adding database connections. Next update at 10:15.";

async function expectRounds(stage: Stage, run: RunHandle, rounds: number): Promise<void> {
  const { tasks } = await stage.client.workflows.listTasks({ runId: run.id });
  for (const node of ["draft", "measure", "review"]) {
    const iterations = tasks.filter((task) => task.node === node).map(({ iteration }) => iteration);
    expect({ node, iterations }).toEqual({ node, iterations: Array.from({ length: rounds }, (_, index) => index) });
  }
}

/** See the file header. */
export const reviewLoop: BlueprintCase = [
  {
    shows: "notes come back until the text is good: three rounds, then it is published",
    workflow: "status-update",
    output: { status: "published", rounds: 3, notes: "", text: SHORT },
    nodes: { ...IN_LOOP, publish: "SUCCEEDED", hand_over: "SKIPPED" },
    also: (stage, run) => expectRounds(stage, run, 3),
  },
  {
    shows: "the bound ends what would go round for ever: one round and three more, then a person",
    workflow: "status-update",
    parameters: { maxWords: 5 },
    output: { status: "waits for a person", rounds: 4, notes: "use at most 5 words, not 15", text: SHORT },
    nodes: { ...IN_LOOP, publish: "SKIPPED", hand_over: "SUCCEEDED" },
    also: (stage, run) => expectRounds(stage, run, 4),
  },
];
