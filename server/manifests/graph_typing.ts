// Checks a system as a graph: its shape, what its expressions read, and whether node inputs and outputs fit their schemas;
// and a template's input against its system. Called by validate.ts once every document of an apply was read on its own.
// Never reports what the schema of the kind already reported.

import type { Json, JsonObject } from "../../kit/json.ts";
import { referencesOf } from "../../language/condition.ts";
import { sampleOf } from "../../language/schema_sample.ts";
import { EDGE_VARIABLES, INPUT_ITERATION, NODE_VARIABLES, OUTPUT_VARIABLES } from "./agent_system.ts";
import { checkCondition } from "./expressions.ts";
import { checkShape, END, type GraphShape } from "./graph_shape.ts";
import type { ReadDocument } from "./kinds.ts";
import { checkRead, type Scope } from "./reads.ts";
import { misfit, type Typed, typed } from "./schema_types.ts";
import type { AgentSpec, AgentSystemSpec, Manifest, WorkflowTemplateSpec } from "./specs.ts";
import { checkTemplateTypes } from "./template_typing.ts";
import { child, positionInside, type Tree } from "./tree.ts";
import { INPUT_VARIABLES } from "./workflow_template.ts";

/** Agent of a node by name; undefined if it does not exist or has errors. */
export type AgentOf = (name: string) => AgentSpec | undefined;

/** Checks a system's graph. */
export function checkGraph(document: ReadDocument, agentOf: AgentOf): void {
  const spec = (document.manifest as Manifest<"AgentSystem">).spec;
  const { findings, tree } = document;
  const shape = checkShape(findings, spec, tree);
  if (shape === undefined) return;
  new GraphChecker(document, spec, shape, agentOf).check();
}

class GraphChecker {
  readonly #document: ReadDocument;
  readonly #spec: AgentSystemSpec;
  readonly #shape: GraphShape;
  readonly #agents: ReadonlyMap<string, AgentSpec | undefined>;
  readonly #outputs: ReadonlyMap<string, Typed | undefined>;
  readonly #input: Typed | undefined;
  readonly #sample: JsonObject;

  constructor(document: ReadDocument, spec: AgentSystemSpec, shape: GraphShape, agentOf: AgentOf) {
    this.#document = document;
    this.#spec = spec;
    this.#shape = shape;
    this.#agents = new Map(spec.nodes.map((node) => [node.name, agentOf(node.agent)]));
    this.#outputs = new Map([...this.#agents].map(([name, agent]) => [name, typed(agent?.outputSchema)]));
    this.#input = typed(spec.inputSchema);
    this.#sample = { ...sampled("input", spec.inputSchema), iteration: INPUT_ITERATION };
  }

