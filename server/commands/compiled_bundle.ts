// A bundle made ready to use: schemas, templates, plan and routes compiled once, cached by digest.
// Called through caches.ts by invoke, claim, settle and authorize_tool_call. Immutable; a cache entry can never be stale, only evicted.

import { DomainError } from "../../kit/errors.ts";
import type { Json, JsonObject } from "../../kit/json.ts";
import { compileValue, type ValueExpression } from "../../language/condition.ts";
import { compileSchema, type SchemaCheck } from "../../language/json_schema.ts";
import { compileTemplate } from "../../language/template.ts";
import type { Template } from "../../language/types.ts";
import { compilePlan } from "../graph/plan.ts";
import type { GraphPlan } from "../graph/types.ts";
import type { Bundle, Resolved } from "../manifests/bundle.ts";
import type { AgentSpec, AgentTool, ToolSpec } from "../manifests/specs.ts";
import { type Requirements, requirementsOf, routeOf } from "../queue/route.ts";
import type { BundleRow } from "../storage/bundle_queries.ts";

/** A tool as one agent declares it. */
export interface CompiledTool {
  readonly declared: AgentTool;
  readonly tool: Resolved<ToolSpec>;
  readonly input: SchemaCheck;
  /** The declared idempotency key, over {args}. */
  readonly key?: ValueExpression;
}

/** An agent of a bundle. */
export interface CompiledAgent {
  readonly agent: Resolved<AgentSpec>;
  readonly route: string;
  readonly requirements: Requirements;
  /** By the name that the model sees. */
  readonly tools: ReadonlyMap<string, CompiledTool>;
  /** What its output must fit; absent: any output. */
  readonly output?: SchemaCheck;
}

/** See the file header. */
export interface CompiledBundle {
  readonly row: BundleRow;
  readonly bundle: Bundle;
  readonly plan: GraphPlan;
  readonly parameters: SchemaCheck;
  /** Absent: the parameters are the input. */
  readonly input?: Template;
  /** By what its runs are counted together; absent: all of them are, or none. */
  readonly groupKey?: ValueExpression;
  /** Absent: any input. */
  readonly systemInput?: SchemaCheck;
  readonly agents: ReadonlyMap<string, CompiledAgent>;
}

function schema(document: JsonObject, where: string): SchemaCheck {
  const compiled = compileSchema(document);
  if (!compiled.ok) throw new DomainError("INVARIANT_BROKEN", `stored ${where} does not compile: ${compiled.error}`);
  return compiled.value;
}

function template(value: Json, variables: string[], where: string): Template {
  const compiled = compileTemplate(value, { variables });
  if (!compiled.ok) throw new DomainError("INVARIANT_BROKEN", `stored ${where} does not compile`);
  return compiled.value;
}

function keyOf(text: string | undefined, variables: string[], where: string): ValueExpression | undefined {
  if (text === undefined) return undefined;
  const compiled = compileValue(text, { variables });
  if (!compiled.ok) throw new DomainError("INVARIANT_BROKEN", `stored key of ${where} does not compile`);
  return compiled.value;
}

function compileAgent(bundle: Bundle, agent: Resolved<AgentSpec>): CompiledAgent {
  const tools = new Map<string, CompiledTool>();
  for (const declared of agent.spec.tools) {
    const tool = bundle.tools[declared.ref];
    if (tool === undefined) throw new DomainError("INVARIANT_BROKEN", `bundle lacks tool ${declared.ref}`);
    const input = schema(tool.spec.inputSchema, `input schema of ${declared.ref}`);
    const key = keyOf(tool.spec.idempotency.key, ["args"], declared.ref);
    tools.set(declared.as, { declared, tool, input, ...(key && { key }) });
  }
  const requirements = requirementsOf(agent.spec);
  const { outputSchema } = agent.spec;
  const output = outputSchema === undefined ? {} : { output: schema(outputSchema, `output schema of ${agent.name}`) };
  return { agent, route: routeOf(requirements), requirements, tools, ...output };
}

/** Compiles a bundle that resolve made, or that was read back from the store. */
export function compileBundle(row: BundleRow): CompiledBundle {
  const bundle = JSON.parse(row.document) as Bundle;
  const workflow = bundle.workflow.spec;
  const groupKey = keyOf(workflow.concurrency?.key, ["params", "tags"], bundle.workflow.name);
  const systemSchema = bundle.system.spec.inputSchema;
  return {
    row,
    bundle,
    plan: compilePlan(bundle),
    parameters: schema(workflow.parameters, "parameters schema"),
    ...(workflow.input === undefined ? {} : { input: template(workflow.input, ["params", "tags"], "workflow input") }),
    ...(groupKey === undefined ? {} : { groupKey }),
    ...(systemSchema === undefined ? {} : { systemInput: schema(systemSchema, "system input schema") }),
    agents: new Map(Object.entries(bundle.agents).map(([name, agent]) => [name, compileAgent(bundle, agent)])),
  };
}
