// Resolves a workflow to its bundle: the specs that a run uses, content-addressed; and the worker's view of a bundle.
// Called by commands at Invoke with a lookup over one catalog revision. Pure.
// The worker view never holds an endpoint, header, argv, environment or secret of an agent or tool.

import { DomainError } from "../../kit/errors.ts";
import { canonicalJson, type Json, sha256 } from "../../kit/json.ts";
import type { AgentView, Bundle, Resolved, ToolView, WorkerViewDocument } from "./bundle.ts";
import { inlineSystems } from "./inline_systems.ts";
import { type ManifestReference, SYSTEM_NAMESPACE } from "./references.ts";
import type {
  AgentSpec,
  AgentSystemSpec,
  AgentTool,
  Kind,
  Manifest,
  ModelSpec,
  NodeSpec,
  SpecOf,
  ToolSpec,
  WorkflowTemplateSpec,
} from "./specs.ts";
import { TOOL_AGENT_PREFIX, toolAgent } from "./tool_agent.ts";

/** A manifest as it is stored. */
export interface StoredManifest {
  readonly manifest: Manifest;
  readonly generation: number;
  readonly digest: string;
}

/** Finds stored manifests of one catalog revision. */
export type StoredLookup = (kind: Kind, namespace: string, name: string) => StoredManifest | undefined;

/** A bundle with its canonical text and the digest of that text. */
export interface ResolvedBundle {
  readonly bundle: Bundle;
  readonly text: string;
  readonly digest: string;
}

/**
 * Resolves a workflow.
 *
 * @throws WORKFLOW_NOT_FOUND if there is no such template; RESOURCE_NOT_FOUND if something it refers to is gone (deleted by force).
 */
export function resolveBundle(namespace: string, name: string, lookup: StoredLookup): ResolvedBundle {
  const template = lookup("WorkflowTemplate", namespace, name);
  if (template === undefined) {
    throw new DomainError(
      "WORKFLOW_NOT_FOUND",
      `workflow ${namespace}/${name} does not exist; apply its WorkflowTemplate`,
      { namespace, workflow: name },
    );
  }
  const workflow = resolved<WorkflowTemplateSpec>(template);
  const systemStored = follow(template.manifest, { kind: "AgentSystem", name: workflow.spec.system, path: [] }, lookup);
  const agents: Record<string, Resolved<AgentSpec>> = {};
  const tools: Record<string, Resolved<ToolSpec>> = {};
  const { nodes, edges, systems } = inlineSystems(systemStored, {
    system: (from, sought) => follow(from.manifest, { kind: "AgentSystem", name: sought, path: [] }, lookup),
    agent: (from, node) => keepAgent(from, node, agents, tools, lookup),
  });
  const { spec, ...identity } = resolved<AgentSystemSpec>(systemStored);
  const contained = systems.map((one) => {
    const { spec: _spec, ...known } = resolved<AgentSystemSpec>(one);
    return known;
  });
  const bundle: Bundle = {
    ...{ workflow, system: { ...identity, spec: { ...spec, nodes, edges } }, agents, tools },
    ...(contained.length > 0 && { systems: contained }),
  };
  const text = canonicalJson(bundle as unknown as Json);
  return { bundle, text, digest: sha256(text) };
}

// What executes a node: an agent, or the one that stands for a tool. Of two namespaces, the second by one name is kept as namespace/name.
function keepAgent(
  from: StoredManifest,
  { agent, tool }: NodeSpec,
  agents: Record<string, Resolved<AgentSpec>>,
  tools: Record<string, Resolved<ToolSpec>>,
  lookup: StoredLookup,
): string | undefined {
  const name = tool ?? agent;
  if (name === undefined) return undefined;
  const found = follow(from.manifest, { kind: tool === undefined ? "Agent" : "Tool", name, path: [] }, lookup);
  const { namespace } = found.manifest.metadata;
  const prefix = tool === undefined ? "" : TOOL_AGENT_PREFIX;
  const taken = agents[`${prefix}${name}`];
  const key = `${prefix}${taken === undefined || taken.namespace === namespace ? "" : `${namespace}/`}${name}`;
  if (agents[key] !== undefined) return key;
  if (tool === undefined) agents[key] = withTools(found, tools, lookup);
  else {
    const made = resolved<ToolSpec>(found);
    agents[key] = toolAgent(made, keepTool(tools, name, made));
  }
  return key;
}

