// What chaos runs execute: agents with scripted models and tools of the counting service, in a chain, in branches that join, alone.
// Applied once by main.ts. Every operation carries `op`, by which the counting service knows it whatever key it comes with.

import { agent, httpTool, policy, system, template } from "../e2e/documents.ts";

const RETRY = {
  on: ["Http5xx", "ConnectionReset", "Timeout"],
  maxAttempts: 5,
  backoff: { initial: "50ms", max: "500ms" },
};

/** An agent that calls one tool with the operation of its input, and answers with the receipt. */
function calling(name: string, tool: string, args: object, spec: object = {}) {
  const script = [
    { when: "turn == 1", toolCalls: [{ name: tool, arguments: args }] },
    { output: { receipt: `\${{ results["${tool}"].receipt }}` } },
  ];
  return agent(name, script, { tools: [tool], ...spec });
}

const op = (part: string) => ({ op: `\${{ input.op }}/${part}`, delayMs: "${{ input.delayMs }}" });
const INPUT = { op: "${{ input.op }}", delayMs: "${{ input.delayMs }}" };
const PARAMETERS = {
  type: "object",
  required: ["op", "delayMs"],
  properties: { op: { type: "string" }, delayMs: { type: "integer" } },
};

function workflow(name: string, nodes: readonly object[], edges: readonly object[], value: object, spec: object = {}) {
  return [
    system(name, { inputSchema: PARAMETERS, nodes, edges, output: { schema: {}, value } }),
    template(name, { parameters: PARAMETERS, timeout: "10m", cancellation: { grace: "3s" }, ...spec }),
  ];
}

const node = (name: string) => ({ name, agent: name, input: INPUT });

/** Every document. */
export const DOCUMENTS: readonly object[] = [
  httpTool("honour", "/honour", {
    effect: "write",
    idempotency: { mode: "cached", onUnknownOutcome: "retry" },
    retry: RETRY,
    timeout: "30s",
  }),
  httpTool("once", "/once", { effect: "write", timeout: "30s" }),
  httpTool("look", "/read", { effect: "read", retry: RETRY, timeout: "30s", http: lookHttp() }),
  httpTool("denied", "/denied", { effect: "write" }),
  // By the arguments, so that the call is denied and not the task before it leaves.
  policy("never", { attachTo: [{ kind: "Tool", name: "denied" }], deny: { exists: "args" } }),

  calling("charge", "honour", op("charge")),
  calling("left", "honour", op("left")),
  calling("right", "honour", op("right")),
  calling("look", "look", op("look")),
  calling("wire", "once", op("wire")),
  calling("refuse", "denied", op("refuse")),
  agent("sum", [{ output: { sum: "${{ input.parts }}" } }]),

  ...workflow("chain", [node("charge"), node("look")], [{ from: "charge", to: "look" }], {
    charge: "${{ nodes.charge.output.receipt }}",
    look: "${{ nodes.look.output.receipt }}",
  }),
  ...workflow(
    "fork",
    [
      node("left"),
      node("right"),
      {
        name: "sum",
        agent: "sum",
        input: { parts: ["${{ nodes.left.output.receipt }}", "${{ nodes.right.output.receipt }}"] },
      },
    ],
    [{ from: ["left", "right"], to: "sum" }],
    { sum: "${{ nodes.sum.output.sum }}" },
  ),
  ...workflow("wire", [node("wire")], [], { wire: "${{ nodes.wire.output.receipt }}" }),
  ...workflow("refuse", [node("refuse")], [], { refuse: "${{ nodes.refuse.output }}" }),
  ...workflow("late", [node("charge")], [], { charge: "${{ nodes.charge.output.receipt }}" }, { timeout: "1s" }),
];

function lookHttp() {
  return { method: "POST", url: "${{ secret.sink.url }}/read", body: "${{ args }}", allowPrivateNetwork: true };
}