  check(): void {
    const spec = child(this.#document.tree, "spec");
    const nodes = child(spec, "nodes");
    for (const [index, node] of this.#spec.nodes.entries()) {
      const at = nodes?.kind === "list" ? nodes.items[index] : undefined;
      if (at !== undefined) this.#checkNode(node.name, at, `spec.nodes[${index}]`);
    }
    const edges = child(spec, "edges");
    for (const [index, edge] of (edges?.kind === "list" ? edges.items : []).entries())
      this.#checkEdge(edge, `spec.edges[${index}].when`);
    const value = child(child(spec, "output"), "value");
    const typing = {
      findings: this.#document.findings,
      scope: this.#scope(END),
      sample: this.#nodesSample(END),
      variables: OUTPUT_VARIABLES,
    };
    if (value !== undefined) checkTemplateTypes(typing, value, "spec.output.value", typed(this.#spec.output.schema));
  }

  #scope(reader: string): Scope {
    return { schemas: { input: this.#input }, nodes: { shape: this.#shape, reader, outputs: this.#outputs } };
  }

  #nodesSample(reader: string): JsonObject {
    const nodes: JsonObject = {};
    for (const name of this.#shape.ancestors(reader)) {
      const output = this.#agents.get(name)?.outputSchema;
      nodes[name] = sampled("output", output);
    }
    return { ...this.#sample, nodes };
  }

  #checkNode(name: string, tree: Tree, path: string): void {
    const { findings } = this.#document;
    const target = typed(this.#agents.get(name)?.inputSchema);
    const input = child(tree, "input");
    if (input !== undefined) {
      const typing = { findings, scope: this.#scope(name), sample: this.#nodesSample(name), variables: NODE_VARIABLES };
      checkTemplateTypes(typing, input, `${path}.input`, target);
      return;
    }
    const problem = misfit(this.#input, target);
    if (problem === undefined) return;
    const message = `without an input of its own the node gets the system's, which does not fit its agent: ${problem}`;
    findings.error("E-INPUT", (child(tree, "name") ?? tree).at, path, message, "give the node an input");
  }

  #checkEdge(edge: Tree, path: string): void {
    const when = child(edge, "when");
    const from = child(edge, "from");
    if (when?.kind !== "scalar" || typeof when.value !== "string" || from === undefined) return;
    const sources = from.kind === "list" ? from.items : [from];
    for (const source of sources) {
      if (source.kind !== "scalar") continue;
      const before = this.#document.findings.errors;
      const name = String(source.value);
      const scope = { schemas: { input: this.#input, output: this.#outputs.get(name) } };
      for (const reference of referencesOf(when.value)) {
        checkRead(this.#document.findings, reference, scope, positionInside(when, reference.offset), path);
      }
      const sample = { ...this.#sample, ...sampled("output", this.#agents.get(name)?.outputSchema) };
      if (this.#document.findings.errors === before)
        checkCondition(this.#document.findings, when, path, EDGE_VARIABLES, sample);
      // One report for a condition that several sources share.
      if (this.#document.findings.errors > before) return;
    }
  }
}

function sampled(name: string, schema: JsonObject | undefined): JsonObject {
  const sample: Json | undefined = schema === undefined ? undefined : sampleOf(schema);
  return sample === undefined ? {} : { [name]: sample };
}

/** Checks a template's input against its system's input schema. */
export function checkWorkflowInput(document: ReadDocument, system: AgentSystemSpec | undefined): void {
  const spec: WorkflowTemplateSpec = (document.manifest as Manifest<"WorkflowTemplate">).spec;
  const { findings, tree } = document;
  const target = typed(system?.inputSchema);
  const params = typed(spec.parameters);
  const input = child(child(tree, "spec"), "input");
  if (input === undefined) {
    const problem = misfit(params, target);
    const message = `without an input of its own the system gets the parameters, which do not fit it: ${problem}`;
    if (problem !== undefined)
      findings.error("E-INPUT", document.at, "spec.input", message, "give the template an input");
    return;
  }
  const tags = new Map(Object.entries(spec.tags).map(([name, tag]) => [name, tag.from === "template" || tag.required]));
  const tagSample = Object.fromEntries(Object.keys(spec.tags).map((name) => [name, "sample"]));
  const typing = {
    findings,
    scope: { schemas: { params }, tags },
    sample: { ...sampled("params", spec.parameters), tags: tagSample },
    variables: INPUT_VARIABLES,
  };
  checkTemplateTypes(typing, input, "spec.input", target);
}

/** Checks an agent's prompt against its own input schema. */
export function checkPrompt(document: ReadDocument): void {
  const spec = (document.manifest as Manifest<"Agent">).spec;
  const prompt = child(child(document.tree, "spec"), "prompt");
  if (prompt === undefined) return;
  const scope = { schemas: { input: typed(spec.inputSchema) } };
  const typing = {
    findings: document.findings,
    scope,
    sample: sampled("input", spec.inputSchema),
    variables: ["input"],
  };
  checkTemplateTypes(typing, prompt, "spec.prompt", undefined);
}

const TOOL_TEMPLATES = [
  ["http", "url"],
  ["http", "headers"],
  ["http", "body"],
  ["command", "argv"],
  ["command", "stdin"],
  ["command", "env"],
] as const;

/** Checks what a tool's blocks read of its arguments. */
export function checkToolReads(document: ReadDocument): void {
  const spec = (document.manifest as Manifest<"Tool">).spec;
  const scope = { schemas: { args: typed(spec.inputSchema) } };
  const typing = { findings: document.findings, scope, sample: {}, variables: ["args", "secret"] };
  for (const [block, key] of TOOL_TEMPLATES) {
    const tree = child(child(child(document.tree, "spec"), block), key);
    if (tree !== undefined) checkTemplateTypes(typing, tree, `spec.${block}.${key}`, undefined);
  }
}
