// Checks a system as a graph: its shape, what its expressions read, and whether node inputs and outputs fit their schemas;
// and a template's input against its system. Called by validate.ts once every document of an apply was read on its own.
// Never reports what the schema of the kind already reported.

import type { Json, JsonObject } from "../../kit/json.ts";
import { compileValue, referencesOf, type ValueExpression } from "../../language/condition.ts";
import { sampleOf } from "../../language/schema_sample.ts";
import { OUTPUT_VARIABLES } from "./agent_system.ts";
import { KEY_VARIABLES } from "./concurrency.ts";
import { checkCondition } from "./expressions.ts";
import { edgeVariables } from "./graph_edges.ts";
import { NODE_VARIABLES } from "./graph_nodes.ts";
import { END, type GraphShape } from "./graph_order.ts";
import { checkShape } from "./graph_shape.ts";
import type { ReadDocument } from "./kinds.ts";
import { outputsSchema } from "./node_schemas.ts";
import { checkRead, type Scope, schemaAt } from "./reads.ts";
import { itemOf, misfit, overlaps, type Typed, typed, typeOfJson, typesOf } from "./schema_types.ts";
import type { AgentSpec, AgentSystemSpec, EdgeOutcome, Manifest, NodeSpec, WorkflowTemplateSpec } from "./specs.ts";
import { checkTemplateTypes, LONE_PATH } from "./template_typing.ts";
import { child, positionInside, type Tree } from "./tree.ts";
import { INPUT_VARIABLES } from "./workflow_template.ts";

/** What a node's agent or tool takes and gives; undefined if it does not exist or has errors. */
export type SchemasOf = (node: NodeSpec) => Pick<AgentSpec, "inputSchema" | "outputSchema"> | undefined;

/** What `iteration` is when a node is executed first. */
const FIRST_ITERATION = { index: 0, max: 0 };
const ERROR_SAMPLE = { class: "Error", message: "what went wrong" };
const KEY_TYPES = typed({ type: ["string", "integer", "number", "boolean"] });
const ERROR_SCHEMA: JsonObject = {
  type: "object",
  additionalProperties: false,
  required: ["class", "message"],
  properties: { class: { type: "string" }, message: { type: "string" } },
};

/** Checks a system's graph. */
export function checkGraph(document: ReadDocument, schemasOf: SchemasOf): void {
  const spec = (document.manifest as Manifest<"AgentSystem">).spec;
  const { findings, tree } = document;
  const shape = checkShape(findings, spec, tree);
  if (shape === undefined) return;
  new GraphChecker(document, spec, shape, schemasOf).check();
}

class GraphChecker {
  readonly #document: ReadDocument;
  readonly #spec: AgentSystemSpec;
  readonly #shape: GraphShape;
  readonly #agents: ReadonlyMap<string, ReturnType<SchemasOf>>;
  /** Schemas of each node's output or outputs. */
  readonly #schemas: ReadonlyMap<string, JsonObject | undefined>;
  readonly #outputs: ReadonlyMap<string, Typed | undefined>;
  readonly #mapped: ReadonlySet<string>;
  readonly #input: Typed | undefined;
  readonly #sample: JsonObject;

  constructor(document: ReadDocument, spec: AgentSystemSpec, shape: GraphShape, schemasOf: SchemasOf) {
    this.#document = document;
    this.#spec = spec;
    this.#shape = shape;
    this.#agents = new Map(spec.nodes.map((node) => [node.name, schemasOf(node)]));
    this.#schemas = new Map(spec.nodes.map((node) => [node.name, this.#schemaOf(node)]));
    this.#outputs = new Map([...this.#schemas].map(([name, schema]) => [name, typed(schema)]));
    this.#mapped = new Set(spec.nodes.flatMap(({ name, map }) => (map === undefined ? [] : [name])));
    this.#input = typed(spec.inputSchema);
    this.#sample = { ...sampled("input", spec.inputSchema), iteration: FIRST_ITERATION };
  }

