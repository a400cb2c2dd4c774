// A tool as a node: the agent that stands for it, which asks for the tool once, with the node's input, and gives its result.
// Made by resolve.ts, so that a tool node goes through everything that a tool call goes through: decisions, ledger, journal, retries.
// Its name is no resource name: no policy can be attached to it, and none can mistake it for an agent.

import { DAY, MINUTE } from "../../kit/units.ts";
import type { Resolved } from "./bundle.ts";
import type { AgentSpec, RetryPolicy, ToolSpec } from "./specs.ts";

/** The tool's own retry is the only one; then the node parks. */
const NO_RETRY: RetryPolicy = {
  on: [],
  maxAttempts: 1,
  backoff: { initialMs: 1_000, maxMs: 1_000, factor: 1, jitter: "none" },
};
const OUTPUT_BYTES_MAX = 1_048_576;

/** What the names of agents that stand for tools begin with; no resource has such a name. */
export const TOOL_AGENT_PREFIX = "tool:";

/** True for an agent that stands for a tool. @param agent its name in the bundle */
export function isToolAgent(agent: string): boolean {
  return agent.startsWith(TOOL_AGENT_PREFIX);
}

/** The agent that stands for a tool. @param ref name of the tool in the bundle */
export function toolAgent(tool: Resolved<ToolSpec>, ref: string): Resolved<AgentSpec> {
  const { name, namespace, generation, digest, spec } = tool;
  const { retry, timeoutMs, inputSchema, outputSchema } = spec;
  return {
    ...{ namespace, name: `${TOOL_AGENT_PREFIX}${name}`, generation, digest },
    spec: {
      description: spec.description,
      runtime: "model",
      model: {
        provider: "scripted",
        name: "tool",
        parameters: {},
        script: [
          { when: "turn == 1", toolCalls: [{ name, arguments: "${{ input }}" }] },
          { output: `\${{ results["${name}"] }}` },
        ],
      },
      systemPrompt: "",
      tools: [{ ref, as: name, onDenied: "fail", onError: "fail", onInvalid: "fail" }],
      inputSchema,
      outputSchema: outputSchema ?? {},
      repairAttempts: 0,
      limits: {
        maxTurns: 2,
        maxToolCalls: 1,
        timeoutMs: Math.min(DAY, retry.maxAttempts * (timeoutMs + retry.backoff.maxMs) + MINUTE),
        maxOutputBytes: OUTPUT_BYTES_MAX,
      },
      errorHandling: { retry: NO_RETRY, onExhausted: "deadLetter" },
      requirements: { labels: {} },
    },
  };
}
