// Decides without deciding anything: structure first, as the server does it, then policies, explained. Nothing is counted or recorded.
// Called by policy tests, and by commands for explain and can. Pure.
// Knows no lease: whether a worker may still ask is not asked here.

import type { Json } from "../../kit/json.ts";
import { compileSchema } from "../../language/json_schema.ts";
import type { Bundle, Resolved } from "../manifests/bundle.ts";
import type { Checkpoint, ToolSpec } from "../manifests/specs.ts";
import { structuralDenial } from "./evaluate.ts";
import { type Explanation, explain } from "./explain.ts";
import { type InputSubject, policyInput } from "./input.ts";
import { targetsOf } from "./targets.ts";
import type { LimitUse, PolicySet } from "./types.ts";

/** What is to be decided: a tool if one is named, else an agent if one is named, else the workflow. */
export interface DrySubject extends Omit<InputSubject, "checkpoint" | "tool" | "argsDeferred"> {
  readonly policies: PolicySet;
  /** Name of the Tool, or the name that the model sees; needs an agent. */
  readonly toolName?: string | undefined;
  /** How often a limit was counted before; absent: nobody knows, and limits decide nothing. */
  readonly used?: (use: LimitUse) => number | undefined;
}

/** A decision that binds nobody. */
export interface DryDecision {
  readonly checkpoint: Checkpoint;
  readonly explanation: Explanation;
  /** What is wrong with the arguments; empty if nothing is. */
  readonly problem: string;
  /** The tool that was meant, if the agent declares it. */
  readonly tool?: Resolved<ToolSpec>;
}

/** See the file header. Arguments that are absent stay open: what is denied then is denied whatever they are. */
export function decideDry(subject: DrySubject): DryDecision {
  const { policies, toolName, used, ...of } = subject;
  const checkpoint = toolName !== undefined ? "tool.call" : of.agent !== undefined ? "agent.run" : "workflow.run";
  const refuse = (reason: "undeclared" | "invalid_args", problem: string): DryDecision => {
    const decision = structuralDenial(reason, { checkpoint, policyRevision: policies.revision, nowMs: of.nowMs });
    return { checkpoint, explanation: { decision, policies: [] }, problem };
  };
  const tool = toolName === undefined ? undefined : declaredTool(of.bundle, of.agent ?? "", toolName);
  if (toolName !== undefined && tool === undefined) {
    return refuse("undeclared", `agent ${of.agent ?? ""} declares no tool ${toolName}`);
  }
  const problem = tool === undefined || of.args === undefined ? "" : misfitOf(tool, of.args);
  if (problem !== "") return refuse("invalid_args", problem);
  const input = policyInput({ ...of, checkpoint, tool, argsDeferred: tool !== undefined && of.args === undefined });
  const explanation = explain(policies, input, targetsOf(input), used);
  return { checkpoint, explanation, problem: "", ...(tool && { tool }) };
}

/** A tool that an agent declares, by the name of the Tool or the name that the model sees. */
export function declaredTool(bundle: Bundle, agent: string, name: string): Resolved<ToolSpec> | undefined {
  const tools = Object.hasOwn(bundle.agents, agent) ? (bundle.agents[agent]?.spec.tools ?? []) : [];
  const declared = tools.find(({ as }) => as === name) ?? tools.find(({ ref }) => bundle.tools[ref]?.name === name);
  return declared && bundle.tools[declared.ref];
}

function misfitOf({ spec }: Resolved<ToolSpec>, args: Json): string {
  const schema = compileSchema(spec.inputSchema);
  return schema.ok ? (schema.value.check(args) ?? "") : schema.error;
}
