// Loops, maps, error edges, races, fallbacks and repairs as real processes execute them, from the manifest to the result.

import { beforeAll, expect, test } from "vitest";
import { NodeState, type RunHandle } from "../../sdk/index.ts";
import { agent, httpTool, system, template } from "./documents.ts";
import { nameOf, type Stage, startStage } from "./stage.ts";

let stage: Stage;

const NO_RETRY = { retry: { on: ["Timeout"], maxAttempts: 1 }, onExhausted: "fail" };
const ANY = { outputSchema: {} };

beforeAll(async () => {
  stage = await startStage();
  await stage.worker("w1");
  await stage.apply(
    agent("scorer", [{ output: { score: "${{ input.round * 4 }}", text: "round ${{ input.round }}" } }], ANY),
    agent("double", [{ when: "input.n == 3", error: "ModelRefused" }, { output: "${{ input.n * 2 }}" }], {
      ...ANY,
      errorHandling: NO_RETRY,
    }),
    agent("quick", [{ output: { by: "quick" } }], ANY),
    agent("slow", [{ output: { by: "slow" }, delayMs: 50_000 }], ANY),
    agent("broken", [{ error: "ModelRefused" }], { ...ANY, errorHandling: NO_RETRY }),
    agent("lenient", [{ error: "ModelRefused" }], {
      outputSchema: { type: "object", required: ["by"] },
      errorHandling: { ...NO_RETRY, onExhausted: "continue", fallback: { by: "fallback" } },
    }),
    agent("sloppy", [{ when: "turn == 1", text: "by me" }, { output: { by: "repair" } }], {
      outputSchema: { type: "object", required: ["by"] },
      repairAttempts: 1,
    }),
  );
});

async function run(name: string, spec: object, parameters: object = {}): Promise<RunHandle> {
  await stage.apply(system(name, spec as never), template(name));
  return await stage.client.workflow(name).invoke(parameters as never);
}

async function states(handle: RunHandle): Promise<Record<string, string>> {
  return Object.fromEntries((await handle.get()).nodes.map((node) => [node.name, nameOf(NodeState, node.state)]));
}

test("a draft goes round until it is good enough", async () => {
  const handle = await run("review", {
    nodes: [
      { name: "draft", agent: "scorer", input: { round: "${{ iteration.index }}" } },
      { name: "done", transform: { text: "${{ nodes.draft.output.text }}" } },
    ],
    edges: [
      { from: "draft", to: "draft", when: "output.score < 8", loop: { max: 5 } },
      { from: "draft", to: "done", otherwise: true },
    ],
    output: { value: "${{ nodes.done.output.text }}" },
  });
  expect(await handle.result()).toBe("round 2");
  const { tasks } = await stage.client.workflows.listTasks({ runId: handle.id });
  expect(tasks.map((task) => task.iteration)).toEqual([0, 1, 2]);
});

test("a map keeps the order of its list and collects what failed", async () => {
  const spec = {
    nodes: [
      {
        name: "each",
        agent: "double",
        map: { over: "input.list", as: "n", concurrency: 3, onItemError: "collect" },
        input: { n: "${{ n }}" },
      },
    ],
    output: { value: "${{ nodes.each.outputs.map(o, has(o.output) ? o.output : -1) }}" },
  };
  const handle = await run("doubles", spec, { list: [1, 2, 3, 4, 5, 6, 7] });
  expect(await handle.result()).toEqual([2, 4, -1, 8, 10, 12, 14]);
});

