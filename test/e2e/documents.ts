// Manifests as objects, for tests that say only what matters to them; JSON is YAML.

type Spec = Readonly<Record<string, unknown>>;

function document(kind: string, name: string, spec: Spec) {
  return { apiVersion: "orloj.dev/v1", kind, metadata: { name }, spec };
}

/** An agent that answers by rules, with JSON. */
export function agent(name: string, script: readonly object[], spec: Spec = {}) {
  return document("Agent", name, {
    runtime: "model",
    model: { provider: "scripted", name: "script", script },
    systemPrompt: "Answer.",
    outputSchema: { type: "object" },
    ...spec,
  });
}

/** An agent that answers with JSON, and asks the chat completions API at a base URL. */
export function askingAgent(name: string, baseUrl: string, spec: Spec = {}) {
  return document("Agent", name, {
    runtime: "model",
    model: { provider: "openai-compatible", name: "m", baseUrl },
    systemPrompt: "Answer.",
    outputSchema: { type: "object" },
    ...spec,
  });
}

/** A tool that calls a path of the counting server: GET for reads, POST with the arguments for the rest. */
export function httpTool(name: string, path: string, spec: Spec & { readonly effect: string }) {
  const read = spec.effect === "read";
  return document("Tool", name, {
    type: "http",
    description: name,
    http: {
      method: read ? "GET" : "POST",
      url: `\${{ secret.sink.url }}${path}`,
      ...(read ? {} : { body: "${{ args }}" }),
      allowPrivateNetwork: true,
    },
    inputSchema: { type: "object" },
    ...spec,
  });
}

export function commandTool(name: string, argv: readonly string[], spec: Spec = {}) {
  const command = { argv };
  return document("Tool", name, {
    type: "command",
    description: name,
    command,
    inputSchema: { type: "object" },
    effect: "read",
    ...spec,
  });
}

export function system(name: string, spec: Spec) {
  return document("AgentSystem", name, spec);
}

export function template(name: string, spec: Spec = {}) {
  return document("WorkflowTemplate", name, { system: name, ...spec });
}

export function policy(name: string, spec: Spec) {
  return document("Policy", name, spec);
}

/** A workflow of that name that is one agent of that name. */
export function single(name: string, spec: Spec = {}): readonly object[] {
  const value = "${{ nodes.only.output }}";
  return [
    system(name, { nodes: [{ name: "only", agent: name }], output: { schema: {}, value } }),
    template(name, spec),
  ];
}

/** An answer of the chat completions API. */
export function completion(message: { content?: string; toolCalls?: readonly { name: string; arguments: object }[] }) {
  const calls = (message.toolCalls ?? []).map((call, index) => ({
    id: `call_${index}`,
    type: "function",
    function: { name: call.name, arguments: JSON.stringify(call.arguments) },
  }));
  const choice = {
    index: 0,
    finish_reason: calls.length > 0 ? "tool_calls" : "stop",
    message: { role: "assistant", content: message.content ?? null, ...(calls.length > 0 && { tool_calls: calls }) },
  };
  return { body: JSON.stringify({ id: "c", object: "chat.completion", choices: [choice] }) };
}

/** A workflow `hello` of one agent, as a file has it. */
export const HELLO = `
apiVersion: orloj.dev/v1
kind: Agent
metadata: {name: hello}
spec: {model: {provider: scripted, name: hello, script: [{text: hello}]}}
---
apiVersion: orloj.dev/v1
kind: AgentSystem
metadata: {name: hello}
spec:
  nodes: [{name: hello, agent: hello}]
  output: {value: "\${{ has(nodes.hello.output) ? nodes.hello.output : {} }}"}
---
apiVersion: orloj.dev/v1
kind: WorkflowTemplate
metadata: {name: hello}
spec: {system: hello}
`;
