// A graph as one run executes it: routing, skips that spread, joins, mapped inputs, the output.

import { beforeAll, expect, test } from "vitest";
import { NodeState, type Run } from "../../sdk/index.ts";
import { agent, system, template } from "./documents.ts";
import { nameOf, type Stage, startStage } from "./stage.ts";

let stage: Stage;

beforeAll(async () => {
  stage = await startStage();
  await stage.worker("w1");
  await stage.apply(
    agent("triage", [{ output: { route: "${{ input.route }}" } }], {
      outputSchema: { type: "object", required: ["route"], properties: { route: { type: "string" } } },
    }),
    agent("echo", [{ output: { said: "${{ input }}" } }]),
    agent("writer", [{ output: { text: "${{ input }}" } }]),
    system("desk", {
      inputSchema: { type: "object", required: ["route"], properties: { route: { type: "string" } } },
      nodes: [
        { name: "triage", agent: "triage", input: { route: "${{ input.route }}" } },
        { name: "bill", agent: "echo", input: { what: "bill" } },
        { name: "bill_more", agent: "echo", input: { what: "more" } },
        { name: "docs", agent: "echo", input: { what: "docs" } },
        {
          name: "draft",
          agent: "writer",
          join: "all",
          input: {
            route: "${{ nodes.triage.output.route }}",
            bill: '${{ has(nodes.bill_more.output) ? nodes.bill_more.output.said.what : "none" }}',
            docs: '${{ has(nodes.docs.output) ? nodes.docs.output.said.what : "none" }}',
          },
        },
      ],
      edges: [
        { from: "triage", to: "bill", when: 'output.route == "billing" || output.route == "both"' },
        { from: "triage", to: "docs", when: 'output.route == "both"' },
        { from: "triage", to: "docs", otherwise: true },
        { from: "bill", to: "bill_more" },
        { from: ["bill_more", "docs"], to: "draft" },
      ],
      output: { schema: { type: "object" }, value: "${{ has(nodes.draft.output) ? nodes.draft.output.text : {} }}" },
    }),
    template("desk", {
      parameters: { type: "object", required: ["route"], properties: { route: { type: "string" } } },
    }),
  );
});

function states(run: Run) {
  return Object.fromEntries(run.nodes.map((node) => [node.name, nameOf(NodeState, node.state)]));
}

const S = "SUCCEEDED";

test.each([
  ["billing", { bill: S, bill_more: S, docs: "SKIPPED" }, { bill: "more", docs: "none" }],
  ["anything else", { bill: "SKIPPED", bill_more: "SKIPPED", docs: S }, { bill: "none", docs: "docs" }],
  ["both", { bill: S, bill_more: S, docs: S }, { bill: "more", docs: "docs" }],
])("route %s takes its branches, skips the rest, and joins what ran", async (route, branches, facts) => {
  const run = await stage.client.workflow("desk").invoke({ route });
  expect(await run.result()).toEqual({ route, ...facts });
  expect(states(await run.get())).toEqual({ triage: S, draft: S, ...branches });
  // A skipped node is no task.
  const { tasks } = await stage.client.workflows.listTasks({ runId: run.id });
  const ran = Object.entries({ triage: S, draft: S, ...branches }).filter(([, state]) => state === S);
  expect(tasks.map((task) => task.node).sort()).toEqual(ran.map(([name]) => name).sort());
});

test("a node of which no condition holds fails the run with NoRoute", async () => {
  await stage.apply(
    system("strict", {
      inputSchema: { type: "object" },
      nodes: [
        { name: "triage", agent: "triage", input: { route: "nowhere" } },
        { name: "docs", agent: "echo", input: {} },
      ],
      edges: [{ from: "triage", to: "docs", when: 'output.route == "docs"' }],
      output: { schema: {}, value: "${{ has(nodes.docs.output) ? nodes.docs.output : {} }}" },
    }),
    template("strict"),
  );
  const run = await stage.client.workflow("strict").invoke();
  await expect(run.result()).rejects.toMatchObject({ state: "FAILED", failure: { class: "NoRoute" } });
});

test("a watcher sees every state of the run in order, and each audit record once", async () => {
  const run = await stage.client.workflow("desk").invoke({ route: "both" });
  const kinds: string[] = [];
  const ids: bigint[] = [];
  for await (const { events } of run.watch()) {
    kinds.push(...events.map(({ kind }) => kind));
    ids.push(...events.map(({ id }) => id));
  }
  expect(kinds[0]).toBe("run.created");
  expect(kinds.filter((kind) => kind === "task.succeeded")).toHaveLength(5);
  expect(new Set(ids).size).toBe(ids.length);
  const stored = await stage.trail(run);
  expect(kinds.sort()).toEqual(stored.map(({ kind }) => kind).sort());
});