  check(): void {
    const spec = child(this.#document.tree, "spec");
    const nodes = child(spec, "nodes");
    for (const [index, node] of this.#spec.nodes.entries()) {
      const at = nodes?.kind === "list" ? nodes.items[index] : undefined;
      if (at !== undefined) this.#checkNode(node, at, `spec.nodes[${index}]`);
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

  #schemaOf({ name, map }: NodeSpec): JsonObject | undefined {
    const output = this.#agents.get(name)?.outputSchema;
    return map === undefined ? output : outputsSchema(output, map);
  }

  #memberOf(name: string): "output" | "outputs" {
    return this.#mapped.has(name) ? "outputs" : "output";
  }

  #scope(reader: string, more: Scope["schemas"] = {}): Scope {
    const nodes = { shape: this.#shape, reader, outputs: this.#outputs, mapped: this.#mapped };
    return { schemas: { input: this.#input, ...more }, nodes };
  }

  #nodesSample(reader: string): JsonObject {
    const nodes: JsonObject = {};
    for (const name of this.#shape.ancestors(reader))
      nodes[name] = sampled(this.#memberOf(name), this.#schemas.get(name));
    return { ...this.#sample, nodes };
  }

  #checkNode(node: NodeSpec, tree: Tree, path: string): void {
    const { findings } = this.#document;
    const { name, map } = node;
    const sample = this.#nodesSample(name);
    const plain = { findings, scope: this.#scope(name), sample, variables: NODE_VARIABLES };
    const transform = child(tree, "transform");
    if (transform !== undefined) {
      checkTemplateTypes(plain, transform, `${path}.transform`, undefined);
      return;
    }
    const target = typed(this.#agents.get(name)?.inputSchema);
    const item = map === undefined ? undefined : this.#checkOver(name, tree, path);
    const input = child(tree, "input");
    if (input !== undefined) {
      const mapped = map && {
        scope: this.#scope(name, { [map.as]: item }),
        sample: { ...sample, ...sampled(map.as, item?.schema) },
        variables: [...NODE_VARIABLES, map.as],
      };
      checkTemplateTypes({ ...plain, ...mapped }, input, `${path}.input`, target);
      return;
    }
    const [given, what] = map === undefined ? [this.#input, "the system's"] : [item, "the item"];
    const problem = misfit(given, target);
    if (problem === undefined) return;
    const message = `without an input of its own the node gets ${what}, which does not fit its agent: ${problem}`;
    findings.error("E-INPUT", (child(tree, "name") ?? tree).at, path, message, "give the node an input");
  }

  /** Schema of an item, as far as schemas say. */
  #checkOver(name: string, tree: Tree, path: string): Typed | undefined {
    const { findings } = this.#document;
    const over = child(child(tree, "map"), "over");
    if (over?.kind !== "scalar" || typeof over.value !== "string") return undefined;
    const scope = this.#scope(name);
    const references = referencesOf(over.value);
    for (const reference of references) {
      checkRead(findings, reference, scope, positionInside(over, reference.offset), `${path}.map.over`);
    }
    const [only] = references;
    if (only === undefined || references.length > 1 || !LONE_PATH.test(over.value)) return undefined;
    const list = schemaAt(only.path, scope);
    const types = typesOf(list);
    if (list === undefined || types === undefined) return undefined;
    if (types.has("array")) return itemOf(list);
    const message = `over is a list, found ${[...types].join(" or ")}`;
    findings.error("E-INPUT", over.at, `${path}.map.over`, message);
    return undefined;
  }

  #checkEdge(edge: Tree, path: string): void {
    const when = child(edge, "when");
    const from = child(edge, "from");
    if (when?.kind !== "scalar" || typeof when.value !== "string" || from === undefined) return;
    const sources = from.kind === "list" ? from.items : [from];
    const word = child(edge, "outcome");
    const outcome = (word?.kind === "scalar" ? word.value : "succeeded") as EdgeOutcome;
    for (const source of sources) {
      if (source.kind !== "scalar") continue;
      const before = this.#document.findings.errors;
      this.#checkCondition(when, String(source.value), outcome, path);
      // One report for a condition that several sources share.
      if (this.#document.findings.errors > before) return;
    }
  }

  #checkCondition(when: Tree & { kind: "scalar" }, source: string, outcome: EdgeOutcome, path: string): void {
    const { findings } = this.#document;
    const before = findings.errors;
    const member = this.#memberOf(source);
    const failed = outcome !== "succeeded";
    const schemas = failed ? { error: typed(ERROR_SCHEMA) } : { [member]: this.#outputs.get(source) };
    const scope: Scope = { schemas: { input: this.#input, ...schemas } };
    for (const reference of referencesOf(when.value as string)) {
      const at = positionInside(when, reference.offset);
      const [variable = ""] = reference.path;
      if ((variable === "output" || variable === "outputs") && variable !== member) {
        const message = `node "${source}" has no ${variable}`;
        findings.error("E-EXPRESSION", at, path, message, `it has ${member}`);
      } else checkRead(findings, reference, scope, at, path);
    }
    const ended = failed ? { error: ERROR_SAMPLE } : sampled(member, this.#schemas.get(source));
    if (findings.errors === before) {
      checkCondition(findings, when, path, edgeVariables(outcome), { ...this.#sample, ...ended });
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
  checkTemplateTypes({ findings, ...invocation(spec), variables: INPUT_VARIABLES }, input, "spec.input", target);
}

/** Checks what the key of a template's concurrency reads, and that it is something to count by. */
export function checkConcurrencyKey(document: ReadDocument): void {
  const spec = (document.manifest as Manifest<"WorkflowTemplate">).spec;
  const key = spec.concurrency?.key;
  const tree = child(child(child(document.tree, "spec"), "concurrency"), "key");
  const compiled = key === undefined ? undefined : compileValue(key, { variables: KEY_VARIABLES });
  if (key === undefined || tree?.kind !== "scalar" || compiled?.ok !== true) return;
  const { findings } = document;
  const path = "spec.concurrency.key";
  const { scope, sample } = invocation(spec);
  const before = findings.errors;
  const references = referencesOf(key);
  for (const reference of references) {
    checkRead(findings, reference, scope, positionInside(tree, reference.offset), path);
  }
  const [lone] = references;
  const source = lone !== undefined && LONE_PATH.test(key) ? schemaAt(lone.path, scope) : undefined;
  const wrong = source === undefined ? sampledKeyProblem(compiled.value, sample) : misfit(source, KEY_TYPES);
  if (findings.errors > before || wrong === undefined) return;
  findings.error(
    "E-INPUT",
    tree.at,
    path,
    `a key is a text, a number or a boolean: ${wrong}`,
    "name a member of it, or remove the key",
  );
}

// A sample that gives no value says nothing: it is checked again for each invocation.
function sampledKeyProblem(key: ValueExpression, sample: JsonObject): string | undefined {
  const result = key.evaluate(sample);
  const found = result.ok ? typeOfJson(result.value) : undefined;
  return found === undefined || overlaps(new Set([found]), typesOf(KEY_TYPES)) ? undefined : `this is of type ${found}`;
}

// What a template may read of an invocation.
function invocation(spec: WorkflowTemplateSpec) {
  const tags = new Map(Object.entries(spec.tags).map(([name, tag]) => [name, tag.from === "template" || tag.required]));
  const tagSample = Object.fromEntries(Object.keys(spec.tags).map((name) => [name, "sample"]));
  return {
    scope: { schemas: { params: typed(spec.parameters) }, tags },
    sample: { ...sampled("params", spec.parameters), tags: tagSample },
  };
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
