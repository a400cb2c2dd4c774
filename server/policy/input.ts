// Builds the closed input document of a decision from a bundle, live facts and an authenticated requester.
// Called by commands/decisions.ts inside the deciding transaction, by dry decisions, and by policy tests. Pure.
// Labels, annotations and `guarded` are read live; names, types and effects come from the bundle that the run is pinned to.

import type { Json } from "../../kit/json.ts";
import type { Bundle, Resolved } from "../manifests/bundle.ts";
import type { Checkpoint, Kind, ToolSpec } from "../manifests/specs.ts";
import type { PolicyInput, Requester } from "./types.ts";

/** What resources are now, whatever the bundle of a run says. */
export interface LiveFacts {
  labels(kind: Kind, namespace: string, name: string): Readonly<Record<string, string>>;
  annotations(kind: Kind, namespace: string, name: string): Readonly<Record<string, string>>;
  guarded(namespace: string, tool: string): boolean;
}

/** What a decision is about. */
export interface InputSubject {
  readonly checkpoint: Checkpoint;
  readonly live: LiveFacts;
  readonly bundle: Bundle;
  readonly runId: string;
  readonly requester: Requester;
  readonly tags: Readonly<Record<string, string>>;
  /** As the invocation gave it. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly nowMs: number;
  /** Name that the node uses; from agent.run on. */
  readonly agent?: string | undefined;
  /** tool.call only. */
  readonly tool?: Resolved<ToolSpec> | undefined;
  readonly args?: Json | undefined;
  /** True when a tool is decided before anybody calls it. */
  readonly argsDeferred?: boolean | undefined;
}

/** The closed input document. */
export function policyInput(subject: InputSubject): PolicyInput {
  const { live, bundle, requester, tool } = subject;
  const { workflow, system } = bundle;
  const agent = subject.agent === undefined ? undefined : bundle.agents[subject.agent];
  const labels = live.labels("WorkflowTemplate", workflow.namespace, workflow.name);
  const annotations = live.annotations("WorkflowTemplate", workflow.namespace, workflow.name);
  return {
    checkpoint: subject.checkpoint,
    requester: { id: requester.id, kind: requester.kind, groups: requester.groups, claims: requester.claims },
    workflow: { ...identityOf(workflow), labels },
    system: { ...identityOf(system), labels: live.labels("AgentSystem", system.namespace, system.name) },
    ...(bundle.systems && {
      systems: bundle.systems.map(({ name, namespace }) => {
        return { name, namespace, labels: live.labels("AgentSystem", namespace, name) };
      }),
    }),
    run: { id: subject.runId },
    ...(agent && { agent: { ...identityOf(agent), labels: live.labels("Agent", agent.namespace, agent.name) } }),
    ...(tool && {
      tool: {
        ...identityOf(tool),
        type: tool.spec.type,
        effect: tool.spec.effect,
        labels: live.labels("Tool", tool.namespace, tool.name),
        guarded: live.guarded(tool.namespace, tool.name),
      },
    }),
    ...(subject.args !== undefined && { args: subject.args }),
    ...(subject.argsDeferred === true && { argsDeferred: true }),
    context: { tags: subject.tags, labels, metadata: { ...annotations, ...subject.metadata } },
    nowMs: subject.nowMs,
  };
}

function identityOf({ name, namespace }: Resolved<unknown>): { readonly name: string; readonly namespace: string } {
  return { name, namespace };
}
