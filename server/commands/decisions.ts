// Builds the input document of a decision from live facts and authenticated identity, and decides.
// Called by invoke (workflow.run), claim (agent.run) and authorize_tool_call (tool.call), inside their transactions.
// Labels and `guarded` are read live; names and effects come from the bundle that the run is pinned to.

import type { Json } from "../../kit/json.ts";
import type { DecisionDetail } from "../audit/events.ts";
import { decisionDetail } from "../audit/record.ts";
import type { Checkpoint } from "../manifests/specs.ts";
import { decide } from "../policy/evaluate.ts";
import { targetsOf } from "../policy/targets.ts";
import type { Decision, PolicyInput, Requester } from "../policy/types.ts";
import type { LiveState } from "./caches.ts";
import type { CompiledBundle, CompiledTool } from "./compiled_bundle.ts";

/** What a decision is about. */
export interface DecisionSubject {
  readonly checkpoint: Checkpoint;
  readonly live: LiveState;
  readonly bundle: CompiledBundle;
  readonly runId: string;
  readonly requester: Requester;
  readonly tags: Readonly<Record<string, string>>;
  readonly metadata: Readonly<Record<string, string>>;
  readonly now: Date;
  /** Name that the node uses; from agent.run on. */
  readonly agent?: string;
  /** tool.call only. */
  readonly tool?: CompiledTool;
  readonly args?: Json;
}

/** The closed input document. */
export function policyInput(subject: DecisionSubject): PolicyInput {
  const { live, bundle, requester } = subject;
  const { workflow, system } = bundle.bundle;
  const labels = live.labels("WorkflowTemplate", workflow.namespace, workflow.name);
  const annotations = live.annotations("WorkflowTemplate", workflow.namespace, workflow.name);
  const agent = subject.agent === undefined ? undefined : bundle.agents.get(subject.agent)?.agent;
  const tool = subject.tool?.tool;
  return {
    checkpoint: subject.checkpoint,
    requester: { id: requester.id, kind: requester.kind, groups: requester.groups, claims: requester.claims },
    workflow: { name: workflow.name, namespace: workflow.namespace, labels },
    system: {
      name: system.name,
      namespace: system.namespace,
      labels: live.labels("AgentSystem", system.namespace, system.name),
    },
    run: { id: subject.runId },
    ...(agent && {
      agent: {
        name: agent.name,
        namespace: agent.namespace,
        labels: live.labels("Agent", agent.namespace, agent.name),
      },
    }),
    ...(tool && {
      tool: {
        name: tool.name,
        namespace: tool.namespace,
        type: tool.spec.type,
        effect: tool.spec.effect,
        labels: live.labels("Tool", tool.namespace, tool.name),
        guarded: live.guarded(tool.namespace, tool.name),
      },
    }),
    ...(subject.args !== undefined && { args: subject.args }),
    context: { tags: subject.tags, labels, metadata: { ...annotations, ...subject.metadata } },
    nowMs: subject.now.getTime(),
  };
}

/** A decision with the input document that it was made on. */
export interface Decided {
  readonly decision: Decision;
  readonly input: PolicyInput;
}

/** Decides; never throws: an error is a denial. */
export function decideSubject(subject: DecisionSubject): Decided {
  const input = policyInput(subject);
  return { input, decision: decide(subject.live.policies, input, targetsOf(input)) };
}

/** The decision as a member of its audit record; nothing when no policy applied and nothing was denied. */
export function noted({ decision, input }: Decided): { decision?: DecisionDetail } {
  if (decision.allowed && decision.verdicts.length === 0) return {};
  return { decision: decisionDetail(decision, input) };
}
