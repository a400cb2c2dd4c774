// What a denial by policy must look like from outside, for the tests that cause one.

import { expect } from "vitest";
import { type RunHandle, TaskState } from "../../sdk/index.ts";
import { agent, httpTool, single } from "./documents.ts";
import { type Detail, nameOf, type Stage } from "./stage.ts";

/** A retry that would try a failed task again: a denial is none. */
export const RETRY = { errorHandling: { retry: { on: ["ToolFailed", "Timeout"], maxAttempts: 3 } } };

/** A workflow whose agent calls a writing tool of its own, both of that name. */
export function effect(name: string): readonly object[] {
  const script = [{ when: "turn == 1", toolCalls: [{ name, arguments: {} }] }, { output: { ok: true } }];
  return [
    httpTool(name, `/${name}`, { effect: "write" }),
    agent(name, script, { tools: [name], ...RETRY }),
    ...single(name),
  ];
}

/** The run ends denied, its task after one attempt and one record; returns the decision in it. */
export async function expectDenied(stage: Stage, run: RunHandle): Promise<Detail> {
  await expect(run.result()).rejects.toMatchObject({ state: "POLICY_DENIED", failure: { class: "PolicyDenied" } });
  const { tasks } = await stage.client.workflows.listTasks({ runId: run.id });
  expect(tasks.map((task) => [nameOf(TaskState, task.state), task.attempt])).toEqual([["POLICY_DENIED", 1]]);
  const denied = await stage.trail(run, "task.denied");
  expect(denied).toHaveLength(1);
  expect(await stage.trail(run, "task.retrying")).toEqual([]);
  return denied[0]?.detail.decision;
}
