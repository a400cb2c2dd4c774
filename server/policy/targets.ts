// The things that the policies of one decision may be attached to: the subject, what it runs in, and their namespaces.
// Called by commands before decide. Pure.
// A run's own chain is always included, so that a policy on the workflow also guards the tools called in it.

import type { AttachmentTarget, PolicyInput } from "./types.ts";

type Named = {
  readonly namespace: string;
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>>;
};

/** Targets at workflow.run: the workflow, its system with those that it contains, and their namespaces. */
export function workflowTargets(of: {
  readonly workflow: Named;
  readonly system: Named;
  readonly systems?: readonly Named[];
}): AttachmentTarget[] {
  const systems = [of.system, ...(of.systems ?? [])].map((system) => target("AgentSystem", system));
  return withNamespaces([target("WorkflowTemplate", of.workflow), ...systems]);
}

/** Targets at agent.run: those of the workflow, and the agent. */
export function agentTargets(of: {
  readonly workflow: Named;
  readonly system: Named;
  readonly agent: Named;
}): AttachmentTarget[] {
  return withNamespaces([...workflowTargets(of), target("Agent", of.agent)]);
}

/** Targets at tool.call: those of the agent, and the tool. */
export function toolTargets(of: {
  readonly workflow: Named;
  readonly system: Named;
  readonly agent: Named;
  readonly tool: Named;
}): AttachmentTarget[] {
  return withNamespaces([...agentTargets(of), target("Tool", of.tool)]);
}

/** Targets of whatever the input document names. */
export function targetsOf(input: PolicyInput): AttachmentTarget[] {
  const targets = workflowTargets(input);
  if (input.agent !== undefined) targets.push(target("Agent", input.agent));
  if (input.tool !== undefined) targets.push(target("Tool", input.tool));
  return withNamespaces(targets);
}

function target(kind: AttachmentTarget["kind"], named: Named): AttachmentTarget {
  const { namespace, name, labels } = named;
  return { kind, namespace, name, ...(labels && { labels }) };
}

function withNamespaces(targets: readonly AttachmentTarget[]): AttachmentTarget[] {
  const things = targets.filter((target) => target.kind !== "Namespace");
  const namespaces = new Set(things.map((target) => target.namespace));
  return [...things, ...[...namespaces].map((name) => ({ kind: "Namespace", namespace: name, name }) as const)];
}
