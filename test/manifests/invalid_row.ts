// Rows of the table of manifests that must be refused: each with the place (§ stands right before it), code and hint expected.
// `agent`, `tool`, … wrap a spec in a document so that a row shows what matters.
// Used by invalid_manifests.ts and the files that it joins.

/** One row: the finding that the manifest must draw. */
export interface InvalidManifest {
  readonly name: string;
  /** YAML with one § right before the place of the finding. */
  readonly yaml: string;
  readonly code: string;
  /** Part of the message or hint. */
  readonly says: string;
  readonly severity?: "warning";
}

/** A document around a spec. */
export const head = (kind: string, name: string, spec: string) =>
  `apiVersion: orloj.dev/v1\nkind: ${kind}\nmetadata: {name: ${name}}\nspec:\n${spec.replace(/^/gm, "  ")}\n`;
/** A model that needs nothing. */
export const MODEL = 'model: {provider: scripted, script: [{text: "hello"}]}';
/** An agent with a model. */
export const agent = (spec: string) => head("Agent", "worker", `${MODEL}\n${spec}`);
/** An agent with this model block. */
export const model = (spec: string) => head("Agent", "worker", `model:\n${spec.replace(/^/gm, "  ")}`);
/** A sound http block. */
export const HTTP = 'http: {method: POST, url: "https://pay.example/refunds"}';
/** What every tool needs. */
export const TOOL =
  "description: Refunds\ninputSchema: {type: object, properties: {id: {type: string}}, required: [id]}";
/** An http tool with the rest of its spec. */
export const tool = (spec: string, effect = "write") =>
  head("Tool", "refund", `type: http\n${TOOL}\neffect: ${effect}\n${spec}`);
/** A read tool of type command. */
export const command = (spec: string) => head("Tool", "refund", `type: command\n${TOOL}\neffect: read\n${spec}`);
/** Two agents: asker with schemas, free without. */
export const AGENTS = [
  head(
    "Agent",
    "asker",
    `${MODEL}\ninputSchema: {type: object, required: [question], properties: {question: {type: string}, count: {type: integer}}, additionalProperties: false}\noutputSchema: {type: object, required: [route], properties: {route: {type: string}, score: {type: number}}}`,
  ),
  head("Agent", "free", MODEL),
].join("---\n");
/** Input schema of the system. */
export const INPUT =
  "inputSchema: {type: object, required: [text], properties: {text: {type: string}, size: {type: integer}}}";
/** A system with agents to name and an input. */
export const system = (spec: string) => `${AGENTS}---\n${head("AgentSystem", "desk", `${INPUT}\n${spec}`)}`;
/** A sound output. */
export const OUT = "output: {value: {done: true}}";
/** Two nodes, a and b. */
export const TWO =
  'nodes:\n  - {name: a, agent: asker, input: {question: "${{ input.text }}"}}\n  - {name: b, agent: free}';
/** A policy with agents to attach to. */
export const policy = (spec: string) => `${AGENTS}---\n${head("Policy", "only", spec)}`;
/** A sound allow. */
export const MATCH = "allow: {match: {requester.groups: [ops]}}";
/** A sound attachment. */
export const ATTACH = "attachTo: [{kind: Agent, name: free}]";
/** A template over a small system. */
export const template = (spec: string) =>
  `${AGENTS}---\n${head("AgentSystem", "desk", `${INPUT}\nnodes: [{name: b, agent: free}]\n${OUT}`)}---\n${head("WorkflowTemplate", "flow", `system: desk\nparameters: {type: object, required: [text], properties: {text: {type: string}, size: {type: integer}}}\n${spec}`)}`;
/** Makes a row. */
export const row = (code: string, name: string, yaml: string, says = "", severity?: "warning"): InvalidManifest => ({
  name,
  yaml,
  code,
  says,
  ...(severity && { severity }),
});
