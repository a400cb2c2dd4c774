// The manifests of the command stage, as objects; JSON is YAML.
// Workflows: one (a single node), chain (first then second), fan (start, then left and right, joined), caller (tools).

type Spec = Readonly<Record<string, unknown>>;

/** A manifest. */
export function document(kind: string, name: string, spec: Spec, labels: Record<string, string> = {}) {
  return { apiVersion: "orloj.dev/v1", kind, metadata: { name, labels }, spec };
}

/** A scripted agent; the tests play its worker. */
export function agent(name: string, spec: Spec = {}) {
  return document("Agent", name, {
    runtime: "model",
    model: { provider: "scripted", name: "s", script: [{ text: "x" }] },
    systemPrompt: "Answer.",
    outputSchema: { type: "object" },
    errorHandling: { retry: RETRY, onExhausted: "fail" },
    ...spec,
  });
}

const RETRY = { on: ["Timeout"], maxAttempts: 2, backoff: { initial: "1m", max: "1m", factor: 1, jitter: "none" } };

/** A tool that posts to the sink. */
export function tool(name: string, effect: string, spec: Spec = {}, http: Spec = {}) {
  return document("Tool", name, {
    type: "http",
    description: name,
    http: {
      ...{ method: "POST", url: `\${{ secret.sink.url }}/${name}`, body: "${{ args }}", allowPrivateNetwork: true },
      headers: { Authorization: "Bearer ${{ secret.sink.token }}" },
      ...http,
    },
    inputSchema: { type: "object", required: ["n"], properties: { n: { type: "integer" } } },
    effect,
    ...spec,
  });
}

/** An AgentSystem and its template of the same name. */
export function flow(name: string, system: Spec, template: Spec = {}) {
  return [
    document("AgentSystem", name, { output: { value: "done" }, ...system }),
    document("WorkflowTemplate", name, {
      ...{ system: name, parameters: { type: "object" }, timeout: "1m", cancellation: { grace: "5s" } },
      ...template,
    }),
  ];
}

/** A policy attached to a tool or an agent. */
export function policy(name: string, kind: string, target: string, groups: readonly string[], checkpoint: string) {
  return document("Policy", name, {
    mode: "enforce",
    attachTo: [{ kind, name: target }],
    checkpoints: [checkpoint],
    allow: { match: { "requester.groups": groups } },
  });
}

/** Everything that the stage applies. */
export function documents(): object[] {
  const nodes = (...names: string[]) => names.map((name) => ({ name, agent: "solo" }));
  return [
    agent("solo"),
    agent("parker", { errorHandling: { retry: RETRY, onExhausted: "deadLetter" } }),
    agent("gpu", { requirements: { labels: { zone: "gpu" } } }),
    agent("locked"),
    agent("caller", { tools: ["look", "write", "rewrite", "guarded", "missing"] }),
    tool("look", "read", { retry: { on: ["Http5xx"], maxAttempts: 2, backoff: { initial: "1s" } } }),
    tool("write", "write"),
    tool("rewrite", "write", { idempotency: { onUnknownOutcome: "retry" } }),
    tool("guarded", "destructive", { guarded: true }),
    tool("missing", "read", {}, { headers: { Authorization: "Bearer ${{ secret.sink.absent }}" } }),
    policy("guarded-engineering", "Tool", "guarded", ["engineering"], "tool.call"),
    policy("nobody-runs-locked", "Agent", "locked", ["nobody"], "agent.run"),
    policy("closed-to-all", "WorkflowTemplate", "closed", ["nobody"], "workflow.run"),
    ...flow("one", { nodes: nodes("only") }),
    ...flow("urgent", { nodes: nodes("only") }, { priority: "high" }),
    ...flow("patient", { nodes: nodes("only") }, { priority: "low" }),
    ...flow("closed", { nodes: nodes("only") }),
    ...flow("zoned", { nodes: [{ name: "only", agent: "gpu" }] }),
    ...flow("denied", { nodes: [{ name: "only", agent: "locked" }] }),
    ...flow("parked", { nodes: [{ name: "only", agent: "parker" }] }),
    ...flow("mixed", {
      nodes: [
        { name: "park", agent: "parker" },
        { name: "work", agent: "solo" },
      ],
    }),
    ...flow("pair", { nodes: nodes("left", "right") }),
    ...flow("calls", { nodes: [{ name: "only", agent: "caller" }] }),
    ...flow("chain", { nodes: nodes("first", "second"), edges: [{ from: "first", to: "second" }] }),
    ...flow("wide", {
      nodes: nodes("left", "right", "after"),
      edges: [{ from: "left", to: "after" }],
    }),
    ...flow("fan", {
      nodes: nodes("left", "right", "join"),
      edges: [
        { from: "left", to: "join" },
        { from: "right", to: "join" },
      ],
    }),
    ...flow(
      "tagged",
      { nodes: nodes("only") },
      {
        parameters: {
          type: "object",
          properties: { count: { type: "integer", default: 3 } },
          additionalProperties: false,
        },
        tags: {
          team: { from: "claim", claim: "team", required: true },
          tier: { from: "template", value: "gold" },
          ticket: { from: "request" },
        },
      },
    ),
  ];
}
