// Systems in systems through the commands: what a run is made of, whose policies count, what its views show, and what apply refuses.

import { beforeAll, expect, test } from "vitest";
import type { Assigned } from "../../server/commands/lease_tasks.ts";
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
  expect(run.nodes.at(-1)).toMatchObject({ kind: "system", target: "inside", quorum: 0 });
  expect(run.edges.map(({ from, to, taken }) => `${from} ${to} ${taken}`)).toEqual([
    "sub/a sub/b false",
    "first sub true",
  ]);
});

test("a run shows what its nodes run, how they wait, how far maps and loops are, and which edges were taken", async () => {
  await stage.applyAll(
    flow("shown", {
      nodes: [
        { name: "each", agent: "solo", map: { over: "[1, 2, 3]", as: "n", concurrency: 2 }, input: { n: "${{ n }}" } },
        { name: "look", tool: "look", input: { n: 1 }, join: "any" },
        { name: "sum", transform: { x: 1 }, join: { quorum: 2 } },
      ],
      edges: [
        { from: "each", to: "look" },
        { from: ["each", "look"], to: "sum" },
        { from: "each", to: "each", when: "iteration.index == 0", loop: { max: 4, onExhausted: "continue" } },
      ],
    }),
  );
  const runId = await stage.start("shown");
  const items = async () => (await stage.claimAs("s4")).assigned.filter(({ task }) => task.run_id === runId);
  const shown = async () => {
    const { nodes, edges } = await readRun(stage.context, runId);
    return {
      nodes,
      loop: edges.at(-1),
      taken: edges.filter((edge) => edge.taken).map(({ from, to }) => `${from} ${to}`),
    };
  };
  const map = { concurrency: 2, onItemError: "fail" };
  for (const held of await items()) await stage.settle(outcomeOf(held, DONE));
  expect((await shown()).nodes).toMatchObject([
    { name: "each", kind: "agent", target: "solo", quorum: 0, map: { ...map, itemsTotal: 3, itemsEnded: 2 } },
    { name: "look", kind: "tool", target: "look", quorum: 1 },
    { name: "sum", kind: "transform", target: "", quorum: 2 },
  ]);
  for (const held of await items()) await stage.settle(outcomeOf(held, DONE));
  const round = await shown();
  expect(round.nodes[0]).toMatchObject({ iteration: 1, map: { itemsTotal: 3, itemsEnded: 0 } });
  expect(round).toMatchObject({ loop: { taken: true, loop: { max: 4, taken: 1 } }, taken: ["each each"] });
  for (let rest = await items(); rest.length > 0; rest = await items()) {
    for (const held of rest.filter(({ task }) => task.item >= 0)) await stage.settle(outcomeOf(held, DONE));
    if (rest.some(({ task }) => task.item < 0)) break;
  }
  expect((await shown()).taken).toEqual(["each look", "each sum", "each each"]);
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
