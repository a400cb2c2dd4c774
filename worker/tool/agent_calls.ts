// The ways from a worker to agents outside of it: an endpoint that is asked, a program that is run. Both give text.
// Made by registry.ts beside the tool executors, through the same guarded network and the same bounds of processes.
// Decides nothing: agent/outside_agent.ts says what the text means.

import { askEndpoint } from "./agent_endpoint.ts";
import { type CommandToolOptions, runForText } from "./command.ts";
import type { CommandMeans, HttpMeans, ToolExecution, ToolRun } from "./executor.ts";
import type { Network } from "./network.ts";

/** Reaches an agent once; the result of a run is the text of its answer. Never rejects. */
export interface AgentCalls {
  readonly http: (execution: ToolExecution<HttpMeans>) => Promise<ToolRun>;
  readonly command: (execution: ToolExecution<CommandMeans>) => Promise<ToolRun>;
}

/** See the file header. */
export function createAgentCalls(network: Network, commands: CommandToolOptions): AgentCalls {
  return {
    http: (execution) => askEndpoint(execution, network),
    command: (execution) => runForText(execution, commands),
  };
}
