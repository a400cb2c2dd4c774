// Dead letters in and behind loops of runs that have ended: the new run goes on in the round in which the old one stopped.

import { expect, test } from "vitest";
import type { Assigned } from "../../server/commands/lease_tasks.ts";
import { replayDeadLetter } from "../../server/commands/replay_dead_letters.ts";
import { createServices } from "../../server/commands/services.ts";
import type { WorkerOutcome } from "../../server/commands/settle_items.ts";
import type { ReplayHow } from "../../server/commands/views.ts";
import { taskName } from "../graph/case_files.ts";
import { flow } from "./command_manifests.ts";
import { ana, BROKEN, commandStage, outcomeOf, stopOf } from "./command_stage.ts";

const stage = await commandStage();
const services = createServices(stage.context);
const PLAIN: ReplayHow = { currentManifests: false, repeatEffects: false, results: new Map() };
const AGAIN: WorkerOutcome = { type: "succeeded", output: { again: true } };
const ENOUGH: WorkerOutcome = { type: "succeeded", output: { again: false } };

await stage.applyAll([
  ...flow("review", {
    nodes: [
      { name: "read", agent: "solo", map: { over: "[1, 2]", as: "n" }, input: { n: "${{ n }}" } },
      { name: "draft", agent: "parker", input: { round: "${{ iteration.index }}", read: "${{ nodes.read.outputs }}" } },
      { name: "check", agent: "parker" },
      { name: "done", agent: "parker", input: { index: "${{ iteration.index }}" } },
    ],
    edges: [
      { from: "read", to: "draft" },
      { from: "draft", to: "check" },
      { from: "check", to: "read", when: "output.again", loop: { max: 2, onExhausted: "continue" } },
      { from: "check", to: "done", otherwise: true },
    ],
  }),
  ...flow("retried", {
    nodes: [
      { name: "try", agent: "parker" },
      { name: "after", agent: "parker" },
    ],
    edges: [
      { from: "try", to: "try", outcome: "failed", loop: { max: 5 } },
      { from: "try", to: "after" },
    ],
  }),
]);

const held = new Map<string, Assigned>();

async function end(runId: string, name: string, outcome: WorkerOutcome): Promise<string> {
  for (const one of (await stage.claimAs("ses")).assigned) held.set(`${one.task.run_id} ${taskName(one.task)}`, one);
  const assigned = held.get(`${runId} ${name}`);
  if (assigned === undefined) throw new Error(`${name} is not held; held are ${[...held.keys()].join(", ")}`);
  expect(await stage.settle(outcomeOf(assigned, outcome)), name).toEqual([{ verdict: "committed" }]);
  return assigned.task.id;
}

async function open(runId: string): Promise<string[]> {
  const tasks = await stage.tasksOf(runId);
  return tasks.filter((task) => task.end_time === null).map(taskName);
}

const replay = (taskId: string, how: Partial<ReplayHow> = {}) =>
  replayDeadLetter(stage.context, services, ana, taskId, { ...PLAIN, ...how });

async function roundOne(): Promise<string> {
  const runId = await stage.start("review");
  await end(runId, "read[1]", { type: "succeeded", output: { n: "b" } });
  await end(runId, "read[0]", { type: "succeeded", output: { n: "a" } });
  await end(runId, "draft", ENOUGH);
  await end(runId, "check", AGAIN);
  for (const item of [0, 1]) await end(runId, `read/1[${item}]`, ENOUGH);
  return runId;
}

test("a dead letter in the second round of a loop goes on in that round, and the rounds before it count", async () => {
  const runId = await roundOne();
  await end(runId, "draft/1", ENOUGH);
  const letter = await end(runId, "check/1", BROKEN);
  await stage.settle(stopOf(runId));
  const { replayRunId, replayTaskId } = await replay(letter);
  expect(await open(replayRunId)).toEqual(["check/1"]);
  expect(await stage.task(replayTaskId)).toMatchObject({ node: "check", iteration: 1, replay_of: letter });
  expect(await stage.nodes(replayRunId)).toEqual({
    ...{ read: "SUCCEEDED", draft: "SUCCEEDED", check: "ACTIVE", done: "PENDING" },
  });
  const [record] = (await stage.records(letter)).filter(({ kind }) => kind === "dead_letter.replayed");
  expect(record?.detail).toMatchObject({ node: "check", iteration: 1 });
  // Once more round, and then not again: two are allowed, of which the old run took one.
  await end(replayRunId, "check/1", AGAIN);
  for (const item of [0, 1]) await end(replayRunId, `read/2[${item}]`, ENOUGH);
  await end(replayRunId, "draft/2", ENOUGH);
  await end(replayRunId, "check/2", AGAIN);
  expect(await open(replayRunId)).toEqual(["done"]);
});

test("a node behind a loop that went round is replayed alone", async () => {
  const runId = await roundOne();
  await end(runId, "draft/1", ENOUGH);
  await end(runId, "check/1", ENOUGH);
  const letter = await end(runId, "done", BROKEN);
  await stage.settle(stopOf(runId));
  const { replayRunId } = await replay(letter);
  expect(await open(replayRunId)).toEqual(["done"]);
  await end(replayRunId, "done", ENOUGH);
  expect(await stage.run(replayRunId)).toMatchObject({ state: "SUCCEEDED" });
});

test("with other manifests a loop may go round otherwise: refused with that reason, and the dead letter stays open", async () => {
  const runId = await roundOne();
  const letter = await end(runId, "draft/1", BROKEN);
  await stage.settle(stopOf(runId));
  await stage.applyAll([
    ...flow("review", {
      nodes: [{ name: "draft", agent: "parker" }],
      edges: [{ from: "draft", to: "draft", when: "output.again", loop: { max: 2, onExhausted: "continue" } }],
    }),
  ]);
  await expect(replay(letter, { currentManifests: true })).rejects.toMatchObject({
    reason: "REQUEST_INVALID",
    message: expect.stringContaining("parked in round 1 of a loop, which may go round otherwise with other manifests"),
  });
  const { replayRunId, replayTaskId } = await replay(letter);
  expect(await open(replayRunId)).toEqual(["draft/1"]);
  expect(JSON.parse((await stage.task(replayTaskId)).input)).toEqual({
    round: 1,
    read: [ENOUGH.output, ENOUGH.output],
  });
});

test("a dead letter that a loop went on from is replayed in its own round, whatever came after it", async () => {
  const runId = await stage.start("retried");
  const letters = [await end(runId, "try", BROKEN), await end(runId, "try/1", BROKEN)];
  await end(runId, "try/2", ENOUGH);
  await end(runId, "after", ENOUGH);
  expect(await stage.run(runId)).toMatchObject({ state: "SUCCEEDED" });
  const second = await replay(letters[1]!);
  expect(await open(second.replayRunId)).toEqual(["try/1"]);
  const first = await replay(letters[0]!);
  expect(await open(first.replayRunId)).toEqual(["try"]);
  await end(first.replayRunId, "try", ENOUGH);
  await end(first.replayRunId, "after", ENOUGH);
  expect(await stage.run(first.replayRunId)).toMatchObject({ state: "SUCCEEDED" });
});
