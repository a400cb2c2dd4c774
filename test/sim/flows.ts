// The small graphs that histories run, twice: as compiled plans for the world in memory, as manifests for the SQL layer.
// Their times keep two seconds away from every multiple of the step by which histories move time, so that no comparison is a tie.

import type { Json } from "../../kit/json.ts";
import type { Condition, Template } from "../../language/types.ts";
import type { GraphPlan, PlanEdge, PlanNode } from "../../server/graph/types.ts";
import type { RetryPolicy, ToolSpec } from "../../server/manifests/specs.ts";
import { document, flow as flowDocuments } from "../commands/command_manifests.ts";

/** Time moves by multiples of this. */
export const STEP_MS = 4_000;
export const TTL_MS = 30_000;
/** How long an Accept may take to reach the store: as the tick computes it from the ttl. */
export const ACCEPT_MS = 6_250;
/** Time without any tick after which the sweep waits. */
export const GAP_MS = 15_000;
export const GRACE_MS = 6_000;
export const RUN_TIMEOUT_MS = 150_000;
export const RETRY_DELAY_MS = 10_000;
export const ATTEMPTS_MAX = 3;
export const TOOL_ATTEMPTS_MAX = 2;

export const RETRY: RetryPolicy = {
  on: ["Timeout"],
  maxAttempts: ATTEMPTS_MAX,
  backoff: { initialMs: RETRY_DELAY_MS, maxMs: RETRY_DELAY_MS, factor: 1, jitter: "none" },
};

export interface Flow {
  readonly name: string;
  readonly nodes: readonly string[];
  /** "a b", "a b when" or "a b otherwise". */
  readonly edges: readonly string[];
  readonly onExhausted: "deadLetter" | "fail";
  readonly priority: "low" | "normal" | "high";
}

const sketch = (name: string, nodes: string, edges: readonly string[] = [], more: Partial<Flow> = {}): Flow => ({
  ...{ name, nodes: nodes.split(" "), edges, onExhausted: "fail", priority: "normal" },
  ...more,
});

export const FLOWS: readonly Flow[] = [
  sketch("one", "only"),
  sketch("chain", "first second", ["first second"]),
  sketch("fan", "left right join", ["left join", "right join"]),
  sketch("choice", "ask yes no", ["ask yes when", "ask no otherwise"]),
  sketch("parked", "only", [], { onExhausted: "deadLetter" }),
  sketch("urgent", "only", [], { priority: "high" }),
  sketch("mixed", "left right join", ["left join", "right join"], { onExhausted: "deadLetter", priority: "low" }),
];

type ToolRules = Pick<ToolSpec, "effect" | "idempotency" | "retry">;

const toolRetry: RetryPolicy = { ...RETRY, on: ["Http503"], maxAttempts: TOOL_ATTEMPTS_MAX };

/** look reads; write may have its effect once; rewrite forwards its key, so that it may be sent again. */
export const TOOLS: Readonly<Record<string, ToolRules>> = {
  look: { effect: "read", idempotency: { onUnknownOutcome: "deadLetter" }, retry: toolRetry },
  write: { effect: "write", idempotency: { onUnknownOutcome: "deadLetter" }, retry: toolRetry },
  rewrite: { effect: "write", idempotency: { onUnknownOutcome: "retry" }, retry: toolRetry },
} as unknown as Readonly<Record<string, ToolRules>>;
export const TOOL_NAMES = Object.keys(TOOLS);

const DONE: Template = { nodesRead: [], evaluate: () => ({ ok: true, value: "done" }) };
const WHEN: Condition = {
  text: "output.x",
  evaluate: ({ output }) => ({ ok: true, value: (output as { x: boolean }).x }),
};
const sound = () => undefined;
const same = (value: Json) => value;