test("the first of a race wins, and the worker of the other stops", async () => {
  const startedMs = performance.now();
  const handle = await run("race", {
    nodes: [
      { name: "fast", agent: "quick" },
      { name: "late", agent: "slow" },
      { name: "winner", agent: "quick", join: "any" },
    ],
    edges: [{ from: ["fast", "late"], to: "winner" }],
    output: { value: "${{ has(nodes.fast.output) ? nodes.fast.output.by : 'late' }}" },
  });
  expect(await handle.result()).toBe("quick");
  expect(performance.now() - startedMs, "nobody waited for the slow one").toBeLessThan(40_000);
  expect(await states(handle)).toEqual({ fast: "SUCCEEDED", late: "CANCELLED", winner: "SUCCEEDED" });
  expect((await stage.client.fleet.listLeases({ runId: handle.id })).leases).toEqual([]);
  const cancelled = await stage.trail(handle, "task.cancelled");
  expect(cancelled.map(({ detail }) => detail["node"])).toEqual(["late"]);
  // A worker that stops as it was told is not refused.
  expect(await stage.trail(handle, "fact.refused")).toEqual([]);
});

test("a failure is caught, a fallback stands in, and the run succeeds", async () => {
  const handle = await run("caught", {
    nodes: [
      { name: "try", agent: "broken" },
      { name: "never", agent: "quick" },
      { name: "saved", agent: "lenient" },
    ],
    edges: [
      { from: "try", to: "never" },
      { from: "try", to: "saved", outcome: "failed", when: 'error.class == "ModelRefused"' },
    ],
    output: { value: "${{ has(nodes.saved.output) ? nodes.saved.output.by : 'lost' }}" },
  });
  expect(await handle.result()).toBe("fallback");
  expect(await states(handle)).toEqual({ try: "FAILED", never: "SKIPPED", saved: "SUCCEEDED" });
});

test("an answer that does not fit is repaired within the task", async () => {
  const handle = await run("repaired", {
    nodes: [{ name: "only", agent: "sloppy" }],
    output: { value: "${{ nodes.only.output.by }}" },
  });
  expect(await handle.result()).toBe("repair");
  const { tasks } = await stage.client.workflows.listTasks({ runId: handle.id });
  expect(tasks.map((task) => task.attempt)).toEqual([1]);
});

test("a tool is a node: called once with the node's input, on record like any call", async () => {
  stage.sink.respond("/orders", () => ({ body: '{"total": 7}' }));
  await stage.apply(httpTool("place-order", "/orders", { effect: "write" }));
  const handle = await run(
    "ordering",
    {
      nodes: [{ name: "order", tool: "place-order", input: { item: "${{ input.item }}" } }],
      output: { value: "${{ nodes.order.output.total }}" },
    },
    { item: "pen" },
  );
  expect(await handle.result()).toBe(7);
  expect(stage.sink.count("/orders")).toBe(1);
  const { tasks } = await stage.client.workflows.listTasks({ runId: handle.id });
  expect(tasks.map((task) => task.agent)).toEqual(["tool:place-order"]);
  const granted = await stage.trail(handle, "tool.granted");
  expect(granted.map(({ detail }) => detail["tool"])).toEqual(["place-order"]);
});

test("a system in a system runs as part of the run, and gives what its output says", async () => {
  await stage.apply(
    system("helper", {
      inputSchema: { type: "object", required: ["n"], properties: { n: { type: "integer" } } },
      nodes: [{ name: "twice", agent: "double", input: { n: "${{ input.n }}" } }],
      output: { schema: { type: "object" }, value: { doubled: "${{ nodes.twice.output }}" } },
    }),
  );
  const handle = await run(
    "delegating",
    {
      nodes: [
        { name: "left", system: "helper", input: { n: "${{ input.n }}" } },
        { name: "right", system: "helper", input: { n: "${{ nodes.left.output.doubled }}" } },
      ],
      edges: [{ from: "left", to: "right" }],
      output: { value: "${{ nodes.right.output.doubled }}" },
    },
    { n: 5 },
  );
  expect(await handle.result()).toBe(20);
  expect(await states(handle)).toEqual({
    ...{ "left/twice": "SUCCEEDED", left: "SUCCEEDED", "right/twice": "SUCCEEDED", right: "SUCCEEDED" },
  });
});
