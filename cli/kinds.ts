// Names of the kinds as people type them: Tool, tool, tools; system for AgentSystem, workflow for WorkflowTemplate.
// Called by every verb that takes a kind. Pure.
// Unknown names are a usage error that lists the known ones.

import { didYouMean } from "../server/manifests/diagnostics.ts";
import { UsageError } from "./failure.ts";

const NAMES: Readonly<Record<string, string>> = {
  agent: "Agent",
  agents: "Agent",
  system: "AgentSystem",
  systems: "AgentSystem",
  agentsystem: "AgentSystem",
  agentsystems: "AgentSystem",
  tool: "Tool",
  tools: "Tool",
  policy: "Policy",
  policies: "Policy",
  workflow: "WorkflowTemplate",
  workflows: "WorkflowTemplate",
  workflowtemplate: "WorkflowTemplate",
  workflowtemplates: "WorkflowTemplate",
};

/** Names that people use for lists. */
export const KIND_WORDS: readonly string[] = ["agents", "systems", "tools", "policies", "workflows"];

/** Kind of a name; @throws UsageError */
export function kindOf(name: string): string {
  const kind = Object.hasOwn(NAMES, name.toLowerCase()) ? NAMES[name.toLowerCase()] : undefined;
  if (kind === undefined) {
    const near = didYouMean(name, Object.keys(NAMES));
    throw new UsageError(`"${name}" is no kind`, near || "use agent, system, tool, policy or workflow");
  }
  return kind;
}

/** The shortest name of a kind in the singular, as get takes it; the kind itself if it has none. */
export function shortKindOf(kind: string): string {
  return Object.entries(NAMES).find(([, known]) => known === kind)?.[0] ?? kind;
}

/** Splits KIND/NAME, or KIND and NAME. */
export function splitKindName(first: string, second: string | undefined): { kind: string; name: string | undefined } {
  const slash = first.indexOf("/");
  if (slash < 0) return { kind: first, name: second };
  if (second !== undefined) throw new UsageError(`name one resource, not "${first}" and "${second}"`);
  return { kind: first.slice(0, slash), name: first.slice(slash + 1) };
}