function planOf({ nodes, edges }: Flow): GraphPlan {
  const all = edges.map((text, index): PlanEdge => {
    const [from = "", to = "", how] = text.split(" ");
    const plain = { index, set: index, from, to, outcome: "succeeded", otherwise: how === "otherwise" } as const;
    return { ...plain, ...(how === "when" && { when: WHEN }) };
  });
  const planned = nodes.map((name): [string, PlanNode] => [
    name,
    {
      ...{ name, agent: "solo", checkInput: sound, fillInput: same, first: false },
      incoming: all.filter((edge) => edge.to === name).length,
      outgoing: all.filter((edge) => edge.from === name),
    },
  ]);
  const entries = planned.filter(([, node]) => node.incoming === 0).map(([name]) => name);
  const incoming = Map.groupBy(all, (edge) => edge.to);
  const shape = { nodes: new Map(planned), entries, incoming, loops: new Map(), order: nodes };
  return { ...shape, output: DONE, checkOutput: sound, fillOutput: same };
}

export const PLANS: readonly GraphPlan[] = FLOWS.map(planOf);

const AGENTS = { fail: "failing", deadLetter: "parking" };
const BACKOFF = { initial: "10s", max: "10s", factor: 1, jitter: "none" };

/** The same flows, agents and tools as manifests; with the policies that a history may turn against them. */
export function documents(): object[] {
  const agent = (name: string, onExhausted: string) =>
    document("Agent", name, {
      runtime: "model",
      model: { provider: "scripted", name: "s", script: [{ text: "x" }] },
      systemPrompt: "Answer.",
      tools: TOOL_NAMES,
      outputSchema: { type: "object" },
      errorHandling: { retry: { on: ["Timeout"], maxAttempts: ATTEMPTS_MAX, backoff: BACKOFF }, onExhausted },
    });
  const tools = Object.entries(TOOLS).map(([name, { effect, idempotency }]) =>
    document("Tool", name, {
      ...{ type: "http", description: name, effect, idempotency },
      http: { method: "POST", url: "http://127.0.0.1:9/", body: "${{ args }}", allowPrivateNetwork: true },
      inputSchema: { type: "object", required: ["n"], properties: { n: { type: "integer" } } },
      retry: { on: ["Http503"], maxAttempts: TOOL_ATTEMPTS_MAX, backoff: BACKOFF },
    }),
  );
  const flows = FLOWS.flatMap(({ name, nodes, edges, onExhausted, priority }) =>
    flowDocuments(
      name,
      {
        nodes: nodes.map((node) => ({ name: node, agent: AGENTS[onExhausted] })),
        edges: edges.map((text) => {
          const [from, to, how] = text.split(" ");
          return {
            from,
            to,
            ...(how === "when" && { when: "output.x" }),
            ...(how === "otherwise" && { otherwise: true }),
          };
        }),
      },
      { timeout: `${RUN_TIMEOUT_MS / 1_000}s`, cancellation: { grace: `${GRACE_MS / 1_000}s` }, priority },
    ),
  );
  const agents = Object.entries(AGENTS).map(([onExhausted, name]) => agent(name, onExhausted));
  return [...agents, ...tools, ...flows, ...policies("")];
}

/** Policies on every agent and tool; `denied` says against which of them they are turned. */
export function policies(denied: "" | "agent" | "tool"): object[] {
  const policy = (
    name: string,
    targets: readonly { kind: string; name: string }[],
    checkpoint: string,
    allow: object,
  ) =>
    document("Policy", name, {
      ...{ mode: "enforce", attachTo: targets, checkpoints: [checkpoint] },
      allow,
    });
  const agents = Object.values(AGENTS).map((name) => ({ kind: "Agent", name }));
  const tools = TOOL_NAMES.map((name) => ({ kind: "Tool", name }));
  const group = (name: string) => ({ match: { "requester.groups": [name] } });
  // By the arguments, so that the call is denied and not the task before it leaves.
  const byArguments = { cel: "args.n < 0" };
  return [
    policy("agents", agents, "agent.run", group(denied === "agent" ? "nobody" : "engineering")),
    policy("tools", tools, "tool.call", denied === "tool" ? byArguments : group("engineering")),
  ];
}
