// Answers that do not fit are asked again: how often, what the model is told, and that a task which moves goes on with its repair.

import { expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { seededRandom } from "../../kit/random.ts";
import { Redactor } from "../../kit/redactor.ts";
import { runTask } from "../../worker/agent/loop.ts";
import type { JournalEntry, TaskEnd, Turn } from "../../worker/agent/task.ts";
import type { AgentView } from "../../worker/agent/view.ts";
import type { ModelRequest } from "../../worker/model/adapter.ts";
import { agentTask, fakeExecutors, RecordingPort, toolView } from "./recording_port.ts";

const schema = { type: "object", required: ["route"], properties: { route: { enum: ["a", "b"] } } };
const model = { provider: "test", name: "m", hasSecretRef: false, script: [] };
const answer = (text: string): Turn => ({ text, toolCalls: [] });
const BAD = answer('{"route":"c"}');
const GOOD = answer('{"route":"a"}');

async function run(agent: Partial<AgentView>, plan: readonly Turn[], journal: readonly JournalEntry[] = []) {
  const requests: ModelRequest[] = [];
  const ask = async (request: ModelRequest) => {
    requests.push(request);
    return plan[request.turn - 1] as Turn;
  };
  const task = agentTask({ model, outputSchema: schema, ...agent }, { journal });
  const port = new RecordingPort();
  const executors = fakeExecutors(() => ({ ok: true, result: {} }));
  const dependencies = { models: { test: { ask } }, executors, clock: systemClock(), random: seededRandom(1) };
  const end = await runTask(task, port, new AbortController().signal, { ...dependencies, redactor: new Redactor() });
  return { end, requests, facts: port.facts };
}

test.each<[string, number, Turn[], Partial<TaskEnd>, number]>([
  ["none allowed", 0, [BAD], { class: "OutputInvalid" }, 1],
  ["one repair that fits", 1, [BAD, GOOD], { kind: "succeeded", output: { route: "a" } }, 2],
  ["one repair that does not fit either", 1, [BAD, BAD], { class: "OutputInvalid", retryable: true }, 2],
  ["what is no JSON is repaired too", 2, [answer("route a"), BAD, GOOD], { kind: "succeeded" }, 3],
  ["an answer that fits needs none", 3, [GOOD], { kind: "succeeded" }, 1],
])("%s", async (_name, repairAttempts, plan, expected, asked) => {
  const { end, requests } = await run({ repairAttempts }, plan);
  expect(end).toMatchObject(expected);
  expect(requests).toHaveLength(asked);
});

test("the model is told why, after its own answer", async () => {
  const { requests } = await run({ repairAttempts: 1 }, [BAD, GOOD]);
  const [, own, told] = requests[1]?.messages ?? [];
  expect(own).toMatchObject({ role: "assistant", text: BAD.text });
  expect(told).toMatchObject({ role: "user" });
  expect(told?.text).toContain("does not fit the agent's outputSchema");
});

test("a repair spends a turn: within maxTurns, or not at all", async () => {
  const limits = { maxTurns: 2, maxToolCalls: 8, timeoutMs: 60_000, maxOutputBytes: 1_000 };
  const { end, requests } = await run({ repairAttempts: 5, limits }, [BAD, BAD, GOOD]);
  expect(end).toMatchObject({ class: "OutputInvalid" });
  expect(requests).toHaveLength(2);
});

test("an answer that is too large is not asked again", async () => {
  const { end, requests } = await run({ repairAttempts: 1 }, [answer("x".repeat(1_001)), GOOD]);
  expect(end).toMatchObject({ class: "OutputTooLarge" });
  expect(requests).toHaveLength(1);
});

test("a task that moves after a bad answer goes on with the repair, and repairs no more often for that", async () => {
  const journal: JournalEntry[] = [{ kind: "turn", sequence: 1, turn: BAD }];
  const moved = await run({ repairAttempts: 1 }, [BAD, GOOD], journal);
  expect(moved.end).toMatchObject({ kind: "succeeded" });
  expect(moved.facts).toEqual(["turn 2"]);
  const spent = await run(
    { repairAttempts: 1 },
    [BAD, BAD, GOOD],
    [...journal, { kind: "turn", sequence: 2, turn: BAD }],
  );
  expect(spent.end).toMatchObject({ class: "OutputInvalid" });
  expect(spent.requests).toHaveLength(0);
});

test("a repair may call tools", async () => {
  const calling: Turn = { text: "", toolCalls: [{ name: "look", arguments: {} }] };
  const { end, facts } = await run({ repairAttempts: 1, tools: [toolView("look")] }, [BAD, calling, GOOD]);
  // Turns are counted, entries are not: the third turn is the fourth entry.
  expect(end).toMatchObject({ kind: "succeeded", output: { route: "a" } });
  expect(facts).toEqual(["turn 1", "turn 2", "result 3", "turn 4"]);
});
