// Systems in systems through the commands: what a run is made of, whose policies count, what its views show, and what apply refuses.

import { beforeAll, expect, test } from "vitest";
import type { Assigned } from "../../server/commands/claim.ts";
import { readRun } from "../../server/commands/read_runs.ts";
import { document, flow, policy } from "./command_manifests.ts";
import { type CommandStage, commandStage, DONE, outcomeOf } from "./command_stage.ts";
import { failToolCall } from "./tool_node.ts";

let stage: CommandStage;
const inner = (name: string) => ({ name, agent: "solo", input: {} });
const system = (name: string, nodes: readonly object[], edges: readonly object[] = []) =>
  document("AgentSystem", name, { nodes, edges, output: { value: "done" } });

beforeAll(async () => {
  stage = await commandStage();
  await stage.applyAll([
    system("inside", [inner("a"), inner("b")], [{ from: "a", to: "b" }]),
    system("watched", [inner("only")]),
    ...flow("around", {
      nodes: [inner("first"), { name: "sub", system: "inside", input: {} }],
      edges: [{ from: "first", to: "sub" }],
    }),
    ...flow("holder", { nodes: [{ name: "sub", system: "watched", input: {} }, inner("beside")] }),
    policy("nobody-in-watched", "AgentSystem", "watched", ["nobody"], "agent.run"),
  ]);
});

test("nodes and edges are shown as the systems say them, not as they are put together", async () => {
  const runId = await stage.start("around");
  const [first] = (await stage.claimAs("s1")).assigned;
  await stage.settle(outcomeOf(first as NonNullable<typeof first>, DONE));
  const run = await readRun(stage.context, runId);
  expect(run.nodes.map(({ name, state }) => `${name} ${state}`)).toEqual([
    "first SUCCEEDED",
    "sub/a ACTIVE",
    "sub/b PENDING",
    "sub PENDING",
  ]);
  expect(run.edges.map(({ from, to }) => `${from} ${to}`)).toEqual(["sub/a sub/b", "first sub"]);
});

test("a policy on a contained system counts for the whole run", async () => {
  const runId = await stage.start("holder");
  const { assigned, denied } = await stage.claimAs("s2");
  expect(assigned.filter(({ task }) => task.run_id === runId)).toEqual([]);
  expect(denied.map((item) => (item.type === "denied" ? item.decision.decidedBy : ""))).toEqual([
    "default/nobody-in-watched",
    "default/nobody-in-watched",
  ]);
});

test("a discarded node fails the system that it is in; a tool that ran out of time last is a time-out to the system around it", async () => {
  await stage.applyAll([
    system("looking", [{ name: "t", tool: "look", input: { n: 1 } }]),
    ...flow("waiting", {
      nodes: [{ name: "sub", system: "looking", input: {} }, inner("late"), inner("broken")],
      edges: [
        { from: "sub", to: "late", outcome: "timedOut" },
        { from: "sub", to: "broken", outcome: "failed" },
      ],
    }),
  ]);
  const runId = await stage.start("waiting");
  const held = (await stage.claimAs("s3")).assigned.find(({ task }) => task.run_id === runId) as Assigned;
  await failToolCall(stage, held, "Timeout");
  await stage.settle(outcomeOf(held, { type: "failed", failure: { class: "ToolFailed", message: "look is late" } }));
  expect(await stage.nodes(runId)).toMatchObject({ "sub/t": "PARKED", sub: "PENDING" });
  await stage.settle({ type: "discard", taskId: held.task.id, reason: "", actor: "ana" });
  const nodes = { "sub/t": "FAILED", sub: "FAILED", late: "ACTIVE", broken: "SKIPPED" };
  expect(await stage.nodes(runId)).toMatchObject(nodes);
});

test("two applies do not make a circle: the second one sees what is stored", async () => {
  await stage.applyAll([system("one", [inner("a")]), system("two", [{ name: "part", system: "one", input: {} }])]);
  const circle = stage.applyAll([system("one", [{ name: "part", system: "two", input: {} }])]);
  await expect(circle).rejects.toMatchObject({ reason: "MANIFEST_INVALID" });
});