// Agents of two namespaces may mean different tools by one name; the second is then kept, and referred to, as namespace/name.
function withTools(
  agent: StoredManifest,
  tools: Record<string, Resolved<ToolSpec>>,
  lookup: StoredLookup,
): Resolved<AgentSpec> {
  const { spec, ...identity } = resolved<AgentSpec>(agent);
  const declared = spec.tools.map((tool): AgentTool => {
    const found = resolved<ToolSpec>(follow(agent.manifest, { kind: "Tool", name: tool.ref, path: [] }, lookup));
    const key = keepTool(tools, tool.ref, found);
    return key === tool.ref ? tool : { ...tool, ref: key };
  });
  return { ...identity, spec: { ...spec, tools: declared } };
}

function keepTool(tools: Record<string, Resolved<ToolSpec>>, ref: string, found: Resolved<ToolSpec>): string {
  const taken = tools[ref];
  const key = taken === undefined || taken.namespace === found.namespace ? ref : `${found.namespace}/${ref}`;
  tools[key] = found;
  return key;
}

function resolved<Spec extends SpecOf[Kind]>({ manifest, generation, digest }: StoredManifest): Resolved<Spec> {
  const { namespace, name } = manifest.metadata;
  return { namespace, name, generation, digest, spec: manifest.spec as Spec };
}

function follow(from: Manifest, { kind, name }: ManifestReference, lookup: StoredLookup): StoredManifest {
  const { namespace } = from.metadata;
  const found = lookup(kind, namespace, name) ?? lookup(kind, SYSTEM_NAMESPACE, name);
  if (found !== undefined) return found;
  const who = `${from.kind} ${namespace}/${from.metadata.name}`;
  throw new DomainError(
    "RESOURCE_NOT_FOUND",
    `${who} refers to ${kind} "${name}", which does not exist; apply it again`,
    { kind, namespace, name },
  );
}

/** What workers may know of a bundle, with its own canonical text and digest. */
export function workerView(bundle: Bundle): { document: WorkerViewDocument; text: string; digest: string } {
  const agents: Record<string, AgentView> = {};
  for (const [name, agent] of Object.entries(bundle.agents)) {
    const {
      http: _http,
      command: _command,
      errorHandling: _handling,
      requirements: _requirements,
      ...spec
    } = agent.spec;
    // Headers of a model are an endpoint's, and may name secrets.
    const { headers: _headers, ...model } = spec.model ?? {};
    const told = spec.model === undefined ? spec : { ...spec, model: model as ModelSpec };
    agents[name] = {
      name: agent.name,
      spec: told,
      tools: spec.tools.map((tool) => toolView(tool, bundle.tools[tool.ref])),
    };
  }
  const document: WorkerViewDocument = { agents };
  const text = canonicalJson(document as unknown as Json);
  return { document, text, digest: sha256(text) };
}

function toolView(tool: AgentTool, found: Resolved<ToolSpec> | undefined): ToolView {
  if (found === undefined)
    throw new DomainError("INVARIANT_BROKEN", `invariant broken: the bundle lacks tool ${tool.ref}`);
  const { description, inputSchema, effect, retry } = found.spec;
  return {
    name: tool.as,
    description,
    inputSchema,
    effect,
    onError: tool.onError ?? (effect === "read" ? "tell" : "fail"),
    ...(tool.onInvalid && { onInvalid: tool.onInvalid }),
    retry,
  };
}
