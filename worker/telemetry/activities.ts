// How each activity of a task is told: the name, kind and attributes of its span, and the words of its line.
// Read by task_observation.ts. Pure. Attributes follow the semantic conventions of OpenTelemetry where there are such (gen_ai, http).

import type { EndedSpan, SpanAttributes } from "../../kit/spans.ts";
import type { Activity } from "../agent/observer.ts";
import type { LogFields, LogLevel } from "../log.ts";

/** How an activity is told. */
export interface Told {
  readonly span: string;
  readonly kind: EndedSpan["kind"];
  readonly attributes: SpanAttributes;
  /** What its line says, and at which level when all went well. */
  readonly line: string;
  readonly level: LogLevel;
  /** At which level when it went wrong; absent: warn. */
  readonly failedLevel?: LogLevel;
  readonly fields: LogFields;
}

/** See the file header. */
export function toldOf(activity: Activity): Told {
  switch (activity.of) {
    case "model": {
      const { provider, model, turn } = activity;
      return {
        ...{ span: `chat ${model}`, kind: "client", line: "model answered", level: "info" },
        attributes: {
          ...{ "gen_ai.operation.name": "chat", "gen_ai.provider.name": provider, "gen_ai.request.model": model },
          "orloj.turn": turn,
        },
        fields: { provider, model, turn },
      };
    }
    case "call": {
      const { tool, turn, index } = activity;
      return {
        ...{ span: `execute_tool ${tool}`, kind: "internal", line: "tool call ended", level: "debug" },
        // Its decision or its attempt has said it already.
        failedLevel: "debug",
        attributes: { ...toolNamed(tool), "orloj.turn": turn, "orloj.call.index": index },
        fields: { tool, turn, index },
      };
    }
    case "decision": {
      const { tool, attempt } = activity;
      return {
        ...{ span: `decide ${tool}`, kind: "client", line: "tool call decided", level: "debug" },
        attributes: { "gen_ai.tool.name": tool, "orloj.tool.attempt": attempt },
        fields: { tool, attempt },
      };
    }
    case "attempt": {
      const { tool, means, attempt } = activity;
      return {
        ...{ span: `${means} ${tool}`, kind: "client", line: "tool answered", level: "info" },
        attributes: { "gen_ai.tool.name": tool, "orloj.tool.type": means, "orloj.tool.attempt": attempt },
        fields: { tool, type: means, attempt },
      };
    }
    case "agent": {
      const { agent, runtime } = activity;
      return {
        ...{ span: `invoke_agent ${agent}`, kind: "client", line: "agent answered", level: "info" },
        attributes: { "gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": agent, "orloj.runtime": runtime },
        fields: { agent, runtime },
      };
    }
  }
}

/** Attributes of what an activity ended with. */
export function endAttributes(facts: LogFields): SpanAttributes {
  const attributes: Record<string, string | number | boolean> = {};
  for (const [name, value] of Object.entries(facts)) attributes[NAMES[name] ?? `orloj.${name}`] = value;
  return attributes;
}

const NAMES: Readonly<Record<string, string>> = {
  inputTokens: "gen_ai.usage.input_tokens",
  outputTokens: "gen_ai.usage.output_tokens",
  toolCalls: "orloj.tool_calls",
  bytes: "orloj.result.bytes",
  verdict: "orloj.decision",
};

function toolNamed(tool: string): SpanAttributes {
  return { "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": tool };
}
