// The manifests of the benchmark: one agent without a tool, a graph of one node, a template, and policies on both.
// Applied by bench/fleet.ts. Policies are attached so that both decisions of a run are real ones.
// The agent of the latency suite asks the driver over HTTP, so that one clock sees the invocation and the start.

/** Workflow with a scripted model. */
export const NOOP = "bench-noop";
/** Workflow whose model is the driver. */
export const START = "bench-start";

/** All manifests as one file. @param modelUrl base URL of the driver's model endpoint */
export function benchManifests(modelUrl: string): string {
  const models = {
    [NOOP]: "{provider: scripted, name: noop, script: [{text: done}]}",
    [START]: `{provider: openai-compatible, name: start, baseUrl: "${modelUrl}"}`,
  };
  return Object.entries(models)
    .map(([name, model]) => workflow(name, model))
    .join("---\n");
}

function workflow(name: string, model: string): string {
  return `apiVersion: orloj.dev/v1
kind: Agent
metadata: {name: ${name}}
spec: {model: ${model}}
---
apiVersion: orloj.dev/v1
kind: AgentSystem
metadata: {name: ${name}}
spec:
  nodes: [{name: only, agent: ${name}}]
  output: {value: "\${{ has(nodes.only.output) ? nodes.only.output : {} }}"}
---
apiVersion: orloj.dev/v1
kind: WorkflowTemplate
metadata: {name: ${name}}
spec: {system: ${name}}
---
apiVersion: orloj.dev/v1
kind: Policy
metadata: {name: ${name}-people}
spec:
  attachTo: [{kind: WorkflowTemplate, name: ${name}}]
  checkpoints: [workflow.run]
  allow: {match: {requester.kinds: [user]}}
  deny: {match: {requester.kinds: [worker]}}
---
apiVersion: orloj.dev/v1
kind: Policy
metadata: {name: ${name}-agent}
spec:
  attachTo: [{kind: Agent, name: ${name}}]
  checkpoints: [agent.run]
  allow: {match: {workflow.names: [${name}], agent.names: [${name}]}}
`;
}
