// The manifests of the benchmark: workflows of one shape each, with policies that are attached at every checkpoint that they pass.
// Applied by fleet.ts. Each decision of a run is a real one: none is allowed because nothing was attached.

import { SECOND } from "../kit/units.ts";

/** Names of the workflows. */
export const WORKFLOWS = {
  /** One node, a handler that does nothing. */
  noop: "bench-noop",
  /** A chain of three such nodes. */
  steps3: "bench-steps3",
  /** An agent with a scripted model that calls one tool. */
  tools: "bench-tools",
  /** A node that is mapped over the items of the parameters. */
  fanout: "bench-fanout",
  /** One node, and a chain of three, whose handlers say when they ran. */
  start: "bench-start",
  chain: "bench-chain",
  /** One node whose handler holds its slot for HOLD_MS: what a backlog is made of. */
  backlog: "bench-backlog",
} as const;

/** Nodes of the chains, in order. */
export const CHAIN = ["a", "b", "c"] as const;
/** How long a task of the backlog takes, in ms. */
export const HOLD_MS = SECOND / 4;
/** Items that a map may be given, and that its node works on at a time. */
export const ITEMS_MAX = 10_000;

const TOOL = "bench-count";

type Spec = Readonly<Record<string, unknown>>;

/** All manifests as one file; JSON is YAML. @param toolUrl where the counted tool is called @param atATime items of the map at a time */
export function benchManifests(toolUrl: string, atATime: number): string {
  const documents = [
    ...["noop", "stamp", "hold"].map((name) => document("Agent", name, { runtime: "handler", handler: { name } })),
    document("Agent", "scripted", {
      model: {
        ...{ provider: "scripted", name: "bench" },
        script: [{ when: "turn == 1", toolCalls: [{ name: TOOL, arguments: { n: 1 } }] }, { text: "done" }],
      },
      tools: [TOOL],
    }),
    countedTool(toolUrl),
    policy("tool", [{ kind: "Tool", name: TOOL }], "tool.call", {
      match: { "tool.names": [TOOL], "agent.names": ["scripted"] },
    }),
    policy("agents", [{ kind: "Agent", selector: { of: "bench" } }], "agent.run", {
      match: { "requester.kinds": ["user"], "workflow.names": Object.values(WORKFLOWS) },
    }),
    ...workflow(WORKFLOWS.noop, [{ name: "only", agent: "noop" }]),
    ...workflow(WORKFLOWS.start, [{ name: "only", agent: "stamp" }]),
    ...workflow(WORKFLOWS.backlog, [{ name: "only", agent: "hold" }], { timeout: "12h" }),
    ...workflow(WORKFLOWS.tools, [{ name: "only", agent: "scripted" }]),
    ...workflow(WORKFLOWS.steps3, chainOf("noop")),
    ...workflow(WORKFLOWS.chain, chainOf("stamp")),
    ...workflow(WORKFLOWS.fanout, [
      { name: "each", agent: "noop", map: { over: "input.items", as: "item", concurrency: atATime } },
    ]),
  ];
  return documents.map((one) => JSON.stringify(one)).join("\n---\n");
}

function document(kind: string, name: string, spec: Spec) {
  return { apiVersion: "orloj.dev/v1", kind, metadata: { name, labels: { of: "bench" } }, spec };
}

function policy(name: string, attachTo: readonly object[], checkpoint: string, allow: Spec) {
  const deny = { match: { "requester.kinds": ["worker"] } };
  return document("Policy", `bench-${name}`, { attachTo, checkpoints: [checkpoint], allow, deny });
}

function chainOf(agent: string): readonly Spec[] {
  return CHAIN.map((name) => ({ name, agent }));
}

// Nodes follow each other in the order of the list.
function workflow(name: string, nodes: readonly Spec[], template: Spec = {}): readonly object[] {
  const edges = nodes.slice(1).map((node, index) => ({ from: nodes[index]?.["name"], to: node["name"] }));
  const outputs = nodes.map(({ name: node, map }) => {
    const output = `nodes.${node}.${map === undefined ? "output" : "outputs"}`;
    return [
      node,
      map === undefined ? `\${{ has(${output}) ? ${output} : {} }}` : `\${{ has(${output}) ? size(${output}) : 0 }}`,
    ];
  });
  const requester = { match: { "requester.kinds": ["user"], "workflow.names": [name] } };
  return [
    document("AgentSystem", name, { nodes, edges, output: { value: Object.fromEntries(outputs) } }),
    document("WorkflowTemplate", name, { system: name, ...template }),
    policy(`${name.replace("bench-", "")}-people`, [{ kind: "WorkflowTemplate", name }], "workflow.run", requester),
  ];
}

// A write: its calls are granted, recorded in the ledger, and never made twice.
function countedTool(url: string) {
  return document("Tool", TOOL, {
    ...{ type: "http", description: "Counts its calls", effect: "write", guarded: true },
    http: { method: "POST", url, body: "${{ args }}", allowPrivateNetwork: true },
    inputSchema: { type: "object", required: ["n"], properties: { n: { type: "integer" } } },
  });
}
